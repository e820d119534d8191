"""The bounds of paired shares: those of the score test, found in another way, and known ones."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import minimize_scalar

from tunesmith.evaluation.paired_shares import fewest_pairs, score, score_bounds

CASES = [(0, 1, 44), (1, 0, 44), (9, 4, 32), (14, 33, 1000), (5, 5, 20), (3, 0, 5), (0, 12, 12)]


@pytest.mark.parametrize(("lost", "won", "size"), CASES)
@pytest.mark.parametrize("difference", [-0.4, -0.05, 0.02, 0.3])
def test_the_score_is_that_of_the_likeliest_shares_with_this_difference(
    lost: int, won: int, size: int, difference: float
) -> None:
    same = size - lost - won

    def unlikely(share: float) -> float:  # of lost answers, where share + difference are won
        shares = (share, share + difference, 1 - 2 * share - difference)
        return -sum(count * math.log(max(one, 1e-300)) for count, one in zip((lost, won, same), shares, strict=True))

    found = minimize_scalar(
        unlikely, bounds=(max(0.0, -difference), (1 - difference) / 2), method="bounded", options={"xatol": 1e-12}
    )
    variance = size * (2 * found.x + difference - difference**2)
    assert score(lost, won, size, difference) == pytest.approx(
        (won - lost - size * difference) / math.sqrt(variance), abs=1e-4
    )


@pytest.mark.parametrize(("lost", "won", "size"), CASES)
def test_bounds_hold_what_the_score_says(lost: int, won: int, size: int) -> None:
    low, high = score_bounds(lost, won, size, 0.03)
    assert -1 <= low <= (won - lost) / size <= high <= 1
    assert (-high, -low) == pytest.approx(score_bounds(won, lost, size, 0.03))
    if low > -1 + 1e-9:
        assert score(lost, won, size, low) == pytest.approx(1.8807936, abs=1e-5)


def test_where_all_are_alike_the_bound_is_that_of_wilson() -> None:
    z = 1.6448536
    assert score_bounds(0, 0, 100, 0.05) == pytest.approx((-(z**2) / (100 + z**2), z**2 / (100 + z**2)))
    fewest = fewest_pairs(0.05, 0.05)
    assert score_bounds(0, 0, fewest, 0.05)[0] > -0.05 >= score_bounds(0, 0, fewest - 1, 0.05)[0]
