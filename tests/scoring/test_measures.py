"""The contract of measures: resampling gives what the metric of the resampled examples would be."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from tests.scoring.makers import class_answers, number_answers, set_answers, span_answers
from tunesmith import scoring
from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import RankMeasure, SummedMeasure, mean_measure
from tunesmith.scoring.classification import measure_classes, measure_label_sets
from tunesmith.scoring.entities import measure_entities
from tunesmith.scoring.numbers import measure_numbers

FAMILIES = {
    "classes": (measure_classes, class_answers),
    "two classes": (measure_classes, lambda size: class_answers(size, labels=("no", "yes"))),
    "label sets": (measure_label_sets, set_answers),
    "spans": (measure_entities, span_answers),
    "numbers": (lambda examples, predictions, _: measure_numbers(examples, predictions), number_answers),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_resample_scores_as_if_it_were_the_whole(family):
    measure, make = FAMILIES[family]
    examples, predictions, labels = make(30)
    indices = np.random.default_rng(1).integers(30, size=(4, 30))
    resampled = [one.resampled(indices) for one in measure(examples, predictions, labels)]
    for row, drawn in enumerate(indices):
        again = measure([examples[i] for i in drawn], [predictions[i] for i in drawn], labels)
        assert [values[row] for values in resampled] == pytest.approx([one.value() for one in again], nan_ok=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_measure_knows_its_size_and_has_a_name_of_its_own(family):
    measure, make = FAMILIES[family]
    measures = measure(*make(12))
    assert {one.size for one in measures} == {12}
    assert len({one.name for one in measures}) == len(measures)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_examples_every_measure_is_nan(family):
    measure, make = FAMILIES[family]
    assert all(np.isnan(one.value()) for one in measure([], [], make(5)[2]))


def test_only_errors_are_better_when_low():
    measures = measure_numbers(*number_answers(10)[:2])
    assert [one.name for one in measures if not one.higher_is_better] == ["mae", "rmse"]


def test_blocks_do_not_change_resampled_values(monkeypatch):
    measure = mean_measure("x", np.arange(10.0))
    indices = np.random.default_rng(2).integers(10, size=(25, 10))
    whole = measure.resampled(indices)
    monkeypatch.setattr(scoring, "_CELLS", 30)
    assert scoring.rows_at_once(10) == 3
    np.testing.assert_array_equal(measure.resampled(indices), whole)


def test_dense_and_sparse_statistics_agree():
    statistics = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    indices = np.array([[0, 0, 2], [1, 2, 1]])
    dense = SummedMeasure("x", statistics, lambda sums: sums[:, 0] - sums[:, 1])
    sparse = SummedMeasure("x", csr_array(statistics), dense.finish)
    np.testing.assert_array_equal(dense.resampled(indices), [5.0, -1.0])
    np.testing.assert_array_equal(sparse.resampled(indices), [5.0, -1.0])
    assert dense.value() == sparse.value() == 2.0


def test_rank_measures_see_the_resampled_rows():
    measure = RankMeasure("largest", np.array([[1.0], [5.0], [3.0]]), lambda rows: float(rows.max()))
    assert measure.value() == 5.0
    assert measure.resampled(np.array([[0, 2, 2], [1, 0, 0]])).tolist() == [3.0, 5.0]


def test_an_average_over_classes_runs_over_those_in_the_resample():
    examples = [Example("a", "", "x"), Example("b", "", "y")]
    macro = measure_classes(examples, [Prediction("a", "x", 1.0), Prediction("b", "x", 1.0)], ["x", "y"])[3]
    assert macro.name == "macro_f1"
    assert macro.value() == pytest.approx((2 / 3 + 0) / 2)
    assert macro.resampled(np.array([[0, 0]])).tolist() == [1.0]
