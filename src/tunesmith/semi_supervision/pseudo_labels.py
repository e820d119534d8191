"""A model's answers to texts without labels: which are confident enough, and which of these become examples."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tunesmith.data.records import Example, Label, Prediction
from tunesmith.data.unlabelled import SURE, TAUGHT_BY

WITH, WITHOUT = "with spans", "without spans"
"""The two classes of texts whose labels are spans."""

FEW = 5
"""Answers to validation examples below which nothing is known of a class."""

Sentence = Literal["least", "mean"]
"""How sure an answer of spans is: as its least sure word, or as its words are on average."""
Balance = Literal["labelled", "equal", "none"]


@dataclass(frozen=True)
class Judged:
    """Examples with a model's answers, and of each whether it is right; nothing is known of texts without labels."""

    examples: Sequence[Example]
    answers: Sequence[Prediction]
    right: Sequence[bool] = ()


@dataclass(frozen=True)
class Survey:
    """A model's answers to the texts without labels, counted by class.

    `thresholds` are the confidences from which an answer counts, infinity for a class that gives none. `right` is the
    share of right ones among the confident answers to validation examples; nan where there is none. `examples` are the
    texts with the labels that a student learns from.
    """

    texts: int
    thresholds: Mapping[str, float]
    answered: Mapping[str, int]
    confident: Mapping[str, int]
    right: float
    examples: tuple[Example, ...] = ()

    @property
    def kept(self) -> dict[str, int]:
        """The number of examples of each class."""
        return dict(Counter(class_of(example.label) for example in self.examples))

    def plain(self) -> dict[str, object]:
        """The survey as plain values; a class that gives no label has no threshold."""
        limits = {name: None if math.isinf(value) else round(value, 6) for name, value in self.thresholds.items()}
        counts = {"answered": dict(self.answered), "confident": dict(self.confident), "kept": self.kept}
        right = None if math.isnan(self.right) else self.right
        return {"texts": self.texts, "thresholds": limits, **counts, "right_on_validation": right}


def class_of(label: Label | None) -> str:
    """The class of a label; of spans whether there are any."""
    if isinstance(label, tuple):
        return WITH if label else WITHOUT
    return str(label)


def confidence_of(answer: Prediction, sentence: Sentence) -> float:
    """How sure an answer is; 0 where there is no word to be sure of."""
    sure = answer.word_confidence.get(sentence, answer.confidence)
    return 0.0 if math.isnan(sure) else sure


def chosen_thresholds(judged: Judged, classes: Sequence[str], precision: float, sentence: Sentence) -> dict[str, float]:
    """For each class the lowest confidence from which on its answers to validation examples are right often enough.

    That is: at the rate `precision`, over at least `FEW` answers; infinity where there is none.
    """
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for answer, is_right in zip(judged.answers, judged.right, strict=True):
        found[class_of(answer.label)].append((confidence_of(answer, sentence), is_right))
    thresholds = dict.fromkeys(classes, math.inf)
    for name in classes:
        rows = sorted(found[name], reverse=True)
        right = 0
        for count, (sure, is_right) in enumerate(rows, 1):
            right += is_right
            is_last_of_its_confidence = count == len(rows) or rows[count][0] < sure
            if is_last_of_its_confidence and count >= FEW and right >= precision * count:
                thresholds[name] = sure
    return thresholds


def survey(texts: Judged, validation: Judged, thresholds: Mapping[str, float], sentence: Sentence) -> Survey:
    """Count a model's answers, and those that are confident."""

    def is_confident(answer: Prediction) -> bool:
        return confidence_of(answer, sentence) >= thresholds.get(class_of(answer.label), math.inf)

    judged = [right for one, right in zip(validation.answers, validation.right, strict=True) if is_confident(one)]
    return Survey(
        len(texts.examples),
        thresholds,
        Counter(class_of(answer.label) for answer in texts.answers),
        Counter(class_of(answer.label) for answer in texts.answers if is_confident(answer)),
        sum(judged) / len(judged) if judged else math.nan,
    )


def pseudo_labelled(
    texts: Judged,
    thresholds: Mapping[str, float],
    sentence: Sentence,
    room: Callable[[Mapping[str, int]], Mapping[str, int]],
    teacher: str,
) -> tuple[Example, ...]:
    """The texts with confident answers as examples, in order; of each class the surest, as many as `room` says."""
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for place, answer in enumerate(texts.answers):
        name, sure = class_of(answer.label), confidence_of(answer, sentence)
        if sure >= thresholds.get(name, math.inf):
            found[name].append((-sure, place))
    most = room({name: len(rows) for name, rows in found.items()})
    places = sorted(place for name, rows in found.items() for _, place in sorted(rows)[: most[name]])
    return tuple(
        replace(
            texts.examples[place],
            label=texts.answers[place].label,
            attributes={TAUGHT_BY: teacher, SURE: f"{confidence_of(texts.answers[place], sentence):.4f}"},
        )
        for place in places
    )


def balanced(counts: Mapping[str, int], labelled: Mapping[str, int], balance: Balance) -> dict[str, int]:
    """How many of each class's `counts` texts are taken, so that the classes have the wanted shares.

    The class that is scarcest for its share decides; one that has no text at all is left out of this.
    """
    if balance == "none":
        return dict(counts)
    weights = {name: labelled.get(name, 0) if balance == "labelled" else 1 for name in counts}
    there = [name for name in counts if counts[name] and weights[name]]
    total = min((counts[name] / weights[name] for name in there), default=0.0)
    return {name: min(counts[name], int(total * weights[name] + 1e-9)) for name in counts}
