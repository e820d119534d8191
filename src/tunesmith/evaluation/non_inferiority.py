"""Whether new answers may take the place of old ones: not inferior by more than a margin, on the whole and in parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.evaluation.calibration import Calibration, judged_confidences, reliability
from tunesmith.evaluation.intervals import draws, quantile
from tunesmith.evaluation.paired_shares import fewest_pairs, score_bounds
from tunesmith.evaluation.slices import main_measure, members_of
from tunesmith.scoring import Measure
from tunesmith.tasks import Task

Objection = Literal["inferior", "slice_worse", "slice_undefined", "calibration_worse", "confidence_missing"]
Both = tuple[Sequence[Prediction], Sequence[Prediction]]
"""Old and new answers to the same examples."""
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
        if not (self.margin > 0 and math.isfinite(self.margin)):
            raise RecipeError(
                f"A margin of {self.margin:g} cannot be shown to be kept by any number of examples.",
                where="--margin",
                to_do="Give a number above 0, such as 0.01.",
            )
        if not (self.calibration >= 0 and math.isfinite(self.calibration)):
            raise RecipeError(
                f"An expected calibration error cannot be larger by {self.calibration:g}.",
                where="--calibration-margin",
                to_do="Give a number from 0 on, such as 0.05.",
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
        alpha = self.alpha_of(look)
        by_none = math.floor(math.log(alpha) / math.log1p(-self.margin)) + 1
        return max(FEWEST, by_none, fewest_pairs(self.margin, alpha))


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
    """A part of the examples in which the new answers are shown to be worse by more than the margin.

    Or one in which their metric is not defined, as a correlation of answers all the same, and the old ones' is.
    """

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
        alpha: what it may spend; the bounds of `gap` hold but for this chance.
        gap: all examples.
        slices: how many parts were looked at.
        worst: the part that is worse by most; None where none is shown to be worse than the margin lets it be.
        old_error, new_error: the expected calibration errors; nan for tasks without confidences.
        lost: how many more of the new answers are without a confidence.
        objection: why the new answers are refused; None where they are not.
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
    lost: int
    objection: Objection | None = None


def judged(
    task: Task,
    examples: Sequence[Example],
    old: Sequence[Prediction],
    new: Sequence[Prediction],
    terms: Terms,
    look: int = 1,
) -> Judged:
    """Judge new answers, which shall take the old ones' place, beside these to the same examples.

    They are refused unless the one-sided lower bound of the difference of the main metric is above -margin (a test of
    non-inferiority: Blackwelder 1982); if in a slice of at least five examples they are shown to be worse by more than
    the margin, at a level of alpha over the number of slices (Bonferroni; it is not spent over tries, which would make
    each further try the easier for the answers), or have no defined correlation where the old ones have one; or if
    their expected calibration error is larger by more than `terms.calibration`, noise and all, or fewer have a
    confidence.

    Raises:
        DataError: answers and examples do not match.
        LabelError: an example has no label.
    """
    found = _compared(task, examples, (old, new), terms, look, terms.alpha_of(look))
    objection = _plain_objection(found)
    if not found.gap.low > -terms.margin:
        objection = "inferior"
    elif objection is None and found.new_error - found.old_error > terms.calibration:
        objection = "calibration_worse"
    return replace(found, objection=objection)


def judged_for_share(
    task: Task,
    examples: Sequence[Example],
    old: Sequence[Prediction],
    new: Sequence[Prediction],
    terms: Terms,
    look: int = 1,
) -> Judged:
    """Judge new answers, of which some shall be given beside the old ones to see more of them.

    They need not be shown to be as good, and are refused if they are shown to be worse: if the one-sided upper bound
    of the difference is below -margin, at a level of alpha, or they have no defined correlation where the old ones do;
    if a slice is as `judged` has it; or if fewer have a confidence. No level is spent over tries, since that would make
    each further try the easier for the answers.

    Raises:
        DataError: answers and examples do not match.
        LabelError: an example has no label.
    """
    found = _compared(task, examples, (old, new), terms, look, terms.alpha)
    gap, objection = found.gap, _plain_objection(found)
    if gap.high < -terms.margin or _is_lost(task, gap.old, gap.new):
        objection = "inferior"
    return replace(found, objection=objection)


def _compared(task: Task, examples: Sequence[Example], both: Both, terms: Terms, look: int, alpha: float) -> Judged:
    """What old and new answers show, with bounds that hold but for a chance of alpha; nothing is objected yet."""
    old, new = both
    whole = list(range(len(examples)))
    if task.label_kind == "class" and task.metric == "accuracy":
        gap = share_gap(_right(task, examples, old, whole), _right(task, examples, new, whole), alpha)
    else:
        one, other = (main_measure(task, examples, answers, whole) for answers in both)
        gap = gap_of(one, other, alpha, seed=SEED, resamples=RESAMPLES)
    slices, worst = _worst_slice(task, examples, both, terms)
    before, after = (_calibration(task, examples, answers) for answers in both)
    lost = max(0, after.left_out - before.left_out)
    return Judged(task.metric, len(examples), look, alpha, gap, slices, worst, before.ece, after.ece, lost)


def _plain_objection(found: Judged) -> Objection | None:
    """What is plain of a slice or of confidences."""
    if found.worst is not None:
        return "slice_undefined" if math.isnan(found.worst.gap.new) else "slice_worse"
    return "confidence_missing" if found.lost else None


def share_gap(old: NDArray[np.bool_], new: NDArray[np.bool_], alpha: float) -> Gap:
    """The difference of two shares of right answers [N] to the same examples, with its one-sided bounds.

    Those of a score test for matched pairs (`paired_shares`); and below no less far than the share of texts of which a
    sample of this size may hold none by chance, as in `gap_of`.
    """
    lost, won, size = int((old & ~new).sum()), int((new & ~old).sum()), len(old)
    low, high = score_bounds(lost, won, size, alpha)
    difference = (won - lost) / size
    return Gap(float(old.mean()), float(new.mean()), difference, min(low, difference - _unseen(size, alpha)), high)


def gap_of(old: Measure, new: Measure, alpha: float, *, seed: int, resamples: int) -> Gap:
    """The difference of two measures of the same examples with its one-sided bounds, by a paired bootstrap.

    The bound is the outermost of three. The percentile of the resampled differences; the normal bound with their
    standard deviation, since few resamples lie beyond a small alpha; and for scores the share of texts of which a
    sample of this size may hold none by chance, 1 - alpha^(1 / n) (Clopper and Pearson 1934, as for no event out of n),
    since answers that are all alike resample to a difference of exactly 0, and few to one that hardly varies.
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
    around = max(normal, _unseen(new.size, alpha) if new.higher_is_better else 0.0)
    return Gap(*values, difference, min(low, difference - around), max(high, difference + around))


