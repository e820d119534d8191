import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from tests.scoring.makers import number_answers
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import LabelError
from tunesmith.scoring.numbers import measure_numbers


def measured(gold, found):
    examples = [Example(str(n), "text", value) for n, value in enumerate(gold)]
    predictions = [Prediction(str(n), value, math.nan) for n, value in enumerate(found)]
    return {measure.name: measure.value() for measure in measure_numbers(examples, predictions)}


def test_number_measures_equal_those_of_scipy_and_sklearn():
    examples, predictions, _ = number_answers(200)
    gold, found = [e.label for e in examples], [p.label for p in predictions]
    assert measured(gold, found) == pytest.approx(
        {
            "spearman": stats.spearmanr(gold, found).statistic,
            "pearson": stats.pearsonr(gold, found).statistic,
            "mae": metrics.mean_absolute_error(gold, found),
            "rmse": metrics.root_mean_squared_error(gold, found),
            "r2": metrics.r2_score(gold, found),
        }
    )


def test_numbers_far_from_zero_keep_their_digits():
    gold = 1e9 + np.arange(50.0)
    found = gold + np.sin(gold)
    result = measured(gold.tolist(), found.tolist())
    assert result["pearson"] == pytest.approx(stats.pearsonr(gold, found).statistic, rel=1e-9)
    assert result["r2"] == pytest.approx(metrics.r2_score(gold, found), rel=1e-9)


def test_a_correlation_with_a_constant_is_nan():
    result = measured([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
    assert math.isnan(result["spearman"])
    assert math.isnan(result["pearson"])
    assert result["mae"] == pytest.approx(1.9)


def test_r2_of_a_constant_gold_is_nan():
    assert math.isnan(measured([0.3, 0.3, 0.3], [1.0, 2.0, 3.0])["r2"])


def test_an_answer_that_is_not_a_number_makes_every_measure_nan():
    assert all(math.isnan(value) for value in measured([1.0, 2.0, 3.0], [1.0, math.nan, 3.0]).values())


def test_a_class_is_no_number():
    with pytest.raises(LabelError, match="not a number"):
        measured(["good"], [1.0])
