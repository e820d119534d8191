"""How sure a result is: bootstrap intervals, and paired comparisons of two sets of answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError, RecipeError
from tunesmith.scoring import Measure, rows_at_once

Verdict = Literal["better", "worse", "no difference shown"]

_DEFINED = 0.95
"""An interval needs a defined value in this share of the resamples; what is left out would bend it otherwise."""


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
) -> dict[str, Estimate]:
    """Each measure with its percentile bootstrap interval over examples (Efron and Tibshirani 1993, ch. 13).

    All measures see the same resamples, and a seed always gives the same interval. A metric that is nan gets no
    interval, nor does one that is undefined in over 5 % of the resamples, nor any over fewer than two examples.

    Where every resample gives the same 1 or 0 (all answers are right, or none), resampling cannot say what further
    examples would show. The interval is then that of a share of the examples (Clopper and Pearson 1934), which is exact
    for an accuracy and near for the other scores; an error has none.

    Raises:
        DataError: the measures are of different numbers of examples.
        RecipeError: `resamples` or `level` makes no sense.
    """
    size = _common_size(measures)
    if size < 2:
        return {measure.name: Estimate(measure.value(), math.nan, math.nan) for measure in measures}
    drawn: list[list[NDArray[np.float64]]] = [[] for _ in measures]
    for indices in draws(size, resamples, level, seed):
        for values, measure in zip(drawn, measures, strict=True):
            values.append(measure.resampled(indices))
    found = {}
    for measure, values in zip(measures, drawn, strict=True):
        one = interval_of(measure.value(), np.concatenate(values), level)
        if one.low == one.high:
            one = widened(one.value, size, level, measure.higher_is_better)
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
    blocks = draws(size, resamples, level, seed)
    parts = [a.resampled(indices) - b.resampled(indices) for indices in blocks] if size > 1 else [np.zeros(0)]
    gaps = np.concatenate(parts)
    difference = interval_of(values[0] - values[1], gaps, level)
    if math.isnan(difference.low):
        return Comparison(a.name, *values, difference, math.nan, "no difference shown")
    return Comparison(a.name, *values, difference, p_value_of(gaps), verdict_of(difference, a.higher_is_better))


def p_value_of(gaps: NDArray[np.float64]) -> float:
    """Twice the share of resampled differences on the rarer side of zero."""
    gaps = gaps[~np.isnan(gaps)]
    rarer = min(np.count_nonzero(gaps <= 0), np.count_nonzero(gaps >= 0))
    return float(min(1.0, 2 * (rarer + 1) / (len(gaps) + 1)))


def widened(value: float, size: int, level: float, higher_is_better: bool) -> Estimate:
    """The interval of a score that is the same in every resample (see `estimate`)."""
    if not higher_is_better:
        return _unknown(value)
    seldom = 1 - ((1 - level) / 2) ** (1 / size)
    if value == 1:
        return Estimate(value, 1 - seldom, 1.0)
    return Estimate(value, 0.0, seldom) if value == 0 else _unknown(value)


def share_of(hits: int, size: int, level: float = 0.95) -> Estimate:
    """A share of `size` things with its score interval (Wilson 1927); nan of none."""
    if not size:
        return _unknown(math.nan)
    z, share = NormalDist().inv_cdf((1 + level) / 2), hits / size
    middle, wide = share + z * z / (2 * size), z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return Estimate(
        share, max(0.0, (middle - wide) / (1 + z * z / size)), min(1.0, (middle + wide) / (1 + z * z / size))
    )


def _unknown(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan)


def verdict_of(difference: Estimate, higher_is_better: bool) -> Verdict:
    """What an interval of a difference shows."""
    if difference.low <= 0 <= difference.high:
        return "no difference shown"
    return "better" if (difference.low > 0) == higher_is_better else "worse"


def interval_of(value: float, drawn: NDArray[np.float64], level: float) -> Estimate:
    """A value with the percentile interval of what was drawn."""
    if math.isnan(value):
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, quantile(drawn, (1 - level) / 2), quantile(drawn, (1 + level) / 2))


def quantile(drawn: NDArray[np.float64], share: float) -> float:
    """The quantile of what was drawn; nan if over 5 % of it is not defined, for what is left out would bend it."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0 or len(defined) < _DEFINED * len(drawn):
        return math.nan
    return float(np.quantile(defined, share))


def draws(size: int, resamples: int, level: float, seed: int) -> Iterator[NDArray[np.intp]]:
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
