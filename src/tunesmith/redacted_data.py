"""A recipe's examples, without their personal data where the recipe asks for that: all splits alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunesmith.components import name_of
from tunesmith.data.dataset import Data, Loaded
from tunesmith.data.records import Example, Finding, Label, Span
from tunesmith.data.stored import keep
from tunesmith.data.tally import SHOWN, shorten
from tunesmith.errors import RecipeError
from tunesmith.inference.artifact import MANIFEST, file_hash
from tunesmith.inference.name_tagger import names_by
from tunesmith.privacy import (
    ACTIONS,
    RECOGNISERS,
    Mask,
    Offsets,
    PersonalDataError,
    Recogniser,
    Redacted,
    RedactionKey,
    RedactionSettings,
    Redactor,
    read_redaction,
    see_kinds,
    standard,
)
from tunesmith.tasks import Task

KEY = Path("~/.local/state/tunesmith/redaction.key")
"""The key of hashes and pseudonyms, the one that `tunesmith redact` uses."""
_AROUND = 30
"""Characters shown before and behind the first value of an example."""


@dataclass
class Seen:
    """What was replaced in a split.

    Attributes:
        texts: its examples, and `changed`, how many of them are others now.
        counts: the values replaced, by kind.
        masked: labelled spans that are nothing but a replaced value now.
        holding: labelled spans that hold or touch one beside other words.
        joined: spans that came to lie over another one, since one value reached into both.
        shown, joined_at: the first places of either.
    """

    texts: int = 0
    changed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    masked: int = 0
    holding: int = 0
    joined: int = 0
    shown: list[str] = field(default_factory=list)
    joined_at: list[str] = field(default_factory=list)

    def findings(self, split: str, action: str) -> list[Finding]:
        """What there is to say of the split."""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.most_common())
        said = (
            f"{split}: {self.counts.total():,} values of personal data in {self.changed:,} of {self.texts:,} texts "
            f"were replaced (data.redact: {action}){': ' if kinds else ''}{kinds}."
        )
        found = [Finding("redacted", "note", said, self.changed, tuple(self.shown))]
        if self.masked or self.holding:
            said = (
                f"{split}: {self.masked:,} labelled spans are nothing but a replaced value now, and {self.holding:,} "
                "hold one beside other words: there a model learns what stands in its place."
            )
            severity = "warning" if self.masked else "note"
            found.append(Finding("redacted_spans", severity, said, self.masked + self.holding))
        if self.joined:
            said = (
                f"{split}: {self.joined:,} labelled spans were left out: what replaces them reaches into another span."
            )
            found.append(Finding("redacted_spans_joined", "warning", said, self.joined, tuple(self.joined_at)))
        return found


def load_data(data: Data, task: Task, seed: int) -> Loaded:
    """The splits of a recipe, with what was seen; without personal data where `data.redact` says so.

    Values are replaced after the splits are made, so that these are the same with and without, and before texts are
    compared, so that copies which differed in such a value alone are found.

    Raises:
        DataError: the data cannot be read, or holds what is refused.
        RecipeError: its settings do not fit.
    """
    if not data.redact:
        return data.load(task.label_kind, seed, task.inputs)
    if data.chances and task.label_kind == "spans":
        raise RecipeError(
            "The chances of words' tags do not hold when words change.", where="data.redact", to_do="Leave one out."
        )
    redactor = redactor_of(data)
    loaded = data.load(task.label_kind, seed, task.inputs)
    splits = loaded.splits
    every = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    every |= {"items": splits.items, "unlabelled": splits.unlabelled}
    mask = replace(redactor, action=Mask(), actions={})  # what readers show of texts goes into reports
    found = [replace(one, examples=tuple(mask.apply(text).text for text in one.examples)) for one in loaded.findings]
    done: dict[str, Sequence[Example]] = {}
    for name, examples in every.items():
        done[name], seen = without_personal_data(examples, redactor, task.label_kind)
        found += seen.findings(name, data.redact) if len(examples) else []
    return Loaded(replace(splits, **done), tuple(found))


def redactor_of(data: Data) -> Redactor:
    """What takes personal data out as a recipe says.

    Raises:
        RecipeError: the file of recognisers cannot be read, a kind is unknown, or an artifact tags no names.
        ArtifactError: such an artifact is missing or damaged.
        ResourceError: the key cannot be read or made.
    """
    told = read_redaction(data.redact_by, RECOGNISERS) if data.redact_by else RedactionSettings()
    taggers: list[Recogniser] = [names_by(Path(artifact)) for artifact in data.redact_names]
    recognisers = (*told.recognisers, *standard(), *taggers)
    kinds = data.redact_kinds or told.kinds
    see_kinds((*kinds, *told.actions), recognisers, "data.redact_kinds" if data.redact_kinds else data.redact_by)
    action = ACTIONS[data.redact]()
    needs_key = any(one.needs_key for one in (action, *told.actions.values()))
    key = RedactionKey.from_file(KEY.expanduser(), make=True) if needs_key else None
    return Redactor(recognisers, action, told.actions, kinds, key)


def redaction_of(data: Data) -> dict[str, object]:
    """With which settings texts were redacted, for the description of what learnt from them; empty if they were not."""
    if not data.redact:
        return {}
    told = read_redaction(data.redact_by, RECOGNISERS) if data.redact_by else RedactionSettings()
    return {
        "action": data.redact,
        "actions": {kind: name_of(ACTIONS, action) for kind, action in told.actions.items()},
        "kinds": list(data.redact_kinds or told.kinds),
        "recognisers_sha256": file_hash(Path(data.redact_by)) if data.redact_by else "",
        "names_sha256": [file_hash(Path(artifact) / MANIFEST) for artifact in data.redact_names],
    }


def without_personal_data(
    examples: Sequence[Example], redactor: Redactor, label_kind: str
) -> tuple[Sequence[Example], Seen]:
    """The examples with each value replaced, and what was replaced.

    Raises:
        PersonalDataError: one holds what is refused; the error names its place and the kinds.
    """
    seen = Seen()
    done = keep(_redacted(example, redactor, label_kind, seen) for example in examples)
    return done, seen


def _redacted(example: Example, redactor: Redactor, label_kind: str, seen: Seen) -> Example:
    """The example with what is written in it redacted; spans, marks and words move along with their text."""
    where = example.origin or example.id
    values: list[Redacted] = []

    def change(text: str) -> str:
        values.append(redactor.apply(text))
        return values[-1].text

    try:
        text = change(example.text)
        main = values[0]
        turns = tuple(
            replace(turn, text=text if turn.text == example.text else change(turn.text)) for turn in example.turns
        )
        changed = replace(
            example,
            text=text,
            second=change(example.second),
            turns=turns,
            rejected=change(example.rejected),
            attributes={name: change(value) for name, value in example.attributes.items()},
            label=change(example.label) if label_kind == "text" and isinstance(example.label, str) else example.label,
        )
    except PersonalDataError as error:
        raise PersonalDataError(error.counts, where) from error
    seen.texts += 1
    found = [one for one in values if one.found]
    if not found:
        return example
    seen.changed += 1
    seen.counts.update(kind for one in found for kind in _kinds(one))
    if len(seen.shown) < SHOWN:
        seen.shown.append(f"{where}: {_shown(found[0])}")
    return _moved(changed, main, label_kind, seen) if main.found else changed


def _kinds(redacted: Redacted) -> list[str]:
    return [one.kind for one in redacted.found]


def _shown(redacted: Redacted) -> str:
    """The first replaced value, as the model reads it, with some characters around."""
    _, (start, end) = redacted.offsets.pieces[0]
    before, behind = redacted.text[max(0, start - _AROUND) : start], redacted.text[end : end + _AROUND]
    return shorten(before + redacted.text[start:end] + behind, most=2 * _AROUND + 20 + end - start)


def _moved(example: Example, redacted: Redacted, label_kind: str, seen: Seen) -> Example:
    """The example, whose text is redacted already, with its spans, marks and words where they stand now."""
    where = example.origin or example.id
    words = None if example.words is None else words_after(example.words, redacted.offsets)
    label: Label | None = example.label
    if isinstance(label, tuple) and any(isinstance(item, Span) for item in label):
        spans = [item for item in label if isinstance(item, Span)]
        label = tuple(sorted(_spans_after(spans, redacted, words, seen, where, may_overlap=label_kind != "spans")))
    marks = _spans_after(example.marks, redacted, words, seen, where, may_overlap=True)
    return replace(example, label=label, marks=tuple(marks), words=words)


def words_after(words: Sequence[tuple[int, int]], offsets: Offsets) -> tuple[tuple[int, int], ...]:
    """The words in the redacted text; those that one value reaches into are one word."""
    after: list[tuple[int, int]] = []
    for start, end in sorted(offsets.to_redacted(*word) for word in words):
        if after and start < after[-1][1]:
            after[-1] = (after[-1][0], max(end, after[-1][1]))
        else:
            after.append((start, end))
    return tuple(after)


def _spans_after(
    spans: Sequence[Span],
    redacted: Redacted,
    words: Sequence[tuple[int, int]] | None,
    seen: Seen,
    where: str,
    *,
    may_overlap: bool,
) -> list[Span]:
    """The spans in the redacted text, each with the whole of what it cuts; of two in one value the longer stays."""
    new = [place for _, place in redacted.offsets.pieces]
    kept: dict[Span, Span] = {}
    for span in sorted(spans, key=lambda one: (one.start - one.end, one.start)):
        moved = _on_words(Span(*redacted.offsets.to_redacted(span.start, span.end), span.label), words)
        if not may_overlap and any(_lie_over(moved, there) and not _lie_over(span, was) for was, there in kept.items()):
            seen.joined += 1
            if len(seen.joined_at) < SHOWN:
                seen.joined_at.append(f"{where}: {span.label} in {redacted.text[moved.start : moved.end]}")
            continue
        kept[span] = moved
        seen.masked += (moved.start, moved.end) in new
        seen.holding += (moved.start, moved.end) not in new and any(
            start < moved.end and moved.start < end for start, end in new
        )
    return [kept[span] for span in spans if span in kept]


def _on_words(span: Span, words: Sequence[tuple[int, int]] | None) -> Span:
    """The span with the whole of each word that it cuts, where words are given."""
    cut = [word for word in words or () if word[0] < span.end and span.start < word[1]]
    return Span(min(span.start, cut[0][0]), max(span.end, cut[-1][1]), span.label) if cut else span


def _lie_over(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
