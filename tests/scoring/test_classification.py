import math
import warnings

import numpy as np
import pytest
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

from tests.scoring.makers import LABELS, class_answers, set_answers
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, LabelError
from tunesmith.scoring.classification import (
    class_table,
    confusion,
    confusion_of,
    label_set_table,
    measure_classes,
    measure_label_sets,
)


def values(measures):
    return {measure.name: measure.value() for measure in measures}


def answers(pairs):
    examples = [Example(str(n), "text", gold) for n, (gold, _) in enumerate(pairs)]
    return examples, [Prediction(str(n), answer, 1.0) for n, (_, answer) in enumerate(pairs)]


def named(average, scores):
    return {f"{average}_{name}": score for name, score in zip(("precision", "recall", "f1"), scores, strict=True)}


def check_table(rows, report):
    """The rows are those of the report, which writes `accuracy` for the "micro avg" of single classes."""
    expected = dict(report)
    if "accuracy" in expected:
        accuracy, support = expected.pop("accuracy"), expected["macro avg"]["support"]
        expected["micro avg"] = {"precision": accuracy, "recall": accuracy, "f1-score": accuracy, "support": support}
    assert {row.label for row in rows} == set(expected)
    for row in rows:
        found = {"precision": row.precision, "recall": row.recall, "f1-score": row.f1, "support": row.support}
        assert found == pytest.approx(expected[row.label]), row.label


@pytest.mark.parametrize("labels", [("no", "yes"), LABELS])
def test_class_measures_equal_those_of_sklearn(labels):
    examples, predictions, _ = class_answers(400, labels)
    gold, found = [e.label for e in examples], [p.label for p in predictions]
    result = values(measure_classes(examples, predictions, labels))
    expected = {"accuracy": metrics.accuracy_score(gold, found), "mcc": metrics.matthews_corrcoef(gold, found)}
    for average in ("macro", "weighted"):
        scores = metrics.precision_recall_fscore_support(gold, found, average=average)[:3]
        expected |= named(average, scores)
    table = np.array([[p.scores[label] for label in labels] for p in predictions])
    scores = table[:, 1] if len(labels) == 2 else table
    expected["roc_auc"] = metrics.roc_auc_score(gold, scores, multi_class="ovr", labels=labels)
    assert result == pytest.approx(expected)


def test_auc_is_the_mean_over_the_classes_that_gold_has():
    examples, predictions, labels = class_answers(200)
    kept = [n for n, example in enumerate(examples) if example.label != "d"]
    examples, predictions = [examples[n] for n in kept], [predictions[n] for n in kept]
    areas = [
        metrics.roc_auc_score([e.label == label for e in examples], [p.scores[label] for p in predictions])
        for label in "abc"
    ]
    assert values(measure_classes(examples, predictions, labels))["roc_auc"] == pytest.approx(np.mean(areas))


def test_auc_of_a_gold_with_one_class_is_nan():
    examples, predictions, labels = class_answers(50, ("no", "yes"))
    kept = [n for n, example in enumerate(examples) if example.label == "no"]
    result = measure_classes([examples[n] for n in kept], [predictions[n] for n in kept], labels)
    assert math.isnan(values(result)["roc_auc"])


def test_auc_is_left_out_where_a_score_is_missing():
    examples, predictions, labels = class_answers(20)
    predictions[3] = Prediction("3", "a", 1.0)
    assert "roc_auc" not in values(measure_classes(examples, predictions, labels))


def test_an_auc_with_a_score_that_is_not_a_number_is_nan():
    examples, predictions, labels = class_answers(20, ("no", "yes"))
    predictions[3] = Prediction("3", "no", 1.0, {"no": math.nan, "yes": math.nan})
    assert math.isnan(values(measure_classes(examples, predictions, labels))["roc_auc"])


def test_the_class_table_equals_the_report_of_sklearn():
    examples, predictions, labels = class_answers(300)
    gold, found = [e.label for e in examples], [p.label for p in predictions]
    rows = class_table(examples, predictions, labels)
    assert [row.label for row in rows] == [*labels, "micro avg", "macro avg", "weighted avg"]
    check_table(rows, metrics.classification_report(gold, found, output_dict=True))


def test_a_class_that_never_occurs_counts_in_no_average_and_has_no_row():
    examples, predictions = answers([("a", "a"), ("b", "a")])
    assert [row.label for row in class_table(examples, predictions, ["c", "b", "a"])][:2] == ["b", "a"]
    assert values(measure_classes(examples, predictions, ["a", "b", "c"]))["macro_recall"] == pytest.approx(0.5)


def test_a_class_that_is_never_answered_has_precision_0():
    examples, predictions = answers([("a", "a"), ("b", "a")])
    rows = class_table(examples, predictions, ["a", "b"])
    assert (rows[1].precision, rows[1].recall, rows[1].f1, rows[1].support) == (0.0, 0.0, 0.0, 1)


def test_a_gold_label_that_the_model_does_not_know_is_a_class_of_its_own():
    examples, predictions = answers([("a", "a"), ("new", "a")])
    assert values(measure_classes(examples, predictions, ["a", "b"]))["accuracy"] == 0.5
    result = confusion_of(examples, predictions, ["a", "b"])
    assert result.labels == ("a", "b", "new")
    assert result.counts.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]
    with pytest.raises(LabelError, match="Unknown label 'new'"):
        confusion(examples, predictions, ["a", "b"])


def test_confusion_equals_that_of_sklearn():
    examples, predictions, labels = class_answers(200)
    expected = metrics.confusion_matrix([e.label for e in examples], [p.label for p in predictions], labels=labels)
    np.testing.assert_array_equal(confusion(examples, predictions, labels), expected)


def test_label_set_measures_and_table_equal_those_of_sklearn():
    examples, predictions, labels = set_answers(300, empty=False)
    binary = MultiLabelBinarizer(classes=labels).fit([labels])
    gold, found = binary.transform([e.label for e in examples]), binary.transform([p.label for p in predictions])
    expected = {
        "exact_match": metrics.accuracy_score(gold, found),
        "hamming_accuracy": 1 - metrics.hamming_loss(gold, found),
    }
    for average in ("micro", "macro", "weighted", "samples"):
        scores = metrics.precision_recall_fscore_support(gold, found, average=average, zero_division=0)[:3]
        expected |= named(average, scores)
    assert values(measure_label_sets(examples, predictions, labels)) == pytest.approx(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = metrics.classification_report(gold, found, target_names=labels, output_dict=True)
    check_table(label_set_table(examples, predictions, labels), report)


def test_an_empty_answer_to_an_example_without_labels_is_right():
    examples, predictions = answers([((), ())])
    result = values(measure_label_sets(examples, predictions, ["a"]))
    assert result["exact_match"] == result["samples_f1"] == result["hamming_accuracy"] == 1.0
    assert math.isnan(result["micro_f1"])


def test_predictions_of_other_examples_are_refused():
    examples, predictions, labels = class_answers(3)
    with pytest.raises(DataError, match="3 examples but 2 predictions"):
        measure_classes(examples, predictions[:2], labels)
    with pytest.raises(DataError, match="Prediction 1 is of example '2'"):
        measure_classes(examples, predictions[::-1], labels)


@pytest.mark.parametrize("label", [None, 3.0, ("a",)])
def test_an_example_without_a_class_is_refused_with_its_place(label):
    with pytest.raises(LabelError) as caught:
        measure_classes([Example("x", "text", label, origin="test.csv:7")], [Prediction("x", "a", 1.0)], ["a"])
    assert caught.value.where == "test.csv:7"
    assert caught.value.to_do
