"""Labels that are likely wrong, by a model that did not learn from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Doubt:
    """How doubtful the label of an example is.

    Attributes:
        place: of the example.
        score: in [0, 1]; the higher, the more doubtful.
        is_suspect: whether confident learning counts it among the wrong ones (always false for spans).
        suggested: the label that the model gives.
        reason: in words.
    """

    place: int
    score: float
    is_suspect: bool
    suggested: str
    reason: str


@dataclass(frozen=True)
class Noise:
    """How many labels are wrong, by confident learning.

    Attributes:
        joint: the estimated share of examples with each given (row) and true label (column) [C, C], of sum 1.
        share: the estimated share of wrong labels.
    """

    joint: NDArray[np.float64]

    @property
    def share(self) -> float:
        """The share of examples off the diagonal."""
        return float(1 - np.trace(self.joint))


def confident_joint(given: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts of given (row) and confidently other or same (column) labels (Northcutt et al. 2021, eq. 1).

    An example counts as a class where its probability [N, C] is at least the mean one of the examples that have this
    label; of several such classes the likeliest counts. Examples that reach none are left out.
    """
    classes = probabilities.shape[1]
    confident = confident_classes(probabilities, class_thresholds(given, probabilities))
    counted = confident >= 0
    joint = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(joint, (given[counted], confident[counted]), 1)
    return joint


def class_thresholds(
    given: NDArray[np.int64], probabilities: NDArray[np.float64], *, at_least: int = 1
) -> NDArray[np.float64]:
    """The mean probability of each class over the examples that have it as label [C].

    It is infinite for a class of fewer than `at_least` examples, so that none is confidently of it.
    """
    classes = probabilities.shape[1]
    has = np.eye(classes, dtype=bool)[given]
    totals = has.sum(axis=0)
    sums = np.where(has, probabilities, 0.0).sum(axis=0)
    means: NDArray[np.float64] = np.divide(sums, totals, out=np.full(classes, np.inf), where=totals >= max(at_least, 1))
    return means


def confident_classes(probabilities: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The likeliest class of those whose threshold each example [N, C] reaches; -1 where it reaches none.

    A probability of 0 reaches none, not even the threshold 0 of a class whose own examples are never taken for it.
    """
    reached = np.where((probabilities >= thresholds) & (probabilities > 0), probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def estimated_noise(given: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Noise:
    """The joint of given and true labels, its rows brought to the shares of the given ones (ibid., eq. 3)."""
    joint = confident_joint(given, probabilities).astype(np.float64)
    totals = np.bincount(given, minlength=probabilities.shape[1]).astype(np.float64)
    sums = joint.sum(axis=1, keepdims=True)
    rows = np.divide(joint, sums, out=np.eye(len(totals)), where=sums > 0) * totals[:, None]
    return Noise(rows / max(float(rows.sum()), 1.0))


def class_doubts(given: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[str]) -> list[Doubt]:
    """All examples, the most doubtful label first: by how much likelier another one is (ibid., sec. 3.2).

    Of each given label so many are suspects as the estimated noise says, those with the largest margins.
    """
    if not len(given):
        return []
    own = probabilities[np.arange(len(given)), given]
    others = probabilities.copy()
    others[np.arange(len(given)), given] = -1.0
    best = others.argmax(axis=1)
    margins = others.max(axis=1) - own
    noise = estimated_noise(given, probabilities)
    suspects: set[int] = set()
    for label in range(len(labels)):
        wrong = round(len(given) * float(noise.joint[label].sum() - noise.joint[label, label]))
        mine = np.flatnonzero(given == label)
        order = mine[np.argsort(-margins[mine], kind="stable")][:wrong]
        suspects |= {int(place) for place in order if margins[place] > 0}
    return [
        Doubt(
            int(place),
            float((1 + margins[place]) / 2),
            int(place) in suspects,
            labels[best[place]] if margins[place] > 0 else labels[given[place]],
            f"'{labels[best[place]]}' has probability {others[place].max():.2f}, "
            f"'{labels[given[place]]}' {own[place]:.2f}",
        )
        for place in np.argsort(-margins, kind="stable")
    ]


def span_doubts(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Doubt]:
    """All examples, the one with the most doubtful spans first.

    A text is as certain as the probability of its least likely given tag (the worst token, Wang and Mueller 2022), and
    the doubt is the rest to 1.

    Raises:
        RecipeError: the model tells no probabilities of words' tags.
    """
    doubts = [_of_spans(place, *pair) for place, pair in enumerate(zip(examples, predictions, strict=True))]
    return sorted(doubts, key=lambda doubt: -doubt.score)


def _of_spans(place: int, example: Example, prediction: Prediction) -> Doubt:
    found = _spans(prediction.label)
    suggested = ", ".join(f"{example.text[s.start : s.end]} ({s.label})" for s in found) or "none"
    word = prediction.unlikely
    if word is not None:
        return Doubt(place, 1 - prediction.word_confidence["given"], False, suggested, _reason(example, word, found))
    if math.isnan(prediction.confidence):  # a text without words
        return Doubt(place, 0.0, False, suggested, "")
    raise RecipeError(
        "The model tells no probabilities of the words' tags, by which labels are doubted.",
        where="--by",
        to_do="Use --folds, or an artifact that is no vote of several models.",
    )


def _reason(example: Example, word: Span, found: Sequence[Span]) -> str:
    """What the model answers where it believes the given tag least; empty where it answers that tag itself."""
    gold = set(_spans(example.label))
    missed = [span for span in sorted(gold) if span not in found and _meet(span, word)]
    for span in found:
        if span not in gold and any(_meet(span, other) for other in (word, *missed)):
            return f"{_why(span, gold)} '{example.text[span.start : span.end]}' as {span.label}"
    return (
        f"the model finds no {missed[0].label} in '{example.text[missed[0].start : missed[0].end]}'" if missed else ""
    )


def _spans(label: object) -> list[Span]:
    return [item for item in label if isinstance(item, Span)] if isinstance(label, tuple) else []


def _meet(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _why(span: Span, gold: set[Span]) -> str:
    if any((span.start, span.end) == (other.start, other.end) for other in gold):
        return "another type:"
    return "another border:" if any(_meet(span, other) for other in gold) else "not labelled:"
