"""The difference of two shares of right answers to the same questions, with bounds that hold for few and for many."""

from __future__ import annotations

import math
from statistics import NormalDist

_HALVINGS = 50
"""Of the interval [-1, 1] in which a bound is looked for: beyond the last bit of a share of a million."""


def score_bounds(lost: int, won: int, size: int, alpha: float) -> tuple[float, float]:
    """One-sided bounds of the difference (won - lost) / size, each of which holds but for a chance of about alpha.

    They invert the score test for matched pairs of Tango (1998, "Equivalence test and confidence interval for the
    difference in proportions for the paired-sample design", Statistics in Medicine 17, eq. 4 to 6), which keeps its
    level also where few answers differ or none do: then they are -z^2 / (n + z^2) and its opposite.

    Args:
        lost: how many of the pairs only the old answers have right.
        won: how many only the new answers have right.
        size: how many pairs there are, at least 1.
        alpha: in (0, 0.5).
    """
    return _lower_bound(lost, won, size, alpha), -_lower_bound(won, lost, size, alpha)


def fewest_pairs(margin: float, alpha: float) -> int:
    """How many pairs that are all alike have a lower bound above -margin, for a margin in (0, 1)."""
    return math.floor(_quantile(alpha) ** 2 * (1 - margin) / margin) + 1


def _lower_bound(lost: int, won: int, size: int, alpha: float) -> float:
    low, high, limit = -1.0, (won - lost) / size, _quantile(alpha)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if score(lost, won, size, middle) > limit:
            low = middle
        else:
            high = middle
    return low


def score(lost: int, won: int, size: int, difference: float) -> float:
    """How many standard deviations (won - lost) lies above what `difference` expects, by Tango's score test."""
    expected = size * difference
    middle = won + lost - (2 * size - won + lost) * difference
    root = math.sqrt(middle**2 + 8 * size * lost * difference * (1 - difference))
    share_lost = max(0.0, (middle + root) / (4 * size), -difference)
    variance = size * max(0.0, 2 * share_lost + difference * (1 - difference))
    above = won - lost - expected
    return above / math.sqrt(variance) if variance else math.copysign(math.inf, above)


def _quantile(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha)
