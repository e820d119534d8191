"""Results of several training runs: how sure they are over test examples and over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Estimate, draws, interval_of, widened
from tunesmith.scoring import Measure


@dataclass(frozen=True, eq=False)
class Repeated:
    """One metric of several runs that differ in their seed, on the same examples.

    `size` counts the examples; `values` holds the metric of each seed's run, `resampled` [B] the same on each resample
    of the examples.
    """

    name: str
    higher_is_better: bool
    size: int
    values: Mapping[int, float]
    resampled: Mapping[int, NDArray[np.float64]]

    @classmethod
    def of(cls, measures: Mapping[int, Measure], *, seed: int, resamples: int = 2000) -> Repeated:
        """The runs' measures by their seeds, computed on resamples that are the same for every call with one `seed`.

        Raises:
            DataError: there is none, or they are of different metrics or examples.
        """
        kinds = {(measure.name, measure.size) for measure in measures.values()}
        if len(kinds) != 1:
            raise DataError("The runs have no metric in common on the same examples.", where="evaluation")
        (first, *_) = measures.values()
        parts: dict[int, list[NDArray[np.float64]]] = {one: [] for one in measures}
        for indices in draws(first.size, resamples, 0.95, seed):
            for one, measure in measures.items():
                parts[one].append(measure.resampled(indices))
        return cls(
            first.name,
            first.higher_is_better,
            first.size,
            {one: measure.value() for one, measure in measures.items()},
            {one: np.concatenate(blocks) for one, blocks in parts.items()},
        )


def mean_over_seeds(runs: Repeated, *, seed: int, level: float = 0.95) -> Estimate:
    """The mean over the seeds, with an interval over examples and seeds together.

    Each resample draws examples and, apart from them, seeds (the pigeonhole bootstrap of crossed factors, Owen 2007).
    Means of S drawn seeds spread too little, by (S - 1) / S in variance (Efron and Tibshirani 1993, sec. 5.3), so their
    deviations are widened by sqrt(S / (S - 1)). With one seed the interval speaks of the examples alone.
    """
    seeds = sorted(runs.values)
    drawn = _over_seeds(np.array([runs.resampled[one] for one in seeds]), seed)
    found = interval_of(float(np.mean([runs.values[one] for one in seeds])), drawn, level)
    return widened(found.value, runs.size, level, runs.higher_is_better) if found.low == found.high else found


def _over_seeds(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The mean over drawn seeds on each resample of the examples: [S, B] -> [B]."""
    seeds, resamples = values.shape
    means: NDArray[np.float64] = values.mean(axis=0)
    if seeds == 1:
        return means
    # A stream of its own, so that the choice of seeds has nothing to do with that of examples.
    drawn = np.random.default_rng([seed, seeds]).integers(seeds, size=(seeds, resamples))
    chosen = np.take_along_axis(values, drawn, axis=0).mean(axis=0)
    return np.asarray(means + (chosen - means) * math.sqrt(seeds / (seeds - 1)))
