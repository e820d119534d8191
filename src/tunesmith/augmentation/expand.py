"""Training examples and changed copies of them: with a budget, without copies of what is known, and with an audit."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.augmentation import Augmenter, Batched, Learning, Telling
from tunesmith.augmentation.audit import Audit, Refused
from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Span
from tunesmith.errors import RecipeError

AT_ONCE = 4096
"""Examples that go through the augmenters together."""

KINDS = ("class", "classes", "number", "spans", "answers")
"""Forms of labels that still hold when single words of a text change."""

MADE_BY = "augmented_by"
SOURCE = "augmented_from"
"""The attributes of a copy: what made it, and the id of its source."""

OUT_OF_FOLD = "out_of_fold"
"""The judge that is made of the training examples themselves."""


@dataclass(frozen=True)
class Verdict:
    """Whether a model gives an example its label, and what it answers."""

    is_right: bool
    answer: str = ""


Judge = Callable[[Sequence[Example]], Sequence[Verdict]]
"""Says of each example whether a model gives its label; it is asked once, of sources and copies."""


@dataclass(frozen=True)
class Augmentation:
    """How many further training examples are made, and which of them are kept.

    Attributes:
        copies: further examples for each training example, made by the `augmenters` in turn.
        judge: an artifact that must give a copy the label of its source, or "out_of_fold" for models that learn from
            parts of the training examples, each of which judges the copies of those that it did not see; empty keeps
            all. A source that it gets wrong itself says nothing of its copies, which are kept and counted.
        folds: of the out-of-fold judge, into how many parts the training examples go; so many models are trained.
    """

    copies: int = 1
    judge: str = ""
    folds: int = 3

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise RecipeError(
                "copies must be at least 1.", where="augmentation.copies", to_do="Leave augmenters out to make none."
            )
        if self.folds < 2:
            raise RecipeError("There must be at least two folds.", where="augmentation.folds", to_do="3 is usual.")


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
    for augmenter in fitted.values():
        audit.notes += augmenter.findings() if isinstance(augmenter, Telling) else []
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
    """The copies of each example; an augmenter that finds nothing to change leaves it to the next.

    Many examples go through their first augmenter together, then what is left through its next one, since models and
    programs work best on many texts at once.
    """
    names = list(augmenters)
    for begin in range(0, len(examples), AT_ONCE):
        part = examples[begin : begin + AT_ONCE]
        chances = [random.Random(f"augment {seed} {example.id}") for example in part]
        orders = [chance.sample(names, len(names)) for chance in chances]
        made: dict[tuple[int, int], Copy] = {}
        for number in range(copies):
            left = list(range(len(part)))
            for turn in range(len(names)):
                asked: dict[str, list[int]] = defaultdict(list)
                for place in left:
                    asked[orders[place][(number + turn) % len(names)]].append(place)
                left = []
                for name, places in asked.items():
                    found = _augmented(augmenters[name], part, chances, places)
                    for place, changed in zip(places, found, strict=True):
                        if changed is None:
                            audit.unchanged[name] += 1
                            left.append(place)
                        else:
                            made[place, number] = Copy(
                                begin + place, name, _renamed(changed, part[place], name, number)
                            )
        yield from (made[key] for key in sorted(made))


def _augmented(
    augmenter: Augmenter, examples: Sequence[Example], chances: Sequence[random.Random], places: Sequence[int]
) -> list[Example | None]:
    if isinstance(augmenter, Batched):
        return augmenter.augment_all([examples[place] for place in places], [chances[place] for place in places])
    return [augmenter.augment(examples[place], chances[place]) for place in places]


def _renamed(changed: Example, source: Example, name: str, number: int) -> Example:
    return replace(
        changed,
        id=f"{source.id}/{name}" + (f"-{number + 1}" if number else ""),
        attributes={**source.attributes, SOURCE: source.id, MADE_BY: name},
    )


def _judged(examples: Sequence[Example], copies: Sequence[Copy], judge: Judge | None, audit: Audit) -> list[Copy]:
    """The copies without those whose source the judge gets right and they themselves wrong."""
    if judge is None or not copies:
        audit.unjudged = len(copies)
        return list(copies)
    places = sorted({copy.source for copy in copies})
    verdicts = judge([*(examples[place] for place in places), *(copy.example for copy in copies)])
    trusted = {place: verdict.is_right for place, verdict in zip(places, verdicts, strict=False)}
    kept = []
    for copy, verdict in zip(copies, verdicts[len(places) :], strict=True):
        if not trusted[copy.source]:
            audit.unjudged += 1
            kept.append(copy)
            continue
        audit.verdicts.setdefault((copy.augmenter, copy.source), []).append(not verdict.is_right)
        if verdict.is_right:
            kept.append(copy)
            continue
        audit.refused[copy.augmenter] += 1
        source = examples[copy.source]
        one = Refused(source.text, copy.example.text, label_text(source), verdict.answer)
        audit.refusals.setdefault(copy.augmenter, []).append(one)
    return kept


def label_text(example: Example) -> str:
    """The label as it is shown beside a text."""
    if not isinstance(example.label, tuple):
        return str(example.label)
    named = (f"{example.text[i.start : i.end]}: {i.label}" if isinstance(i, Span) else i for i in example.label)
    return ", ".join(named) or "none"
