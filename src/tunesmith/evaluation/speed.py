"""How fast two predictors answer, side by side in one process, so that what else the machine does meets both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.records import Example
from tunesmith.evaluation.intervals import Estimate
from tunesmith.inference.predictor import Predictor

REPEATS = 5
_WARM = 3
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Speed:
    """Two predictors' times.

    Attributes:
        texts: how many texts were answered one at a time.
        milliseconds, other_milliseconds: the median time for one text.
        ratio: how many times as fast as the other, with a 95 % interval over texts.
        cpu_seconds, other_cpu_seconds: processor time for a thousand texts in batches; a measure of the energy.
    """

    texts: int
    milliseconds: float
    other_milliseconds: float
    ratio: Estimate
    cpu_seconds: float
    other_cpu_seconds: float


def side_by_side(
    ours: Predictor, other: Predictor, single: Sequence[Example], many: Sequence[Example], *, seed: int
) -> Speed:
    """Time both on the same texts in turns: the `single` ones one by one, the `many` in batches."""
    for predictor in (ours, other):
        predictor.predict(single[:_WARM])
    rows = np.array([[_both(ours, other, [text], time.perf_counter) for _ in range(REPEATS)] for text in single])
    # The least of some repeats is what the work takes; the rest is what else the machine did.
    best = rows.min(axis=1) if len(rows) else np.zeros((0, 2))
    middle = np.median(best, axis=0)
    random = np.random.default_rng(seed)
    drawn = best[random.integers(len(best), size=(_RESAMPLES, len(best)))]
    ratios = np.median(drawn[:, :, 1], axis=1) / np.median(drawn[:, :, 0], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    used = np.min([_both(ours, other, many, time.process_time) for _ in range(2)], axis=0) * 1000 / max(1, len(many))
    ratio = Estimate(float(middle[1] / middle[0]), float(low), float(high))
    return Speed(len(single), float(1000 * middle[0]), float(1000 * middle[1]), ratio, float(used[0]), float(used[1]))


def _both(
    ours: Predictor, other: Predictor, texts: Sequence[Example], clock: Callable[[], float]
) -> tuple[float, float]:
    taken = []
    for predictor in (ours, other):
        began = clock()
        predictor.predict(texts)
        taken.append(max(clock() - began, 1e-9))
    return taken[0], taken[1]
