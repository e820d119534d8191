import math
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.scoring.makers import LABELS, class_answers, number_answers, set_answers, span_answers
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.evaluation.intervals import estimate
from tunesmith.evaluation.slices import MOST, SMALLEST, length_names, slices_of
from tunesmith.tasks import SequenceClassification, Task, TokenClassification

CLASS = SequenceClassification(labels=LABELS)
TASKS: dict[str, tuple[Task, Any]] = {
    "class": (CLASS, class_answers),
    "set": (SequenceClassification(problem="multi_label", labels=LABELS), set_answers),
    "number": (SequenceClassification(problem="regression"), number_answers),
    "spans": (TokenClassification(labels=LABELS), span_answers),
}


def answers_of(kind, size=60):
    """A task with answers to texts of many lengths, from two files, with a channel each."""
    task, make = TASKS[kind]
    examples, predictions, _ = make(size)
    examples = [
        replace(
            example,
            text=example.text + "." * (7 * n % 40),
            origin=f"C:/{'ab'[n % 3 == 0]}.csv:{n}",
            attributes={"channel": ("mail", "chat", "phone")[n % 3]},
        )
        for n, example in enumerate(examples)
    ]
    return task, examples, predictions


def cut(task, examples, predictions, resamples=50):
    return slices_of(task, examples, predictions, seed=3, resamples=resamples)


def sliced(examples, resamples=10):
    """The slices of examples with one class each, all answered "a", as {(kind, value): size}."""
    predictions = [Prediction(example.id, "a", 0.5) for example in examples]
    return {(one.kind, one.value): one.size for one in cut(CLASS, examples, predictions, resamples)}


def texts(count, **same):
    return [Example(str(n), "text", **{"label": "a", **same}) for n in range(count)]


def numbered(*groups):
    """Examples joined, with ids of their own."""
    return [replace(example, id=str(n)) for n, example in enumerate(one for group in groups for one in group)]


def belongs(example, kind, value):
    """Whether an example is in a slice, by the words on the slice."""
    if kind == "length":
        low, high = [*map(int, re.findall(r"\d+", value)), math.inf][:2]
        return low <= len(example.text) <= high
    if kind == "label":
        names = [item.label if isinstance(item, Span) else item for item in example.label]
        return value in (names if isinstance(example.label, tuple) else [example.label])
    return value == (example.origin.rsplit(":", 1)[0] if kind == "file" else example.attributes[kind])


@pytest.mark.parametrize("kind", TASKS)
def test_a_slice_has_the_size_and_result_of_its_examples_measured_alone(kind):
    task, examples, predictions = answers_of(kind)
    found = cut(task, examples, predictions)
    for one in found:
        inside = [belongs(example, one.kind, one.value) for example in examples]
        mine = [example for example, here in zip(examples, inside, strict=True) if here]
        answers = [prediction for prediction, here in zip(predictions, inside, strict=True) if here]
        alone = next(measure for measure in task.measures(mine, answers) if measure.name == task.metric)
        assert one.size == len(mine) < 60
        assert one.result == estimate([alone], seed=3, resamples=50)[task.metric]
        assert one.result.low <= one.result.value <= one.result.high
    labels = [] if kind == "number" else [("label", label) for label in LABELS]
    assert [(one.kind, one.value) for one in found if one.kind == "label"] == labels
    assert [one.value for one in found if one.kind == "file"] == ["C:/a.csv", "C:/b.csv"]
    assert [one.value for one in found if one.kind == "channel"] == ["chat", "mail", "phone"]
    assert len([one for one in found if one.kind == "length"]) == 4


def test_kinds_of_slice_stand_together_and_their_values_in_order():
    found = [(one.kind, one.value) for one in cut(*answers_of("class"))]
    assert list(dict.fromkeys(kind for kind, _ in found)) == ["length", "label", "file", "channel"]
    assert all(
        [value for one, value in found if one == kind] == sorted(value for one, value in found if one == kind)
        for kind in ("length", "label", "file", "channel")
    )


def test_slices_by_length_hold_each_text_once_and_about_a_quarter_each():
    found = [one for one in cut(*answers_of("class", 80)) if one.kind == "length"]
    assert sum(one.size for one in found) == 80
    assert all(one.size == pytest.approx(20, abs=3) for one in found)


def test_names_of_lengths_meet_without_gap_and_sort_by_size_as_text():
    names = length_names([9, 80, 1200])
    assert [re.findall(r"\d+", name) for name in names] == [["1", "9"], ["10", "80"], ["81", "1200"], ["1201"]]
    assert names == sorted(names)


def test_a_slice_needs_five_examples():
    groups = [texts(size, label=label) for label, size in (("a", SMALLEST), ("b", SMALLEST - 1), ("c", 9))]
    assert SMALLEST == 5
    assert sliced(numbered(*groups)) == {("label", "a"): 5, ("label", "c"): 9}


def test_of_many_values_the_twelve_largest_are_shown():
    groups = [texts(5 + n % 4, label="abcdefghijklmnop"[n]) for n in range(16)]
    found = sliced(numbered(*groups))
    assert (len(found), MOST) == (12, 12)
    assert sorted(found.values()) == [6] * 4 + [7] * 4 + [8] * 4


def test_what_all_examples_share_is_no_slice():
    assert sliced(texts(20, origin="a.csv:1", attributes={"channel": "mail"})) == {}


def test_texts_of_unknown_origin_belong_to_no_file():
    groups = [texts(6), texts(6, origin="a.csv:1"), texts(7, origin="b.csv:1")]
    assert sliced(numbered(*groups)) == {("file", "a.csv"): 6, ("file", "b.csv"): 7}


def test_a_text_is_in_the_slice_of_each_of_its_labels_once():
    twice = (Span(0, 1, "PER"), Span(2, 3, "LOC"), Span(4, 5, "PER"))
    examples = numbered(texts(5, label=twice), texts(5, label=twice[1:2]), texts(5, label=()))
    predictions = [Prediction(example.id, twice[1:], 0.5, span_scores=(0.5, 0.5)) for example in examples]
    found = cut(TokenClassification(labels=("LOC", "PER")), examples, predictions)
    assert [(one.kind, one.value, one.size) for one in found] == [("label", "LOC", 10), ("label", "PER", 5)]


def test_a_slice_whose_metric_is_not_defined_is_kept_without_a_number():
    examples = [Example(str(n), "text", float(n // 10 and n), attributes={"source": "xy"[n // 10]}) for n in range(20)]
    predictions = [Prediction(str(n), float(n), math.nan) for n in range(20)]
    constant, rising = cut(TASKS["number"][0], examples, predictions)
    assert (constant.value, rising.value) == ("x", "y")
    assert math.isnan(constant.result.value)
    assert rising.result.value == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["length", "label", "file"])
def test_a_column_that_is_named_like_a_kind_of_slice_stands_beside_it(name):
    examples = numbered(
        texts(6, attributes={name: "x"}, origin="a.csv:1"),
        [replace(one, text="t" * 99) for one in texts(6, label="b", origin="b.csv:1")],
    )
    found = sliced(examples)
    assert found[f"column {name}", "x"] == 6
    assert found[f"column {name}", "(empty)"] == 6
    assert any(kind == name for kind, _ in found)


def test_no_column_hides_another():
    columns = {"length": "x", "column length": "y", "column column length": "z"}
    examples = numbered(texts(6, attributes=columns), texts(6, attributes=dict.fromkeys(columns, "other")))
    found = [value for _, value in sliced(examples)]
    assert all(value in found for value in columns.values())
