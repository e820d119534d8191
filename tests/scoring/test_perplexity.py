"""Perplexity and preferences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith.data.records import Prediction
from tunesmith.scoring.perplexity import measure_perplexity, measure_preferences

JUDGED = [
    Prediction("a", "", math.nan, log_likelihood=-4.0, label_tokens=2, rejected_log_likelihood=-6.0),
    Prediction("b", "", math.nan, log_likelihood=-1.0, label_tokens=3, rejected_log_likelihood=-0.5),
]


def test_perplexity_weighs_tokens_not_examples() -> None:
    measure = measure_perplexity(JUDGED)
    assert measure.value() == pytest.approx(math.exp(5 / 5))
    assert not measure.higher_is_better
    resampled = measure.resampled(np.array([[0, 0], [1, 1]]))
    np.testing.assert_allclose(resampled, [math.exp(2), math.exp(1 / 3)])


def test_perplexity_of_nothing_is_no_number() -> None:
    assert math.isnan(measure_perplexity([Prediction("a", "x", 0.5)]).value())


def test_preferences_have_an_accuracy_and_a_margin() -> None:
    values = {measure.name: measure.value() for measure in measure_preferences(JUDGED)}
    assert values == {"preference_accuracy": 0.5, "margin": pytest.approx((2 - 0.5) / 2)}
