import base64
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.scoring.makers import LABELS, class_answers, number_answers, set_answers, span_answers
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError, LabelError
from tunesmith.evaluation import figures
from tunesmith.evaluation.calibration import reliability
from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.report import (
    WORST,
    Cost,
    HistoryPoint,
    RunReport,
    badness,
    evaluate_split,
    metrics_json,
    units_of,
)
from tunesmith.evaluation.results import prediction_row, write_predictions
from tunesmith.scoring.tables import Confusion
from tunesmith.tasks import SequenceClassification, Task, TokenClassification

TASKS: dict[str, tuple[Task, Any]] = {
    "class": (SequenceClassification(labels=LABELS), class_answers),
    "set": (SequenceClassification(problem="multi_label", labels=LABELS), set_answers),
    "number": (SequenceClassification(problem="regression", scale=2.0), number_answers),
    "spans": (TokenClassification(labels=LABELS), span_answers),
}


def answers_of(kind, size=60):
    """A task with examples and answers; each predicted span is given a probability."""
    task, make = TASKS[kind]
    examples, predictions, _ = make(size)
    if kind == "spans":
        predictions = [
            replace(one, span_scores=tuple((3 + n) / 14 for n in range(len(one.label)))) for one in predictions
        ]
    return task, examples, predictions


def evaluate(task, examples, predictions, *, seed=0):
    return evaluate_split("test", task, examples, predictions, seed=seed, resamples=100)


@pytest.mark.parametrize("kind", TASKS)
def test_each_metric_has_its_value_and_an_interval_around_it(kind):
    task, examples, predictions = answers_of(kind)
    report = evaluate(task, examples, predictions)
    measured = {measure.name: measure.value() for measure in task.measures(examples, predictions)}
    assert task.metric in measured
    found = {name: one for name, one in report.metrics.items() if name != "ece"}  # tested with the calibration
    assert {name: one.value for name, one in found.items()} == measured
    assert all(one.low < one.value < one.high for one in found.values())
    assert (report.name, report.size) == ("test", 60)


def test_a_seed_decides_all_intervals_of_a_split():
    first, again, other = (evaluate(*answers_of("class"), seed=seed) for seed in (1, 1, 2))
    assert (first.metrics, first.slices) == (again.metrics, again.slices)
    assert first.metrics != other.metrics
    assert first.slices != other.slices


@pytest.mark.parametrize("kind", ["class", "set", "spans"])
def test_the_calibration_error_is_a_metric_and_agrees_with_its_bins(kind):
    report = evaluate(*answers_of(kind))
    assert report.calibration is not None
    assert report.metrics["ece"].value == pytest.approx(report.calibration.ece)
    assert report.metrics["ece"].low < report.metrics["ece"].high


def test_numbers_have_no_calibration_and_no_confusion():
    report = evaluate(*answers_of("number"))
    assert report.calibration is None
    assert "ece" not in report.metrics
    assert (report.confusion, report.tables) == (None, ())


def test_an_answer_without_confidence_does_not_change_the_calibration():
    task, examples, predictions = answers_of("class")
    unsure = replace(predictions[0], id="new", confidence=math.nan)
    more = evaluate(task, [*examples, replace(examples[0], id="new")], [*predictions, unsure])
    assert more.metrics["ece"].value == pytest.approx(evaluate(task, examples, predictions).metrics["ece"].value)


def test_the_confusion_counts_gold_by_row_and_answers_by_column():
    examples = [Example(str(n), "text", gold) for n, gold in enumerate("aab")]
    predictions = [Prediction(str(n), answer, 0.5) for n, answer in enumerate("abb")]
    matrix = evaluate(SequenceClassification(labels=("a", "b")), examples, predictions).confusion
    assert matrix is not None
    assert matrix.labels == ("a", "b")
    assert matrix.counts.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("kind", TASKS)
def test_the_mistakes_are_the_wrong_answers_worst_first(kind):
    task, examples, predictions = answers_of(kind)
    pairs = [(e, p) for e, p in zip(examples, predictions, strict=True) if not task.is_correct(e, p)]
    bad = {example.id: badness(example.label, prediction) for example, prediction in pairs}
    report = evaluate(task, examples, predictions)
    assert 0 < report.wrong == len(bad) < 60
    assert {one.id: one.badness for one in report.mistakes} == bad
    assert [one.badness for one in report.mistakes] == sorted(bad.values(), reverse=True)
    shown, wrong = report.mistakes[0], {example.id: (example, prediction) for example, prediction in pairs}
    example, prediction = wrong[shown.id]
    assert (shown.text, shown.gold) == (example.text, example.label)
    assert shown.answer == prediction.label
    assert shown.confidence == pytest.approx(prediction.confidence, nan_ok=True)


def test_of_many_mistakes_the_fifty_surest_are_shown():
    sure = [0.5 + number * 37 % 80 / 200 for number in range(80)]
    examples = [Example(str(n), "text", "a") for n in range(80)]
    predictions = [Prediction(str(n), "b", p, {"a": 1 - p, "b": p}) for n, p in enumerate(sure)]
    report = evaluate(SequenceClassification(labels=("a", "b")), examples, predictions)
    assert (report.wrong, WORST) == (80, 50)
    assert [one.confidence for one in report.mistakes] == sorted(sure, reverse=True)[:50]


