"""Whether new answers may take the place of old ones: not inferior by more than a margin, on the whole and in parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.evaluation.calibration import judged_confidences, reliability
from tunesmith.evaluation.intervals import draws, quantile
from tunesmith.evaluation.slices import main_measure, members_of
from tunesmith.scoring import Measure, mean_measure
from tunesmith.tasks import Task

Objection = Literal["inferior", "slice_worse", "calibration_worse"]
RESAMPLES, SLICE_RESAMPLES = 10_000, 2_000
SEED = 13
FEWEST = 20
"""Examples below which a bootstrap says nothing."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of new answers.

    Attributes:
        margin: how much worse the main metric may be, on the whole and in each slice, in the metric's own units.
        calibration: how much larger the expected calibration error may be.
        alpha: the chance, over all tries together, that what is inferior by the margin is not refused; for each try
            the chance that a slice which is not worse by the margin has the answers refused.
    """

    margin: float = 0.01
    calibration: float = 0.05
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("calibration", self.calibration)):
            if not (value > 0 and math.isfinite(value)):
                raise RecipeError(
                    f"A margin of {value:g} cannot be shown to be kept by any number of examples.",
                    where=name,
                    to_do="Give a number above 0, such as 0.01.",
                )

    def alpha_of(self, look: int) -> float:
        """What the try number `look` (from 1) may spend of `alpha`: alpha * 6 / (pi^2 look^2).

        The shares add up to `alpha` (sum of 1 / k^2 = pi^2 / 6), so by the union bound it holds for all tries together:
        alpha-spending (Foster and Stine 2008, sec. 2; Tian and Ramdas 2021, sec. 2). It minds how often is tried, not
        that somebody trains towards what earlier tries told.
        """
        return self.alpha * 6 / (math.pi * look) ** 2

    def fewest(self, look: int = 1) -> int:
        """Examples with which a score that is a share could be shown to keep the margin: if all are answered alike."""
        if self.margin >= 1:
            return FEWEST
        return max(FEWEST, math.floor(math.log(self.alpha_of(look)) / math.log1p(-self.margin)) + 1)


@dataclass(frozen=True, slots=True)
class Gap:
    """The new answers beside the old ones by one metric; of two errors the lower one is the better.

    Attributes:
        old, new: the metric of each.
        difference: how much better the new ones are; below 0 where they are worse.
        low, high: one-sided bounds of the difference, each of which holds but for a chance of alpha; nan for none.
    """

    old: float
    new: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class WorseSlice:
    """A part of the examples in which the new answers are shown to be worse by more than the margin."""

    kind: str
    value: str
    size: int
    gap: Gap


@dataclass(frozen=True, slots=True)
class Judged:
    """What a try showed.

    Attributes:
        metric: the task's main metric.
        size: of how many examples.
        look: which try on these examples it was, from 1.
        alpha: what it may spend; `gap.low` holds but for this chance.
        gap: all examples.
        slices: how many parts were looked at.
        worst: the part that is worse by most; None where none is shown to be worse than the margin lets it be.
        old_error, new_error: the expected calibration errors; nan for tasks without confidences.
        objection: why the new answers may not take the old ones' place; None where they may.
    """

    metric: str
    size: int
    look: int
    alpha: float
    gap: Gap
    slices: int
    worst: WorseSlice | None
    old_error: float
    new_error: float
    objection: Objection | None


def judged(
    task: Task,
    examples: Sequence[Example],
    old: Sequence[Prediction],
    new: Sequence[Prediction],
    terms: Terms,
    look: int = 1,
) -> Judged:
    """Judge new answers beside old ones to the same examples.

    They are refused unless the one-sided lower bound of the difference of the main metric is above -margin (a test of
    non-inferiority: Blackwelder 1982); if in a slice of at least five examples they are shown to be worse by more than
    the margin, at a level of alpha over the number of slices (Bonferroni; it is not spent over tries, which would make
    each further try the easier for the answers); or if their expected calibration error is larger by more than
    `terms.calibration`, noise and all.

    Raises:
        DataError: answers and examples do not match.
        LabelError: an example has no label.
    """
    alpha, whole = terms.alpha_of(look), list(range(len(examples)))
    one, other = (main_measure(task, examples, answers, whole) for answers in (old, new))
    gap = gap_of(one, other, alpha, seed=SEED, resamples=RESAMPLES)
    slices, worst = _worst_slice(task, examples, old, new, terms)
    before, after = (_calibration_error(task, examples, answers) for answers in (old, new))
    objection: Objection | None = None
    if not gap.low > -terms.margin:
        objection = "inferior"
    elif worst is not None:
        objection = "slice_worse"
    elif after - before > terms.calibration:
        objection = "calibration_worse"
    return Judged(task.metric, len(examples), look, alpha, gap, slices, worst, before, after, objection)


def gap_of(old: Measure, new: Measure, alpha: float, *, seed: int, resamples: int) -> Gap:
    """The difference of two measures of the same examples with its one-sided bounds, by a paired bootstrap.

    The bound is the outermost of three. The percentile of the resampled differences; the normal bound with their
    standard deviation, since few resamples lie beyond a small alpha; and for scores, below, the share of texts of which
    a sample of this size may hold none by chance, 1 - alpha^(1 / n) (Clopper and Pearson 1934, as for no event out of
    n), since answers that are all alike resample to a difference of exactly 0.
    """
    sign = 1.0 if new.higher_is_better else -1.0
    values = old.value(), new.value()
    difference = sign * (values[1] - values[0])
    if new.size < 2 or math.isnan(difference):
        return Gap(*values, difference, math.nan, math.nan)
    blocks = draws(new.size, resamples, 0.95, seed)
    drawn = np.concatenate([sign * (new.resampled(indices) - old.resampled(indices)) for indices in blocks])
    low, high = quantile(drawn, alpha), quantile(drawn, 1 - alpha)
    if math.isnan(low):
        return Gap(*values, difference, math.nan, math.nan)
    normal = NormalDist().inv_cdf(1 - alpha) * float(np.nanstd(drawn))
    unseen = 1 - alpha ** (1 / new.size) if new.higher_is_better else 0.0
    return Gap(*values, difference, min(low, difference - normal, difference - unseen), max(high, difference + normal))


def _worst_slice(
    task: Task,
    examples: Sequence[Example],
    old: Sequence[Prediction],
    new: Sequence[Prediction],
    terms: Terms,
) -> tuple[int, WorseSlice | None]:
    """How many slices there are, and the one that is shown to be worse than the margin lets it be, by most."""
    parts = list(members_of(examples))
    found = []
    for kind, value, inside in parts:
        before, after = (_slice_measure(task, examples, answers, inside) for answers in (old, new))
        loss = (before.value() - after.value()) * (1 if after.higher_is_better else -1)
        if not loss > terms.margin:  # its bound cannot be beyond the margin either
            continue
        gap = gap_of(before, after, terms.alpha / len(parts), seed=SEED, resamples=SLICE_RESAMPLES)
        if gap.high < -terms.margin:
            found.append(WorseSlice(kind, value, len(inside), gap))
    return len(parts), min(found, key=lambda one: one.gap.difference, default=None)


def _slice_measure(
    task: Task, examples: Sequence[Example], answers: Sequence[Prediction], inside: Sequence[int]
) -> Measure:
    """The main metric of a slice; of classes the share of right answers, since an F1 goes by which classes it has."""
    if task.label_kind != "class":
        return main_measure(task, examples, answers, inside)
    right = [float(task.is_correct(examples[place], answers[place])) for place in inside]
    return mean_measure("accuracy", np.array(right))


def _calibration_error(task: Task, examples: Sequence[Example], answers: Sequence[Prediction]) -> float:
    """The expected calibration error; nan where no answer has a confidence."""
    pairs = [pair for one in judged_confidences(task, examples, answers) for pair in one]
    return reliability([sure for sure, _ in pairs], [right for _, right in pairs]).ece
