"""Limits with a guarantee: exact oracles, and rates that hold on fresh data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, binomtest

from tunesmith.errors import RecipeError
from tunesmith.guarding.thresholds import alarm_limit, auroc, fpr_at, highest_share, risk_floor


@pytest.mark.parametrize(("hits", "size"), [(0, 1), (0, 50), (3, 50), (49, 50), (50, 50), (120, 1000)])
def test_the_highest_share_is_that_of_clopper_and_pearson(hits: int, size: int) -> None:
    for doubt in (0.05, 0.001):
        exact = binomtest(hits, size).proportion_ci(1 - 2 * doubt, method="exact").high
        assert highest_share(hits, size, doubt) == pytest.approx(exact, abs=1e-12)


def reference_floor(sure: list[float], wrong: list[bool], risk: float, doubt: float) -> float | None:
    """Algorithm 1 of Geifman and El-Yaniv (2017) for confidences that differ; the bound by root search."""
    rows = sorted(zip(sure, wrong, strict=True))
    size = len(rows)
    looks = math.ceil(math.log2(size))
    low, high, best = 0, size - 1, None
    for _ in range(looks):
        middle = math.ceil((low + high) / 2)
        answered, errors = size - middle, sum(bad for _, bad in rows[middle:])
        tail = lambda share: binom.cdf(errors, answered, share) - doubt / looks  # noqa: B023, E731
        bound = 1.0 if errors == answered else brentq(tail, 1e-12, 1 - 1e-12, xtol=1e-14)
        if bound < risk:
            best = rows[middle][0] if best is None else min(best, rows[middle][0])
            high = middle
        else:
            low = middle
    return best


@pytest.mark.parametrize("seed", range(8))
def test_the_floor_is_that_of_the_paper(seed: int) -> None:
    random = np.random.default_rng(seed)
    sure = random.random(400)
    wrong = random.random(400) > 0.7 + 0.3 * sure
    expected = reference_floor(sure.tolist(), wrong.tolist(), 0.15, 0.05)
    assert expected is not None
    floor = risk_floor(sure, wrong, 0.15, 0.05)
    assert floor.least == expected
    answered = sure >= floor.least
    assert floor.coverage == pytest.approx(answered.mean())
    assert floor.risk == pytest.approx(wrong[answered].mean())
    assert floor.risk < floor.bound < 0.15


def test_the_risk_holds_on_fresh_data_as_often_as_was_said() -> None:
    random, broken, found = np.random.default_rng(3), 0, 0
    for _ in range(200):
        sure = random.random(500)
        wrong = random.random(500) > 0.6 + 0.4 * sure
        try:
            floor = risk_floor(sure, wrong, 0.12, 0.1)
        except RecipeError:
            continue
        found += 1
        broken += (1 - (0.6 + 0.4 * (floor.least + 1) / 2)) > 0.12  # the true risk above the floor
    assert found > 100
    assert broken <= 0.1 * found


def test_equal_confidences_are_answered_together() -> None:
    floor = risk_floor([0.9] * 300 + [0.1] * 100, [False] * 300 + [True] * 100, 0.05, 0.05)
    assert (floor.least, floor.coverage, floor.risk) == (0.9, 0.75, 0.0)


def test_a_risk_that_no_floor_keeps_is_refused() -> None:
    with pytest.raises(RecipeError, match="No confidence keeps the risk"):
        risk_floor([0.5, 0.9, 0.7], [True, False, False], 0.01, 0.05)
    with pytest.raises(RecipeError, match="No confidence"):
        risk_floor([], [], 0.1, 0.05)


@pytest.mark.parametrize(("size", "rate"), [(19, 0.05), (100, 0.05), (333, 0.01), (60, 0.1)])
def test_the_alarm_rate_holds_on_fresh_data(size: int, rate: float) -> None:
    random = np.random.default_rng(7)
    rates = []
    for _ in range(3000):
        limit = alarm_limit(random.standard_normal(size).tolist(), rate)
        rates.append(0.5 * math.erfc(limit / math.sqrt(2)))  # the true share above the limit
    mean, error = np.mean(rates), np.std(rates) / math.sqrt(len(rates))
    assert mean <= rate + 3 * error
    assert mean >= rate - 1 / (size + 1) - 3 * error, "no stricter than it must be"


def test_too_few_scores_show_no_alarm_rate() -> None:
    assert alarm_limit(list(range(19)), 0.05) == 18
    with pytest.raises(RecipeError, match="18 examples cannot show"):
        alarm_limit(list(range(18)), 0.05)


def test_auroc_and_fpr_are_counted_pair_by_pair() -> None:
    random = np.random.default_rng(1)
    inside, outside = random.integers(0, 8, 40), random.integers(3, 12, 30)
    pairs = [(b > a) + 0.5 * (b == a) for a in inside for b in outside]
    assert auroc(inside, outside) == pytest.approx(np.mean(pairs))
    limit = max(t for t in range(13) if (outside >= t).mean() >= 0.95)
    assert fpr_at(inside, outside) == pytest.approx((inside >= limit).mean())
