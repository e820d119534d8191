"""Limits with a guarantee, of false alarms and of risk; and how well a score tells two sets apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, rankdata

from tunesmith.errors import RecipeError


def alarm_limit(scores: Sequence[float], rate: float) -> float:
    """The limit that a further score of the same kind exceeds with a probability of at most `rate`.

    With n scores it is the one of rank ceil((n + 1)(1 - rate)): the bound holds for every n and every distribution, on
    average over what was drawn (Vovk et al. 2005, split conformal prediction).

    Raises:
        RecipeError: there are fewer than 1 / rate - 1 scores.
    """
    rank = math.ceil((len(scores) + 1) * (1 - rate) - 1e-9)
    if not 0 < rate < 1 or rank > len(scores):
        raise RecipeError(
            f"{len(scores)} examples cannot show a false alarm rate of {rate:g}.",
            where="alarm_rate",
            to_do=f"Give {max(1, math.ceil(1 / rate - 1)) if 0 < rate < 1 else 'more'} examples or more.",
        )
    return float(np.sort(np.asarray(scores, dtype=np.float64))[rank - 1])


def highest_share(hits: int, size: int, doubt: float) -> float:
    """What a share is below but for the probability `doubt`, exactly (Clopper and Pearson 1934)."""
    return 1.0 if hits >= size else float(beta.ppf(1 - doubt, hits + 1, size - hits))


@dataclass(frozen=True, slots=True)
class Floor:
    """The confidence from which on answers are given, and what holds there.

    Attributes:
        least: the lowest confidence that is answered.
        coverage: the share of the examples that is.
        risk: the share of wrong answers among these.
        bound: what that risk is below, with probability 1 - `doubt`.
    """

    least: float
    coverage: float
    risk: float
    bound: float


def risk_floor(confidences: ArrayLike, is_wrong: ArrayLike, risk: float, doubt: float) -> Floor:
    """The lowest floor whose risk is below `risk` with probability 1 - `doubt`.

    Selection with guaranteed risk (Geifman and El-Yaniv 2017, algorithm 1): a binary search over the confidences with
    ceil(log2 n) looks, each with the exact binomial bound at doubt / looks, so that all of them hold together. Equal
    confidences are answered together.

    Raises:
        RecipeError: no floor keeps that risk.
    """
    sure, wrong = np.asarray(confidences, dtype=np.float64), np.asarray(is_wrong, dtype=bool)
    order = np.argsort(sure, kind="stable")
    sure, wrong = sure[order], wrong[order]
    size = len(sure)
    looks = max(1, math.ceil(math.log2(size))) if size else 1
    low, high = 0, size - 1
    best: Floor | None = None
    lowest = 1.0
    for _ in range(looks if size else 0):
        middle = math.ceil((low + high) / 2)
        start = int(np.searchsorted(sure, sure[middle], side="left"))
        answered, errors = size - start, int(wrong[start:].sum())
        bound = highest_share(errors, answered, doubt / looks)
        lowest = min(lowest, bound)
        if bound < risk:
            found = Floor(float(sure[start]), answered / size, errors / answered, bound)
            best = found if best is None or found.coverage > best.coverage else best
            high = middle
        else:
            low = middle
    if best is None:
        raise RecipeError(
            f"No confidence keeps the risk below {risk:g} with certainty {1 - doubt:g}: on {size} examples the lowest "
            f"bound is {lowest:.3f}.",
            where="risk",
            to_do="Ask for less, give more labelled examples, or train a better model.",
        )
    return best


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """The probability that a score from outside is above one from inside, ties half (Mann and Whitney 1947)."""
    low, high = np.asarray(inside, dtype=np.float64), np.asarray(outside, dtype=np.float64)
    ranks: NDArray[np.float64] = rankdata(np.concatenate([low, high]))
    return float((ranks[len(low) :].sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high)))


def fpr_at(inside: ArrayLike, outside: ArrayLike, recall: float = 0.95) -> float:
    """The share of the inside that is above the limit which `recall` of the outside exceeds (FPR95)."""
    high = np.sort(np.asarray(outside, dtype=np.float64))
    limit = high[len(high) - math.ceil(recall * len(high))]
    return float((np.asarray(inside, dtype=np.float64) >= limit).mean())