def test_without_a_wrong_answer_there_is_no_mistake():
    examples = [Example("1", "text", "a"), Example("2", "text", "b")]
    predictions = [Prediction(example.id, str(example.label), 1.0) for example in examples]
    report = evaluate(SequenceClassification(labels=("a", "b")), examples, predictions)
    assert (report.wrong, report.mistakes) == (0, ())


PER, LOC, ORG = Span(0, 4, "PER"), Span(13, 17, "LOC"), Span(5, 8, "ORG")


@pytest.mark.parametrize(
    ("gold", "answer", "scores", "expected"),
    [
        ("a", "b", {"a": 0.1, "b": 0.9}, 0.9),
        ("a", "b", {"a": 0.4, "b": 0.6}, 0.6),
        ("new", "b", {"a": 0.1, "b": 0.9}, 1.0),
        ("a", "b", {}, 1.0),
        (("a", "b"), ("a", "c"), {"a": 0.9, "b": 0.2, "c": 0.7, "d": 0.1}, 0.1 + 0.8 + 0.7 + 0.1),
        ((), ("a",), {"a": 0.9, "b": 0.2}, 0.9 + 0.2),
        (("a",), ("a", "b"), {}, 1.0),
        (("a", "c"), ("a", "b"), {}, 2.0),
        ((PER,), (PER, LOC, ORG), (), 2.0),
        (2.0, 5.5, {}, 3.5),
        (5.5, 2.0, {}, 3.5),
        ((PER, LOC), (PER, ORG), (0.9, 0.7), 1 + 0.7),
        ((PER, LOC), (), (), 2.0),
        ((), (PER, ORG), (0.9, 0.7), 0.9 + 0.7),
    ],
)
def test_badness_is_probability_on_the_wrong_side_or_distance(gold, answer, scores, expected):
    given = {"scores": scores} if isinstance(scores, dict) else {"span_scores": scores}
    assert badness(gold, Prediction("1", answer, 0.5, **given)) == pytest.approx(expected)


def test_words_and_entities_are_counted_for_spans():
    examples = [
        Example("1", "Anna went to Rome.", (PER, LOC)),  # four words and a full stop
        Example("2", "张三在北京", (Span(0, 2, "PER"),)),  # each character is a word
        Example("3", "a b c d", (), words=((0, 3), (4, 7))),
    ]
    assert units_of(TokenClassification(labels=("LOC", "PER")), examples) == {"words": 12, "entities": 3}
    task, answered, predictions = answers_of("spans")
    entities = sum(len(example.label) for example in answered)
    assert evaluate(task, answered, predictions).units == {"words": 600, "entities": entities}


@pytest.mark.parametrize("kind", ["class", "set", "number"])
def test_whole_texts_have_no_further_units(kind):
    assert evaluate(*answers_of(kind)).units == {}


def test_answers_that_do_not_fit_the_examples_are_refused():
    task, examples, predictions = answers_of("class", 6)
    with pytest.raises(DataError, match="6 examples but 5 predictions"):
        evaluate(task, examples, predictions[1:])
    with pytest.raises(DataError, match="is of example"):
        evaluate(task, examples, predictions[::-1])
    with pytest.raises(LabelError, match="without a label"):
        evaluate(task, [replace(examples[0], label=None), *examples[1:]], predictions)


def run_report(*splits):
    cost = Cost(1.0, 2.0, None, 10, 5, 1000, 3.0)
    return RunReport("run", "now", "task", "accuracy", splits, (), (), cost, "", {}, 0, "model", {}, {}, "")


def test_metrics_as_json_are_value_and_interval_by_split_with_null_for_what_is_not_defined():
    known = evaluate(*answers_of("class"))
    one = replace(known, name="validation", metrics={"r2": Estimate(math.nan, math.nan, math.nan)})
    two = replace(known, metrics={"accuracy": Estimate(0.5, 0.0, 1.0), "mcc": Estimate(0.0, math.nan, math.nan)})
    text = json.dumps(metrics_json(run_report(one, two)), allow_nan=False)
    assert json.loads(text) == {
        "validation": {"r2": {"value": None, "low": None, "high": None}},
        "test": {
            "accuracy": {"value": 0.5, "low": 0.0, "high": 1.0},
            "mcc": {"value": 0.0, "low": None, "high": None},
        },
    }


