"""Comparisons over seeds and examples: what they equal, how wide they are, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import estimate
from tunesmith.evaluation.seeds import Repeated, mean_over_seeds
from tunesmith.scoring import SummedMeasure, mean_measure


def measure(values: object, *, higher_is_better: bool = True) -> SummedMeasure:
    return mean_measure("accuracy", np.asarray(values, dtype=np.float64), higher_is_better=higher_is_better)


def repeated(rows: object, resamples: int = 500) -> Repeated:
    return Repeated.of({seed: measure(row) for seed, row in enumerate(np.asarray(rows))}, seed=1, resamples=resamples)


def test_with_one_seed_it_is_the_bootstrap_over_examples() -> None:
    draws = np.random.default_rng(0).random((1, 80)) < 0.8
    found = estimate([measure(draws[0])], seed=1, resamples=500)["accuracy"]
    assert mean_over_seeds(repeated(draws), seed=1) == found


def test_seeds_alone_spread_as_the_standard_error_of_their_mean() -> None:
    levels = np.array([0.70, 0.74, 0.81, 0.77, 0.72])
    runs = repeated(np.repeat(levels[:, None], 10, axis=1), resamples=20_000)
    found = mean_over_seeds(runs, seed=3)
    assert found.value == pytest.approx(levels.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * levels.std(ddof=1) / np.sqrt(5), rel=0.1)


def test_runs_on_different_examples_are_refused() -> None:
    with pytest.raises(DataError, match="same examples"):
        Repeated.of({1: measure([1, 0]), 2: measure([1, 0, 1])}, seed=1)


def test_a_perfect_score_is_not_sure_to_stay_perfect() -> None:
    assert 0.8 < mean_over_seeds(repeated(np.ones((3, 20))), seed=1).low < 1