def _unseen(size: int, alpha: float) -> float:
    return 1 - float(alpha ** (1 / size))


def _worst_slice(task: Task, examples: Sequence[Example], both: Both, terms: Terms) -> tuple[int, WorseSlice | None]:
    """How many slices there are, and the one that is shown to be worse than the margin lets it be, by most."""
    parts = list(members_of(examples))
    found = []
    for kind, value, inside in parts:
        gap = _slice_gap(task, examples, both, inside, terms.alpha / len(parts), terms.margin)
        if gap.high < -terms.margin or _is_lost(task, gap.old, gap.new):
            found.append(WorseSlice(kind, value, len(inside), gap))
    return len(parts), min(found, key=_sorted_by, default=None)


def _is_lost(task: Task, old: float, new: float) -> bool:
    """Whether the metric is not defined any more, as a correlation of answers that are all the same."""
    # An F1 is not defined where there is nothing to find and nothing was found, which is right.
    return task.label_kind == "number" and math.isnan(new) and not math.isnan(old)


def _sorted_by(slice_: WorseSlice) -> tuple[bool, float]:
    """By how much it is worse; those without a defined metric last."""
    return math.isnan(slice_.gap.new), slice_.gap.difference


def _slice_gap(
    task: Task,
    examples: Sequence[Example],
    both: Both,
    inside: Sequence[int],
    alpha: float,
    margin: float,
) -> Gap:
    """The gap in a slice; of classes that of right answers, since an F1 goes by which classes a slice has."""
    if task.label_kind == "class":
        ours, theirs = (_right(task, examples, answers, inside) for answers in both)
        return share_gap(ours, theirs, alpha)
    before, after = (main_measure(task, examples, answers, inside) for answers in both)
    values = before.value(), after.value()
    difference = (values[1] - values[0]) * (1 if after.higher_is_better else -1)
    if not difference < -margin:  # its bound cannot be beyond the margin either
        return Gap(*values, difference, math.nan, math.nan)
    return gap_of(before, after, alpha, seed=SEED, resamples=SLICE_RESAMPLES)


def _right(
    task: Task, examples: Sequence[Example], answers: Sequence[Prediction], inside: Sequence[int]
) -> NDArray[np.bool_]:
    return np.array([task.is_correct(examples[place], answers[place]) for place in inside], dtype=np.bool_)


def _calibration(task: Task, examples: Sequence[Example], answers: Sequence[Prediction]) -> Calibration:
    pairs = [pair for one in judged_confidences(task, examples, answers) for pair in one]
    return reliability([sure for sure, _ in pairs], [right for _, right in pairs])
