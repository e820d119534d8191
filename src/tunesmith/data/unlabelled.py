"""Texts without labels to learn from: read beside the splits, and without a copy of anything that is judged by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Finding, Splits
from tunesmith.data.source import Source
from tunesmith.data.sources import read, usable
from tunesmith.data.splits import drawn
from tunesmith.errors import DataError

REST = "rest"
"""In place of a path: the training examples that were not drawn (data.per_class, data.limit, data.shots)."""

TAUGHT_BY = "pseudo_labelled_by"
SURE = "pseudo_label_confidence"
"""The attributes of an example whose label a model gave: which model, and how sure it was."""


@dataclass(frozen=True)
class Fresh:
    """Texts that stand in no split, and how many others were left out for which reason."""

    texts: tuple[Example, ...]
    held_out: int
    learnt: int
    repeated: int


def read_unlabelled(source: Source) -> tuple[Sequence[Example], list[Finding]]:
    """The texts of a file of any supported form; labels are not read.

    Raises:
        DataError: it cannot be read, or holds no text.
    """
    plain = usable(
        replace(source, label="", label_kind="", group="", keep=(), leave_out=(), level_separator="", subgroups=())
    )
    reading = read(plain)
    said = f"unlabelled: {len(reading.examples):,} texts were read from {source.path}; labels, if it has any, were not."
    told = [replace(finding, message=f"unlabelled: {finding.message}") for finding in reading.findings]
    return reading.examples, [*told, Finding("unlabelled", "note", said, len(reading.examples))]


def rest_of(examples: Iterable[Example], chosen: Iterable[Example]) -> tuple[Sequence[Example], list[Finding]]:
    """The examples that were not chosen, which lose their labels.

    Raises:
        DataError: all were chosen.
    """
    ids = {example.id for example in chosen}
    rest = [example for example in examples if example.id not in ids]
    if not rest:
        raise DataError(
            "There is no rest: every training example is learnt from with its label.",
            where="data.unlabelled",
            to_do="Set data.per_class, data.limit or data.shots, or name a file.",
        )
    said = f"unlabelled: the {len(rest):,} training examples that were not drawn; their labels are ignored."
    return rest, [Finding("unlabelled", "note", said, len(rest))]


def fresh_texts(texts: Iterable[Example], splits: Splits) -> Fresh:
    """The texts without labels, each once; copies of a text of the splits are left out.

    Two texts are the same when they differ in no more than case, width and blanks. Ids get a prefix, since they are
    unique in their own file only.
    """
    held_out = {text_key(example.content) for part in (splits.validation, splits.test) for example in part}
    learnt = {text_key(example.content) for example in splits.train}
    seen: set[int] = set()
    kept = []
    counts = {"held_out": 0, "learnt": 0, "repeated": 0}
    for example in texts:
        key = text_key(example.content)
        for name, known in (("held_out", held_out), ("learnt", learnt), ("repeated", seen)):
            if key in known:
                counts[name] += 1
                break
        else:
            seen.add(key)
            kept.append(bare(example))
    return Fresh(tuple(kept), **counts)


def bare(example: Example) -> Example:
    """The text alone: nothing is left of its label, nor of what says something of the label."""
    number = f"unlabelled/{example.id}"
    return replace(example, id=number, label=None, attributes={}, weight=1.0, chances=(), subgroup="")


def usable_texts(
    texts: Sequence[Example], splits: Splits, *, limit: int, seed: int
) -> tuple[Sequence[Example], list[Finding]]:
    """The texts that may be learnt from, at most `limit` of them (0 for all), and what was left out.

    Raises:
        DataError: none is left.
    """
    fresh = fresh_texts(texts, splits)
    if not fresh.texts:
        raise DataError(
            f"No unlabelled text is left: of {len(texts):,}, {fresh.held_out:,} stand in validation or test and "
            f"{fresh.learnt:,} in train.",
            where="data.unlabelled",
            to_do="Give texts that are in no split, or leave data.unlabelled and semi_supervision out.",
        )
    found = []
    for code, severity, count, why in (
        ("unlabelled_held_out", "warning", fresh.held_out, "stand in validation or test"),
        ("unlabelled_learnt", "note", fresh.learnt, "stand in train"),
        ("unlabelled_repeated", "note", fresh.repeated, "are copies of another one"),
    ):
        if count:
            found.append(Finding(code, severity, f"{count:,} unlabelled texts were left out: they {why}.", count))
    if not 0 < limit < len(fresh.texts):
        return fresh.texts, found
    said = f"{limit:,} of {len(fresh.texts):,} unlabelled texts were drawn (data.unlabelled_limit, seed {seed})."
    return tuple(drawn(fresh.texts, limit, seed)), [*found, Finding("unlabelled_limited", "note", said, limit)]


def labelled_by_people(examples: Iterable[Example]) -> Iterable[Example]:
    """The examples without those whose label a model gave."""
    return (example for example in examples if TAUGHT_BY not in example.attributes)
