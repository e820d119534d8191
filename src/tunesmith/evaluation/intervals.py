"""How sure a result is: bootstrap intervals, and paired comparisons of two sets of answers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError, RecipeError
from tunesmith.scoring import Measure, rows_at_once

Verdict = Literal["better", "worse", "no difference shown"]

_DEFINED = 0.95
"""An interval needs a defined value in this share of the resamples; what is left out would bend it otherwise."""


_SHARES = {"accuracy", "exact_match"}
"""Metrics that are the share of the examples that were answered rightly."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval; `low` and `high` are nan where no interval can be given."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of answers to the same examples by one metric; `verdict` speaks of `a`, `difference` is a - b."""

    name: str
    a: float
    b: float
    difference: Estimate
    p_value: float
    verdict: Verdict


def estimate(
    measures: Sequence[Measure],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    reflected: Collection[str] = (),
) -> dict[str, Estimate]:
    """Each measure with its percentile bootstrap interval over examples (Efron and Tibshirani 1993, ch. 13).

    All measures see the same resamples, and a seed always gives the same interval. A metric that is nan gets no
    interval, nor does one that is undefined in over 5 % of the resamples, nor any over fewer than two examples.

    Where every resample gives the same value (all answers are right), resampling cannot say what further examples would
    show: a share of the examples then has its exact interval (Clopper and Pearson 1934), another metric none.

    `reflected` names errors that are drawn too high by resampling, as they are by sampling (a calibration error counts
    each bin's noise): their interval is the basic one, 2 value - quantiles (Davison and Hinkley 1997, sec. 5.2), which
    takes that bias off; it ends at 0 below, and reaches up to the value at least.

    Raises:
        DataError: the measures are of different numbers of examples.
        RecipeError: `resamples` or `level` makes no sense.
    """
    size = _common_size(measures)
    if size < 2:
        return {measure.name: Estimate(measure.value(), math.nan, math.nan) for measure in measures}
    drawn: list[list[NDArray[np.float64]]] = [[] for _ in measures]
    for indices in _draws(size, resamples, level, seed):
        for values, measure in zip(drawn, measures, strict=True):
            values.append(measure.resampled(indices))
    found = {}
    for measure, values in zip(measures, drawn, strict=True):
        one = _interval(measure.value(), np.concatenate(values), level)
        if measure.name in reflected:
            one = Estimate(one.value, max(0.0, 2 * one.value - one.high), max(one.value, 2 * one.value - one.low))
        elif one.low == one.high:
            one = _without_spread(measure.name, one.value, size, level)
        found[measure.name] = one
    return found


def compare(a: Measure, b: Measure, *, seed: int, resamples: int = 10_000, level: float = 0.95) -> Comparison:
    """Compare two sets of answers to the same examples by a paired bootstrap (Efron and Tibshirani 1993, ch. 16).

    Both are computed on the same resamples, so what makes an example hard for both cancels out. The verdict is
    "better" or "worse" (for `a`, and minding that errors should be low) only if the interval of a - b excludes zero.
    `p_value` is two-sided: twice the share of resamples on the rarer side of zero.

    Raises:
        DataError: the measures differ in name or in the number of examples.
        RecipeError: `resamples` or `level` makes no sense.
    """
    if a.name != b.name:
        raise DataError(f"'{a.name}' cannot be compared with '{b.name}'.", to_do="Compare the same metric of both.")
    size = _common_size((a, b))
    values = a.value(), b.value()
    draws = _draws(size, resamples, level, seed)
    parts = [a.resampled(indices) - b.resampled(indices) for indices in draws] if size > 1 else [np.zeros(0)]
    gaps = np.concatenate(parts)
    difference = _interval(values[0] - values[1], gaps, level)
    if math.isnan(difference.low):
        return Comparison(a.name, *values, difference, math.nan, "no difference shown")
    gaps = gaps[~np.isnan(gaps)]
    rarer = min(np.count_nonzero(gaps <= 0), np.count_nonzero(gaps >= 0))
    p_value = min(1.0, 2 * (rarer + 1) / (len(gaps) + 1))
    return Comparison(a.name, *values, difference, p_value, _verdict(difference, a.higher_is_better))


def _without_spread(name: str, value: float, size: int, level: float) -> Estimate:
    """The interval of a metric that is the same in every resample."""
    tail = (1 - level) / 2
    if name not in _SHARES or value not in (0.0, 1.0):
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, tail ** (1 / size), 1.0) if value else Estimate(value, 0.0, 1 - tail ** (1 / size))


def _verdict(difference: Estimate, higher_is_better: bool) -> Verdict:
    if difference.low <= 0 <= difference.high:
        return "no difference shown"
    return "better" if (difference.low > 0) == higher_is_better else "worse"


def _interval(value: float, drawn: NDArray[np.float64], level: float) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    if math.isnan(value) or len(defined) == 0 or len(defined) < _DEFINED * len(drawn):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _draws(size: int, resamples: int, level: float, seed: int) -> Iterator[NDArray[np.intp]]:
    """Indices of resampled examples in blocks [b, N] that fit into memory."""
    if resamples < 1 or not 0 < level < 1:
        raise RecipeError(
            f"No interval can be made from {resamples} resamples at level {level:g}.",
            to_do="Use 1000 resamples or more, and a level such as 0.95.",
        )
    generator = np.random.default_rng(seed)
    rows = rows_at_once(size)
    for start in range(0, resamples, rows):
        yield generator.integers(size, size=(min(rows, resamples - start), size), dtype=np.intp)


def _common_size(measures: Sequence[Measure]) -> int:
    sizes = sorted({measure.size for measure in measures})
    if len(sizes) > 1:
        raise DataError(
            f"The measures are of {sizes[0]} and {sizes[-1]} examples.", to_do="Measure the same examples each time."
        )
    return sizes[0] if sizes else 0
