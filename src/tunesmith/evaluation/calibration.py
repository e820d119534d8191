"""Whether confidence can be believed: of the answers given with 80 %, are 80 % right?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, RecipeError
from tunesmith.evaluation.intervals import Estimate, draws, quantile
from tunesmith.scoring import divide, times_drawn
from tunesmith.scoring.calibration import fit_temperature
from tunesmith.tasks import Task

__all__ = ["Bin", "Calibration", "calibration_error", "fit_temperature", "judged_confidences", "reliability"]

Judged = Sequence[tuple[float, bool]]
"""The answers given to one example: how sure each was, and whether it was right."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers with a confidence in (low, high]: their mean confidence and accuracy (nan when there are none)."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """The expected calibration error, the bins it was computed from, and how many answers had no confidence."""

    ece: float
    bins: tuple[Bin, ...]
    left_out: int = 0


def reliability(
    confidences: Sequence[float] | NDArray[np.float64], correct: Sequence[bool] | NDArray[np.bool_], bins: int = 15
) -> Calibration:
    """Compare confidence with accuracy in bins of equal width (Guo et al. 2017, eq. 2 and 3).

    Answers whose confidence is nan are left out and counted; without any other the error is nan.

    Raises:
        DataError: a confidence lies outside [0, 1], or there is not one for each answer.
        RecipeError: there is not at least one bin.
    """
    if bins < 1:
        raise RecipeError(f"Calibration needs at least one bin; {bins} were asked for.", to_do="Use 10 to 20 bins.")
    sure, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if sure.shape != right.shape:
        raise DataError(
            f"There are {sure.size} confidences for {right.size} answers.", to_do="Give one confidence per answer."
        )
    given = ~np.isnan(sure)
    sure, right = sure[given], right[given]
    outside = sure[(sure < -1e-6) | (sure > 1 + 1e-6)]
    if len(outside):
        raise DataError(
            f"The confidence {outside[0]:g} is not a probability.", to_do="Give confidences between 0 and 1."
        )
    edges, places = np.linspace(0, 1, bins + 1), _places(sure, bins)
    inside = [places == number for number in range(bins)]
    found = tuple(_bin(edges[n], edges[n + 1], sure[here], right[here]) for n, here in enumerate(inside))
    gaps = [one.count * abs(one.confidence - one.accuracy) for one in found if one.count]
    error = float(sum(gaps) / len(sure)) if len(sure) else float("nan")
    return Calibration(error, found, left_out=int((~given).sum()))


def _bin(low: float, high: float, sure: NDArray[np.float64], right: NDArray[np.float64]) -> Bin:
    if len(sure) == 0:
        return Bin(float(low), float(high), float("nan"), float("nan"), 0)
    return Bin(float(low), float(high), float(sure.mean()), float(right.mean()), len(sure))


def judged_confidences(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Judged]:
    """For each example its answers' confidence and whether they are right: one answer, or one per predicted span."""
    judged: list[Judged] = []
    for example, prediction in zip(examples, predictions, strict=True):
        if task.label_kind == "spans":
            gold, answer = example.label, prediction.label
            assert isinstance(gold, tuple)
            assert isinstance(answer, tuple)
            judged.append([(score, span in gold) for span, score in zip(answer, prediction.span_scores, strict=True)])
        else:
            # How likely the tokens of a written answer are on average is not how likely all of it is right.
            sure = math.nan if task.label_kind == "text" else prediction.confidence
            judged.append([(sure, task.is_correct(example, prediction))])
    return judged


def calibration_error(
    judged: Sequence[Judged], *, seed: int, resamples: int = 1000, level: float = 0.95, bins: int = 15
) -> Estimate:
    """The expected calibration error with an interval over examples, of coverage `level` or somewhat more.

    The error adds up the sizes of the bins' gaps, noise and all, so it is measured too high, and resampling adds the
    noise once more: the percentiles of resampled errors may leave out the value itself, and do leave out the true error
    where bins are calibrated (Fang and Santos 2019: the bootstrap is valid only for differentiable functions). The gaps
    are sums, so their noise can be resampled. By the triangle inequality the true error lies below the value by at most
    the sizes of that noise, summed; above it by at most the noise of the gaps summed with their signs.

    The interval ends at 0 below. There is none for fewer than two examples, or where too many resamples have no answer.
    """
    sums = _gap_sums(judged, bins)
    gaps = _gaps(sums.sum(axis=0, keepdims=True))[0]
    value = float(np.abs(gaps).sum())
    if len(judged) < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan)
    drawn = [_gaps(times_drawn(indices, len(judged)) @ sums) for indices in draws(len(judged), resamples, level, seed)]
    noise = np.concatenate(drawn) - gaps
    tail = (1 + level) / 2
    down, up = quantile(np.abs(noise).sum(axis=1), tail), quantile(-noise @ np.sign(gaps), tail)
    if math.isnan(down):
        return Estimate(value, math.nan, math.nan)
    down = max(down, _error_by_chance(judged, seed=seed, level=tail, bins=bins))
    return Estimate(value, max(0.0, value - down), value + max(0.0, up))


def _error_by_chance(judged: Sequence[Judged], *, seed: int, level: float = 0.95, bins: int = 15) -> float:
    """The calibration error that perfectly calibrated answers stay below with probability `level`.

    Each answer is right with the probability that its confidence says, so that a bin's sum of gaps is nearly normal
    with variance sum p (1 - p) (the consistency resampling of Broecker and Smith 2007, with a normal limit).
    Unlike resamples of the answers, this knows that answers which are all right could have been wrong.
    """
    sure = np.array([one for answers in judged for one, _ in answers if not math.isnan(one)])
    chances = np.clip(sure, 0.0, 1.0)
    spread = np.sqrt(np.bincount(_places(sure, bins), chances * (1 - chances), minlength=bins))
    drawn = np.abs(np.random.default_rng(seed).normal(size=(2000, bins)) * spread).sum(axis=1) / max(1, len(sure))
    return float(np.quantile(drawn, level))


def _gap_sums(judged: Sequence[Judged], bins: int) -> NDArray[np.float64]:
    """What each example adds: per bin confidence minus right answers, and the count of its answers -> [N, bins + 1]."""
    sums = np.zeros((len(judged), bins + 1))
    for row, answers in zip(sums, judged, strict=True):
        given = [(sure, right) for sure, right in answers if not math.isnan(sure)]
        places = _places(np.array([sure for sure, _ in given]), bins)
        np.add.at(row, places, [sure - right for sure, right in given])
        row[-1] += len(given)
    return sums


def _gaps(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each bin's gap between confidence and accuracy times its share of the answers: [B, bins + 1] -> [B, bins]."""
    return divide(sums[:, :-1], sums[:, -1:])


def _places(sure: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each confidence; a border belongs to the lower bin, so that a confidence of 1 falls into the last."""
    return np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), sure, side="left") - 1, 0, bins - 1)
