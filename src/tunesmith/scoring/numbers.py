"""Metrics of predicted numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, RankMeasure, SummedMeasure, divide, mean_measure
from tunesmith.scoring.answers import check_pairs, number_of
from tunesmith.scoring.ranks import dense_ranks, spearman


def measure_numbers(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
    """Spearman's and Pearson's correlation, mean absolute error, root mean squared error, and R2.

    A correlation with a constant is nan, and so is R2 when gold is constant.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a number.
    """
    check_pairs(examples, predictions)
    gold = np.array([number_of(example) for example in examples], dtype=np.float64)
    answers = np.array([number_of(prediction) for prediction in predictions], dtype=np.float64)
    ranks = np.column_stack([dense_ranks(gold), dense_ranks(answers)])
    error = answers - gold
    # Centred and scaled first: sums of squares of numbers far from zero would lose their digits.
    one, other, rest = _standard(gold), _standard(answers), np.ones(len(gold))
    sums = np.column_stack([rest, one, other, one**2, other**2, one * other])
    spread = np.column_stack([rest, gold - gold.mean() if len(gold) else gold, error**2])
    spread = np.column_stack([spread, spread[:, 1] ** 2])
    return [
        RankMeasure("spearman", ranks, spearman),
        SummedMeasure("pearson", sums, _pearson),
        mean_measure("mae", np.abs(error), higher_is_better=False),
        SummedMeasure("rmse", spread, lambda sums: np.sqrt(divide(sums[:, 2], sums[:, 0])), higher_is_better=False),
        SummedMeasure("r2", spread, _r2),
    ]


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) == 0 or np.all(values == values[0]):
        return np.zeros(len(values))
    return np.asarray((values - values.mean()) / values.std())


def _pearson(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    size, one, other, square, other_square, product = sums.T
    spread = _deviation(size, one, square) * _deviation(size, other, other_square)
    return np.clip(divide(product * size - one * other, np.sqrt(spread)), -1, 1)


def _r2(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    size, gold, error, square = sums.T
    return 1 - divide(error * size, _deviation(size, gold, square))


def _deviation(
    size: NDArray[np.float64], total: NDArray[np.float64], square: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Size squared times the variance; what rounding leaves of a constant is set to 0."""
    spread = square * size - total**2
    return np.where(spread > 1e-12 * square * size, spread, 0.0)
