"""Training examples and changed copies of them: with a budget, without copies of what is known, and with an audit."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tunesmith.augmentation import Augmenter, Learning
from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Finding
from tunesmith.data.tally import SHOWN, shorten
from tunesmith.errors import RecipeError

KINDS = ("class", "classes", "number", "spans", "answers")
"""Forms of labels that still hold when single words of a text change."""

MADE_BY = "augmented_by"
SOURCE = "augmented_from"
"""The attributes of a copy: what made it, and the id of its source."""

Judge = Callable[[Sequence[Example]], Sequence[bool]]
"""Says of each example whether a model gives its label."""


@dataclass(frozen=True)
class Augmentation:
    """How many further training examples are made, and which of them are kept.

    Attributes:
        copies: further examples for each training example, made by the `augmenters` in turn.
        judge: an artifact that must give a copy the label of its source; empty keeps all. A source that it gets wrong
            itself says nothing of its copies, which are kept and counted.
    """

    copies: int = 1
    judge: str = ""

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise RecipeError(
                "copies must be at least 1.", where="augmentation.copies", to_do="Leave augmenters out to make none."
            )


@dataclass
class Audit:
    """What came of the copies: the kept ones, and why others were not, by augmenter.

    `unjudged` counts the kept copies of which no judge said anything; `shown` has a source's text and its copy's.
    """

    sources: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unjudged: int = 0
    shown: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """The audit as plain values."""
        counts = {"kept": self.kept, "unchanged": self.unchanged, "known": self.known, "refused": self.refused}
        plain = {name: dict(count) for name, count in counts.items()}
        return {"sources": self.sources, **plain, "unjudged": self.unjudged, "label_flips": self.flips}

    @property
    def flips(self) -> float:
        """The share of judged copies whose label the judge does not give, though it gives the source's."""
        judged = self.kept.total() - self.unjudged + self.refused.total()
        return self.refused.total() / judged if judged else 0.0


@dataclass(frozen=True)
class Copy:
    """A changed example, the place of its source, and what made it."""

    source: int
    augmenter: str
    example: Example


def expand(
    examples: Sequence[Example],
    augmenters: Mapping[str, Augmenter],
    settings: Augmentation,
    *,
    seed: int,
    held_out: Iterable[Example] = (),
    judge: Judge | None = None,
) -> tuple[list[Example], Audit]:
    """The examples, and after them the copies that are kept.

    A copy has the id of its source with the augmenter's name behind it, and the attributes `SOURCE` and `MADE_BY`. It
    is a function of the seed and its source's id. One whose text stands in another example, or in one that is held out
    to judge by, is left out.

    Raises:
        LabelError, DataError: as the augmenters do, for what they look up.
    """
    fitted = {
        name: augmenter.fitted(examples) if isinstance(augmenter, Learning) else augmenter
        for name, augmenter in augmenters.items()
    }
    audit = Audit(sources=len(examples))
    known = {text_key(example.content) for example in (*examples, *held_out)}
    new = []
    for copy in _copies(examples, fitted, settings.copies, seed, audit):
        key = text_key(copy.example.content)
        if key in known:
            audit.known[copy.augmenter] += 1
            continue
        known.add(key)
        new.append(copy)
    kept = _judged(examples, new, judge, audit)
    for copy in kept:
        audit.kept[copy.augmenter] += 1
        audit.shown.setdefault(copy.augmenter, []).append((examples[copy.source].text, copy.example.text))
    return [*examples, *(copy.example for copy in kept)], audit


def originals(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples that were read, without the copies."""
    return (example for example in examples if MADE_BY not in example.attributes)


def copies(examples: Iterable[Example]) -> Iterator[Example]:
    """The copies alone."""
    return (example for example in examples if MADE_BY in example.attributes)


def _copies(
    examples: Sequence[Example], augmenters: Mapping[str, Augmenter], copies: int, seed: int, audit: Audit
) -> Iterator[Copy]:
    """The copies of each example; an augmenter that finds nothing to change leaves it to the next."""
    names = list(augmenters)
    for place, example in enumerate(examples):
        rng = random.Random(f"augment {seed} {example.id}")
        order = rng.sample(names, len(names))
        for number in range(copies):
            for name in order[number % len(order) :] + order[: number % len(order)]:
                changed = augmenters[name].augment(example, rng)
                if changed is not None:
                    yield Copy(place, name, _renamed(changed, example, name, number))
                    break
                audit.unchanged[name] += 1


def _renamed(changed: Example, source: Example, name: str, number: int) -> Example:
    return replace(
        changed,
        id=f"{source.id}/{name}" + (f"-{number + 1}" if number else ""),
        attributes={**source.attributes, SOURCE: source.id, MADE_BY: name},
    )


def _judged(examples: Sequence[Example], copies: Sequence[Copy], judge: Judge | None, audit: Audit) -> list[Copy]:
    """The copies without those whose source the judge gets right and they themselves wrong."""
    if judge is None:
        audit.unjudged = len(copies)
        return list(copies)
    places = sorted({copy.source for copy in copies})
    trusted = dict(zip(places, judge([examples[place] for place in places]), strict=True))
    kept = []
    for copy, is_right in zip(copies, judge([copy.example for copy in copies]), strict=True):
        if trusted[copy.source] and not is_right:
            audit.refused[copy.augmenter] += 1
            continue
        audit.unjudged += not trusted[copy.source]
        kept.append(copy)
    return kept


def findings_of(audit: Audit) -> list[Finding]:
    """What the report says of the copies."""
    listed = ", ".join(f"{name} {count:,}" for name, count in audit.kept.most_common())
    made = audit.kept.total()
    shown = tuple(
        f"{name}: {shorten(source, 60)} -> {shorten(changed, 60)}"
        for name, pairs in audit.shown.items()
        for source, changed in pairs[:1]
    )
    message = f"{made:,} examples were made from the {audit.sources:,} of train ({listed or 'none'})."
    found = [Finding("augmented", "note" if made else "warning", message, made, shown[:SHOWN])]
    for code, counts, why in (
        ("not_changed", audit.unchanged, "times an augmenter found nothing in a text that it may change"),
        ("already_known", audit.known, "copies were left out, since their text stands in another example"),
        ("label_not_kept", audit.refused, "copies were left out, since the judge gives them another label"),
    ):
        if counts:
            listed = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
            found.append(Finding(code, "note", f"{counts.total():,} {why} ({listed}).", counts.total()))
    return found
