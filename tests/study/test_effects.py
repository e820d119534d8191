"""Effects and verdicts: what they equal, Holm's correction by hand, and how often nothing is called something."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunesmith.errors import DataError
from tunesmith.evaluation.seeds import Repeated
from tunesmith.study.effects import Spread, effects_of, holm, more_seeds, pooled, spread_of

COUNTS = 120
"""Resamples in the simulated studies."""


def runs(correct: np.ndarray, drawn: np.ndarray, *, higher_is_better: bool = True, name: str = "accuracy") -> Repeated:
    """Runs [seeds, examples] of right and wrong answers, on resamples [resamples, examples] of counts."""
    resampled = correct @ drawn.T / correct.shape[1]
    values = dict(enumerate(correct.mean(axis=1)))
    return Repeated(name, higher_is_better, correct.shape[1], values, dict(enumerate(resampled)))


def draws(examples: int, generator: np.random.Generator, count: int = COUNTS) -> np.ndarray:
    return generator.multinomial(examples, np.full(examples, 1 / examples), size=count).astype(float)


def simulated(
    generator: np.random.Generator, *, seeds: int, examples: int, effects: list[float], of_seed: float
) -> list[Spread]:
    """A study: examples are easy or hard for all, a seed moves a run, and the rest is chance; effects in accuracy."""
    ease = generator.normal(size=examples)
    drawn = draws(examples, generator)
    shared = generator.normal(scale=of_seed / 0.4, size=(seeds, 1))
    sides = []
    for effect in [0.0, *effects]:
        moved = shared + generator.normal(scale=of_seed / 0.4, size=(seeds, 1)) + effect / 0.35
        answers = ease + 0.7 + moved + generator.normal(scale=0.5, size=(seeds, examples)) > 0
        sides.append(runs(answers.astype(float), drawn))
    return [spread_of(side, sides[0]) for side in sides[1:]]


def test_seeds_that_differ_and_examples_that_do_not_give_the_paired_t_test() -> None:
    gaps = np.array([0.02, 0.05, 0.01, 0.04])
    base = np.full((4, 50), 0.5)
    drawn = draws(50, np.random.default_rng(0))
    found = spread_of(runs(base + gaps[:, None], drawn), runs(base, drawn))
    expected = stats.ttest_1samp(gaps, 0)
    assert found.p_value() == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.interval().low, found.interval().high) == pytest.approx((interval.low, interval.high))


def test_one_seed_has_the_spread_of_the_examples_and_no_verdict() -> None:
    generator = np.random.default_rng(1)
    better, worse = np.zeros((1, 200)), np.zeros((1, 200))
    better[0, :60] = 1
    drawn = draws(200, generator, 4000)
    found = spread_of(runs(better, drawn), runs(worse, drawn))
    assert math.sqrt(found.variance) == pytest.approx(math.sqrt(0.3 * 0.7 / 200), rel=0.05)
    (effect,) = effects_of([found])
    assert effect.verdict == "no difference shown: one seed cannot tell"
    assert effect.more_seeds is None


def test_holm_is_what_is_computed_by_hand() -> None:
    # 4 comparisons: 0.005 x 4, 0.011 x 3, 0.02 x 2, 0.04 x 1; each at least the one before.
    assert holm([0.02, 0.005, 0.04, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    with_nan = holm([0.01, math.nan, 0.04])
    assert with_nan[0] == 0.02
    assert math.isnan(with_nan[1])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("seeds", "examples", "of_seed"), [(3, 300, 0.0), (3, 300, 0.02), (5, 300, 0.005), (5, 800, 0.02)]
)
def test_a_study_of_remedies_without_effect_seldom_calls_one_shown(seeds: int, examples: int, of_seed: float) -> None:
    generator = np.random.default_rng(7)
    wrong, studies = 0, 100
    for _ in range(studies):
        spreads = simulated(generator, seeds=seeds, examples=examples, effects=[0.0] * 6, of_seed=of_seed)
        wrong += any(not one.verdict.startswith("no difference") for one in effects_of(spreads))
    assert wrong / studies <= 0.05


def test_effects_that_are_there_are_found_with_their_direction() -> None:
    generator = np.random.default_rng(3)
    found = [
        [one.verdict for one in effects_of(simulated(generator, seeds=5, examples=1500, effects=given, of_seed=0.005))]
        for given in [[0.06, -0.06]] * 20
    ]
    assert sum(one[0] == "earns its place" for one in found) >= 18
    assert sum(one[1] == "harms" for one in found) >= 18


def test_where_less_is_better_a_fall_earns_its_place() -> None:
    gaps = np.array([0.02, 0.021, 0.019, 0.02])
    base = np.full((4, 50), 0.5)
    drawn = draws(50, np.random.default_rng(0))
    sides = (runs(one, drawn, higher_is_better=False) for one in (base - gaps[:, None], base))
    (effect,) = effects_of([spread_of(*sides)])
    assert effect.verdict == "earns its place"
    assert effect.gain == pytest.approx(0.02)
    assert effect.difference.value == pytest.approx(-0.02)


def test_the_seeds_asked_for_would_show_the_difference() -> None:
    """Against the power of the t-test, computed by the noncentral distribution."""
    spread = Spread(0.01, 0.02**2 / 3, 2, 0.02**2, 0.0, 3)
    further = more_seeds(spread)
    assert further is not None

    def power(seeds: int) -> float:
        critical = stats.t.ppf(0.975, seeds - 1)
        shift = 0.01 / (0.02 / math.sqrt(seeds))
        return float(stats.nct.sf(critical, seeds - 1, shift))

    assert power(3 + further) == pytest.approx(0.8, abs=0.03)
    (effect,) = effects_of([spread])
    assert effect.verdict == f"no difference shown; {further} more seeds would be needed"
    more = more_seeds(spread, tests=4)
    assert more is not None
    assert more > further


def test_what_no_number_of_seeds_would_show_is_said_so() -> None:
    by_examples = Spread(0.01, 0.01**2, 4, 0.001**2, 0.01**2, 5)
    assert more_seeds(by_examples) is None
    (effect,) = effects_of([by_examples])
    assert effect.verdict == "no difference shown; over 50 more seeds would be needed"
    assert more_seeds(Spread(0.0, 0.01, 4, 0.05, 0.0, 5)) is None


def test_a_constant_difference_of_nothing_is_nothing() -> None:
    spread = Spread(0.0, 0.0, 4, 0.0, 0.0, 5)
    assert spread.p_value() == 1.0
    assert effects_of([spread])[0].verdict.startswith("no difference")
    undefined = Spread(0.1, math.nan, 4, math.nan, math.nan, 5)
    assert math.isnan(undefined.p_value())
    assert math.isnan(undefined.interval().low)


def test_the_mean_over_data_sets_is_more_certain_than_each() -> None:
    one = Spread(0.02, 0.01**2, 4, 5 * 0.01**2, 0.0, 5)
    both = pooled([one, one])
    assert both.value == 0.02
    assert both.variance == pytest.approx(one.variance / 2)
    assert both.freedom == pytest.approx(8)


def test_runs_of_other_metrics_or_seeds_are_refused() -> None:
    drawn = draws(10, np.random.default_rng(0))
    one = runs(np.ones((2, 10)), drawn)
    with pytest.raises(DataError, match="cannot be compared"):
        spread_of(one, runs(np.ones((2, 10)), drawn, name="f1"))
