"""Learning curves: a power law that is there is found again, and where it is not identified this is said."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.seeds import Repeated
from tunesmith.study.curves import Curve, curve_of, fit_power_law

SIZES = [50, 100, 200, 400, 800]


def runs(
    errors: np.ndarray, generator: np.random.Generator, *, seeds: int, of_seed: float, of_examples: float
) -> dict[int, Repeated]:
    """A metric 1 - error at each size: the same resampled examples for all, and seeds apart."""
    shared = generator.normal(scale=of_examples, size=300)
    found = {}
    for size, error in zip(SIZES, errors, strict=True):
        values = 1 - error + generator.normal(scale=of_seed, size=seeds)
        drawn = {seed: value + shared for seed, value in enumerate(values)}
        found[size] = Repeated("accuracy", True, 1000, dict(enumerate(values)), drawn)
    return found


def fitted(found: dict[int, Repeated]) -> Curve:
    means = {size: Estimate(float(np.mean(list(one.values.values()))), 0.0, 1.0) for size, one in found.items()}
    return curve_of("", "baseline", found, means, seed=1)


@pytest.mark.parametrize(("scale", "exponent", "floor"), [(2.0, 0.5, 0.05), (1.0, 0.35, 0.0), (5.0, 0.9, 0.12)])
def test_an_exact_curve_is_found_again(scale: float, exponent: float, floor: float) -> None:
    sizes = np.array([25.0, 50, 100, 200, 400, 800])
    law = fit_power_law(sizes, scale * sizes**-exponent + floor, np.ones(6))
    assert law.exponent == pytest.approx(exponent, abs=0.01)
    assert law.floor == pytest.approx(floor, abs=0.005)
    assert law.error(1600) == pytest.approx(scale * 1600**-exponent + floor, abs=1e-3)


def test_noisier_points_weigh_less() -> None:
    sizes = np.array([50.0, 100, 200, 400, 800])
    errors = 2 * sizes**-0.5 + 0.05
    spoiled = errors + np.array([0.0, 0.08, 0.0, 0.0, 0.0])
    weights = np.array([1.0, 1e-4, 1.0, 1.0, 1.0])
    near = fit_power_law(sizes, spoiled, weights).error(1600)
    far = fit_power_law(sizes, spoiled, np.ones(5)).error(1600)
    truth = 2 * 1600**-0.5 + 0.05
    assert abs(near - truth) < abs(far - truth)


def test_what_more_labels_buy_lies_in_its_interval_about_as_often_as_it_says() -> None:
    truth = 1 - (2 * 1600**-0.5 + 0.05)
    errors = 2 * np.array(SIZES, dtype=float) ** -0.5 + 0.05
    generator = np.random.default_rng(4)
    hits, studies = 0, 25
    for _ in range(studies):
        offset = generator.normal(scale=0.005)  # these examples are easier or harder than all are
        curve = fitted(runs(errors + offset, generator, seeds=5, of_seed=0.006, of_examples=0.005))
        one = curve.expected[1600]
        hits += one.low <= truth <= one.high
    assert hits / studies >= 0.84


def test_the_curve_is_told_in_words() -> None:
    errors = 2 * np.array(SIZES, dtype=float) ** -0.5 + 0.05
    curve = fitted(runs(errors, np.random.default_rng(0), seeds=3, of_seed=1e-4, of_examples=1e-4))
    first, twice, four = curve.sentences()[:3]
    assert first.startswith("0.879 with 800 labels; error = ")
    assert twice.startswith("Twice the labels (1,600): 0.900 [")
    assert four.startswith("Four times the labels (3,200): 0.91")


def test_too_few_sizes_are_said_and_not_fitted() -> None:
    found = runs(np.linspace(0.3, 0.1, 5), np.random.default_rng(0), seeds=2, of_seed=0.01, of_examples=0.01)
    curve = fitted({size: found[size] for size in SIZES[:3]})
    assert curve.law is None
    assert curve.sentences() == [
        "no learning curve: the fit has three unknowns, and needs 4 sizes or more; there are 3."
    ]


def test_a_curve_that_does_not_fall_is_called_so() -> None:
    curve = fitted(runs(np.full(5, 0.2), np.random.default_rng(0), seeds=3, of_seed=0.02, of_examples=0.01))
    assert "no fall of the error is shown" in curve.sentences()[-1]
