"""The temperature that makes probabilities honest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from tunesmith.errors import TrainingError

LOWEST, HIGHEST = 0.05, 20.0
"""Limits of a temperature: beyond them all probabilities are 0, 1 or equal."""

SPREAD = 1.0
"""The standard deviation of log temperatures that is expected before any example is seen; see `fit_temperature`."""
_SURE = 1e-6


def fit_temperature(logits: NDArray[np.float64], gold: NDArray[np.int64]) -> float:
    """The temperature whose scaled logits give gold the least negative log-likelihood (Guo et al. 2017, sec. 4.2).

    `logits` is [N, C]. `gold` [N] holds class numbers (softmax), or `gold` [N, C] holds 0 or 1 for each logit (sigmoid:
    binary with C = 1, and multi-label). Without rows, or where no other temperature is better, it is 1.

    A few examples that are all right would ask for a temperature of 0, and so for confidences of 1. To the likelihood
    of all of gold a normal prior of log T is added therefore, with mean 0 and deviation `SPREAD`: it decides where
    there are a handful of examples, and has no weight beside some hundred.

    Raises:
        TrainingError: a logit is not a finite number.
    """
    if len(logits) == 0:
        return 1.0
    if not np.isfinite(logits).all():
        raise TrainingError(
            "The model gives scores that are not finite numbers, so no temperature can be fitted.",
            where="the validation examples",
            to_do="Lower the learning rate, or train in a higher precision.",
        )
    temperature = _likeliest(lambda temperature: gold.size * negative_log_likelihood(logits, gold, temperature))
    before = negative_log_likelihood(logits, gold, 1.0)
    return temperature if negative_log_likelihood(logits, gold, temperature) < before else 1.0


def is_limit(temperature: float) -> bool:
    """Whether a fitted temperature is one of the limits, at which the search ended for no other reason."""
    return not 1.01 * LOWEST < temperature < HIGHEST / 1.01


def negative_log_likelihood(logits: NDArray[np.float64], gold: NDArray[np.int64], temperature: float = 1.0) -> float:
    """The mean negative log-likelihood of gold at a temperature; shapes as in `fit_temperature`."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if gold.ndim == 2:
        return float(np.mean(np.logaddexp(0.0, scaled) - gold * scaled))
    return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(gold)), gold]))


def fit_confidence(scores: Sequence[Sequence[float]], right: Sequence[bool]) -> float:
    """The temperature at which the softmax of an example's `scores` says best whether its first one is right.

    For answers out of lists that differ in length and may lack the right one: what is fitted is the likelihood of
    `right` under the probability of the first score, the one that is given as the answer, beside the prior of
    `fit_temperature`. Without rows, or where no other temperature is better, it is 1.
    """
    if not len(scores):
        return 1.0
    width = max(len(row) for row in scores)
    table = np.array([[*row, *[-np.inf] * (width - len(row))] for row in scores], dtype=np.float64)
    is_right = np.array(right, dtype=bool)

    def surprise(temperature: float) -> float:
        scaled = table / temperature
        chance = np.exp(scaled[:, 0] - logsumexp(scaled, axis=1)).clip(_SURE, 1 - _SURE)
        return float(-np.mean(np.where(is_right, np.log(chance), np.log1p(-chance))))

    temperature = _likeliest(lambda temperature: len(table) * surprise(temperature))
    return temperature if surprise(temperature) < surprise(1.0) else 1.0


def _likeliest(surprise: Callable[[float], float]) -> float:
    """The temperature with the least sum of `surprise`, over all examples, and the prior's -log p(log T)."""
    found = minimize_scalar(
        lambda log: surprise(math.exp(log)) + (log / SPREAD) ** 2 / 2,
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return min(max(math.exp(float(found.x)), LOWEST), HIGHEST)
