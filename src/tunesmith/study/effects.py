"""What a remedy changes, with its interval, its corrected p-value and a verdict; and how many seeds would show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.seeds import Repeated

LEVEL = 0.05
"""A difference is said to be shown where its corrected p-value is below this."""
POWER = 0.8
"""How likely the seeds asked for would show the difference that was observed."""
MOST = 50
"""More further seeds than this are not asked for by number."""

_DEFINED = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean paired difference and what makes it uncertain.

    `variance` is that of the mean difference, with `freedom` degrees of freedom; `of_seed` is that of one seed's
    difference, and `of_examples` the part of `variance` that more seeds would not make smaller.
    """

    value: float
    variance: float
    freedom: float
    of_seed: float
    of_examples: float
    seeds: int
    higher_is_better: bool = True

    def interval(self) -> Estimate:
        """The difference with its 95 % interval by Student's t."""
        if math.isnan(self.variance):
            return Estimate(self.value, math.nan, math.nan)
        half = float(stats.t.ppf(1 - LEVEL / 2, self.freedom)) * math.sqrt(self.variance) if self.variance else 0.0
        return Estimate(self.value, self.value - half, self.value + half)

    def p_value(self) -> float:
        """Two-sided, of no difference; nan where it cannot be said."""
        if self.variance > 0:
            return float(2 * stats.t.sf(abs(self.value) / math.sqrt(self.variance), self.freedom))
        return 1.0 if self.variance == 0 and self.value == 0 else math.nan


@dataclass(frozen=True, slots=True)
class Effect:
    """What a remedy changes against the baseline.

    `gain` is the difference counted so that more is better; `adjusted` is the p-value corrected for all comparisons of
    its family; `more_seeds` is how many further seeds would
    show the observed difference (None: over `MOST`, none would do, or it cannot be said).
    """

    difference: Estimate
    gain: float
    p_value: float
    adjusted: float
    seeds: int
    seed_deviation: float
    more_seeds: int | None
    verdict: str


def spread_of(a: Repeated, b: Repeated) -> Spread:
    """The mean difference a - b, paired by seed and by example, as a crossed design with both factors random.

    With S seeds, V_s = var(gaps of the seeds) / S, and V_e = the bootstrap variance over examples of the mean gap; what
    is of a seed and an example alone is in both, V_se = (mean bootstrap variance of one seed's gap - V_e) / (S - 1).
    The variance of the mean is V_s + V_e - V_se, and at least either of the first two, with S - 1 degrees of freedom:
    this is the paired t-test over seeds, widened by what the examples add. More degrees (Satterthwaite's formula) would
    find too much where seeds differ more than examples do. With one seed the variance is V_e, which knows no seeds.

    Raises:
        DataError: the two have different metrics, or no seed in common.
    """
    seeds = sorted(a.values.keys() & b.values.keys())
    if a.name != b.name or not seeds:
        raise DataError(f"The runs cannot be compared by '{a.name}' and seed.", to_do="Run both with the same seeds.")
    gaps = np.array([a.values[one] - b.values[one] for one in seeds])
    drawn = np.array([a.resampled[one] - b.resampled[one] for one in seeds])
    of_examples = _variance(drawn.mean(axis=0))
    count = len(seeds)
    if count == 1:
        return Spread(float(gaps[0]), of_examples, max(1, a.size - 1), math.nan, of_examples, 1, a.higher_is_better)
    of_seeds = float(gaps.var(ddof=1)) / count
    alone = float(np.mean([_variance(row) for row in drawn]))
    both = max(0.0, (alone - of_examples) / (count - 1))
    variance = max(of_seeds + of_examples - both, of_seeds, of_examples)
    shared = max(0.0, of_examples - both)
    return Spread(float(gaps.mean()), variance, count - 1, of_seeds * count, shared, count, a.higher_is_better)


def pooled(spreads: Sequence[Spread]) -> Spread:
    """The mean of the differences on several data sets that have no example in common.

    It speaks of these data sets, not of others: that effects differ between data sets widens nothing. The degrees of
    freedom are those of a sum of variances (Satterthwaite 1946).
    """
    count = len(spreads)
    variance = sum(one.variance for one in spreads) / count**2
    below = sum((one.variance / count**2) ** 2 / one.freedom for one in spreads)
    return Spread(
        float(np.mean([one.value for one in spreads])),
        variance,
        variance**2 / below if below else min(one.freedom for one in spreads),
        sum(one.of_seed for one in spreads) / count**2,
        sum(one.of_examples for one in spreads) / count**2,
        min(one.seeds for one in spreads),
        spreads[0].higher_is_better,
    )


def effects_of(spreads: Sequence[Spread]) -> list[Effect]:
    """The effects of all comparisons of one family, their p-values corrected together by Holm's method."""
    raw = [one.p_value() for one in spreads]
    corrected = holm(raw)
    tests = max(1, sum(not math.isnan(value) for value in raw))
    found = []
    for one, p_value, adjusted in zip(spreads, raw, corrected, strict=True):
        further = more_seeds(one, tests)
        gain = one.value if one.higher_is_better else -one.value
        said = _verdict(one, adjusted, further)
        found.append(Effect(one.interval(), gain, p_value, adjusted, one.seeds, math.sqrt(one.of_seed), further, said))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected so that the chance of any false finding stays below the level (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1, and is at least the one before; nan stays, and is not counted.
    """
    order = sorted((place for place, one in enumerate(p_values) if not math.isnan(one)), key=lambda at: p_values[at])
    found = [math.nan] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        found[place] = largest
    return found


def more_seeds(spread: Spread, tests: int = 1) -> int | None:
    """How many further seeds would show the observed difference with 80 % power, at most `MOST`.

    The smallest n with |d| >= (t(1 - alpha / 2) + t(0.8)) sqrt(v + s^2 / n): d is the observed difference, s^2 the
    variance of a seed's difference, v what the examples add whatever the seeds, alpha 0.05 / `tests`, and t has n - 1
    degrees of freedom. d and s are themselves uncertain, so this is a guide and no promise.
    """
    if spread.seeds < 2 or math.isnan(spread.variance) or spread.value == 0:
        return None
    counts = np.arange(spread.seeds + 1, spread.seeds + MOST + 1)
    freedom = spread.freedom / (spread.seeds - 1) * (counts - 1)
    needed = stats.t.ppf(1 - LEVEL / tests / 2, freedom) + stats.t.ppf(POWER, freedom)
    needed = needed * np.sqrt(spread.of_seed / counts + spread.of_examples)
    enough = np.flatnonzero(abs(spread.value) >= needed)
    return int(counts[enough[0]]) - spread.seeds if len(enough) else None


def _verdict(spread: Spread, adjusted: float, further: int | None) -> str:
    if spread.seeds == 1:
        return "no difference shown: one seed cannot tell"
    if adjusted < LEVEL:
        return "earns its place" if (spread.value > 0) == spread.higher_is_better else "harms"
    if further is None:
        return f"no difference shown; over {MOST} more seeds would be needed"
    return f"no difference shown; {further} more seed{'s' if further > 1 else ''} would be needed"


def _variance(drawn: NDArray[np.float64]) -> float:
    """The variance of what is defined; nan where over 5 % is not."""
    defined = drawn[~np.isnan(drawn)]
    return float(defined.var()) if len(defined) >= max(2, _DEFINED * len(drawn)) else math.nan
