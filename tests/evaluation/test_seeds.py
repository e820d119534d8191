"""Comparisons over seeds and examples: what they equal, how wide they are, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import compare
from tunesmith.evaluation.seeds import Repeated, compare_over_seeds, mean_over_seeds
from tunesmith.scoring import SummedMeasure, mean_measure


def measure(values: object, *, higher_is_better: bool = True) -> SummedMeasure:
    return mean_measure("accuracy", np.asarray(values, dtype=np.float64), higher_is_better=higher_is_better)


def repeated(rows: object, resamples: int = 500) -> Repeated:
    return Repeated.of({seed: measure(row) for seed, row in enumerate(np.asarray(rows))}, seed=1, resamples=resamples)


def test_with_one_seed_it_is_the_paired_bootstrap() -> None:
    draws = np.random.default_rng(0).random((2, 80)) < [[0.8], [0.6]]
    joint = compare_over_seeds(repeated(draws[:1]), repeated(draws[1:]), seed=1)
    assert joint == compare(measure(draws[0]), measure(draws[1]), seed=1, resamples=500)


def test_seeds_alone_spread_as_the_standard_error_of_their_mean() -> None:
    levels = np.array([0.70, 0.74, 0.81, 0.77, 0.72])
    runs = repeated(np.repeat(levels[:, None], 10, axis=1), resamples=20_000)
    found = mean_over_seeds(runs, seed=3)
    assert found.value == pytest.approx(levels.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * levels.std(ddof=1) / np.sqrt(5), rel=0.1)


def test_what_both_share_cancels_out() -> None:
    hard = np.random.default_rng(0).random((3, 200)) < 0.5
    better = np.where(np.arange(200) < 10, 1, hard)
    worse = np.where(np.arange(200) < 10, 0, hard)
    found = compare_over_seeds(repeated(better), repeated(worse), seed=1)
    assert found.verdict == "better"
    assert found.difference.value == pytest.approx(10 / 200)
    assert compare_over_seeds(repeated(worse), repeated(better), seed=1).verdict == "worse"
    assert mean_over_seeds(repeated(better), seed=1).low < found.a - 0.04


def test_seeds_of_one_side_only_are_left_out_and_none_in_common_is_an_error() -> None:
    one = Repeated.of({1: measure([1, 1, 0]), 2: measure([0, 0, 0])}, seed=1, resamples=100)
    other = Repeated.of({1: measure([1, 0, 0])}, seed=1, resamples=100)
    assert compare_over_seeds(one, other, seed=1).a == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="cannot be compared"):
        compare_over_seeds(one, Repeated.of({3: measure([1, 0, 0])}, seed=1, resamples=100), seed=1)


def test_runs_on_different_examples_are_refused() -> None:
    with pytest.raises(DataError, match="same examples"):
        Repeated.of({1: measure([1, 0]), 2: measure([1, 0, 1])}, seed=1)


def test_a_perfect_score_is_not_sure_to_stay_perfect() -> None:
    assert 0.8 < mean_over_seeds(repeated(np.ones((3, 20))), seed=1).low < 1


def test_intervals_of_three_seeds_hold_the_truth_about_as_often_as_they_say() -> None:
    """Two models whose seeds differ by 2 points and whose examples decide the rest."""
    generator = np.random.default_rng(5)
    truth, hits, trials = 0.05, 0, 120
    for _ in range(trials):
        ease = generator.normal(size=300)
        sides = []
        for level in (truth / 0.4, 0.0):  # a shift of the threshold is about 0.4 of it in accuracy
            shifts = level + generator.normal(scale=0.02 / 0.4, size=(3, 1))
            sides.append((ease + shifts + generator.normal(scale=0.5, size=(3, 300))) > 0)
        found = compare_over_seeds(*(repeated(side, resamples=300) for side in sides), seed=1)
        expected = _share(truth / 0.4) - _share(0.0)
        hits += found.difference.low <= expected <= found.difference.high
    assert hits / trials >= 0.9


def _share(shift: float) -> float:
    draws = np.random.default_rng(9).normal(scale=np.sqrt(1 + 0.25 + 0.05**2), size=400_000)
    return float((draws + shift > 0).mean())