def test_one_example_has_values_and_no_interval():
    report = evaluate(*answers_of("class", 1))
    assert metrics_json(run_report(report))["test"]["accuracy"] == {"value": 1.0, "low": None, "high": None}


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (
            Prediction("1", "好", 0.75, {"好": 0.75, "坏": 0.25}),
            {"id": "1", "label": "好", "confidence": 0.75, "scores": {"好": 0.75, "坏": 0.25}},
        ),
        (Prediction("1", 2.5, math.nan), {"id": "1", "label": 2.5, "confidence": None}),
        (Prediction("1", ("a", "b"), 0.5), {"id": "1", "label": ["a", "b"], "confidence": 0.5}),
        (
            Prediction("1", (PER,), 0.5, span_scores=(0.5,)),
            {"id": "1", "label": [{"start": 0, "end": 4, "label": "PER"}], "confidence": 0.5, "span_scores": [0.5]},
        ),
        (Prediction("1", (), math.nan), {"id": "1", "label": [], "confidence": None}),
    ],
)
def test_a_prediction_becomes_plain_json(prediction, expected):
    assert json.loads(json.dumps(prediction_row(prediction), allow_nan=False)) == expected


def test_predictions_are_written_one_line_per_example(tmp_path):
    path = tmp_path / "predictions.jsonl"
    examples = [Example("1", '张三 said:\n\t"hi"', (Span(0, 2, "人"),)), Example("2", "no one")]
    predictions = [Prediction("1", (), math.nan), Prediction("2", (Span(0, 2, "人"),), 0.5, span_scores=(0.5,))]
    write_predictions(path, "test", examples, predictions, append=False)
    text = path.read_text(encoding="utf-8")
    span = {"start": 0, "end": 2, "label": "人"}
    assert [json.loads(line) for line in text.splitlines()] == [
        {"split": "test", "text": examples[0].text, "gold": [span], "id": "1", "label": [], "confidence": None},
        {
            "split": "test",
            "text": "no one",
            "gold": None,
            "id": "2",
            "label": [span],
            "confidence": 0.5,
            "span_scores": [0.5],
        },
    ]
    assert text.endswith("\n")
    assert "张三 said" in text
    assert "\\u" not in text
    assert "NaN" not in text


def test_predictions_are_added_to_a_file_or_replace_it(tmp_path):
    path = tmp_path / "predictions.jsonl"
    for split, append in (("old", False), ("validation", False), ("test", True)):
        write_predictions(path, split, [Example("1", "text", "a")], [Prediction("1", "a", 1.0)], append=append)
    splits = [json.loads(line)["split"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert splits == ["validation", "test"]


@pytest.mark.parametrize("size", [0, 1, 49, 50, 99, 100, 500])
def test_a_running_mean_averages_a_fiftieth_of_the_curve(size):
    values = np.random.default_rng(size).normal(size=size)
    width = max(1, size // 50)
    expected = [values[max(0, end - width) : end].mean() for end in range(1, size + 1)]
    assert figures.running_mean(list(values)) == pytest.approx(expected)


def drawn(fragment):
    """The traces of a figure, with arrays unpacked."""

    def plain(value):
        if not (isinstance(value, dict) and "bdata" in value):
            return value
        flat = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
        return flat.reshape([int(one) for one in value.get("shape", "-1").split(",")]).tolist()

    traces, _ = json.JSONDecoder().raw_decode(fragment, fragment.index("[{", fragment.index("newPlot")))
    return [{key: plain(value) for key, value in trace.items()} for trace in traces]


def test_a_long_curve_is_thinned_but_keeps_every_validation():
    points = [HistoryPoint(n, n / 9, 1 / (n + 1), 1e-3, 0.5 if n % 7 == 6 else None) for n in range(5000)]
    raw, smooth, measured = drawn(figures.learning_curve(points, "F1"))
    assert raw["x"] == smooth["x"] == [point.step for point in points[::5]]
    assert raw["y"] == [point.loss for point in points[::5]]
    assert smooth["y"] == pytest.approx(figures.running_mean([point.loss for point in points])[::5])
    assert (measured["name"], len(measured["x"])) == ("validation F1", 5000 // 7)


def test_a_matrix_is_coloured_by_the_share_of_each_gold_class():
    (trace,) = drawn(figures.confusion(Confusion(("a", "b"), np.array([[3, 1], [0, 0]]))))
    assert (trace["z"], trace["text"]) == ([[0.75, 0.25], [0.0, 0.0]], [[3, 1], [0, 0]])
    assert trace["x"] == trace["y"] == ["a", "b"]


def test_bins_without_answers_are_no_points_of_the_reliability_curve():
    _, model, counts = drawn(figures.reliability(reliability([0.9, 0.7, 0.3], [True, False, False], bins=4)))
    assert (model["x"], model["y"]) == (pytest.approx([0.3, 0.7, 0.9]), [0.0, 0.0, 1.0])
    assert (counts["x"], counts["y"]) == ([0.125, 0.375, 0.625, 0.875], [0, 1, 1, 1])


@pytest.mark.parametrize("none", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_no_word_for_are_null(none):
    row = prediction_row(Prediction("1", none, none, {"a": none}, (none,)))
    assert row == {"id": "1", "label": None, "confidence": None, "scores": {"a": None}, "span_scores": [None]}


def test_answers_without_confidence_are_counted_in_the_calibration():
    task, examples, predictions = answers_of("class")
    predictions[0] = replace(predictions[0], confidence=math.nan)
    assert evaluate(task, examples, predictions).calibration.left_out == 1
