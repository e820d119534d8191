"""Which answers become labels, by thresholds and shares; and the signs of a collapse, by their numbers."""

from __future__ import annotations

import math

import pytest

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.data.unlabelled import SURE, TAUGHT_BY
from tunesmith.semi_supervision import Alarms, SelfTraining
from tunesmith.semi_supervision.pseudo_labels import Judged, balanced, chosen_thresholds, confidence_of


def answered(*pairs: tuple[str, float]) -> list[Prediction]:
    return [Prediction(str(number), label, sure) for number, (label, sure) in enumerate(pairs)]


def texts(count: int) -> list[Example]:
    return [Example(str(number), f"text {number}") for number in range(count)]


def test_a_threshold_is_the_lowest_from_which_answers_are_right_often_enough() -> None:
    good = [("good", sure) for sure in (0.99, 0.95, 0.9, 0.8, 0.8, 0.7, 0.6, 0.5)]
    right = [True, True, True, True, True, True, False, False]
    judged = Judged(texts(8), answered(*good), right)
    # 6 of 7 are right from 0.6 on (0.857), 6 of 8 from 0.5 on (0.75).
    for precision, wanted in ((1.0, 0.7), (0.85, 0.6), (0.75, 0.5)):
        assert chosen_thresholds(judged, ["good"], precision, "least") == {"good": wanted}
    assert chosen_thresholds(judged, ["bad"], 0.5, "least") == {"bad": math.inf}, "nothing is known of it"
    four = Judged(texts(4), answered(*good[:4]), right[:4])
    assert chosen_thresholds(four, ["good"], 0.5, "least") == {"good": math.inf}, "too few answers"


def test_answers_alike_in_confidence_are_taken_together() -> None:
    judged = Judged(texts(6), answered(*[("a", 0.9)] * 6), [True, True, True, True, True, False])
    assert chosen_thresholds(judged, ["a"], 0.9, "least") == {"a": math.inf}


@pytest.mark.parametrize(
    ("balance", "wanted"),
    [("none", {"a": 90, "b": 10}), ("equal", {"a": 10, "b": 10}), ("labelled", {"a": 30, "b": 10})],
)
def test_classes_get_their_shares(balance: str, wanted: dict[str, int]) -> None:
    assert balanced({"a": 90, "b": 10}, {"a": 6, "b": 2}, balance) == wanted  # type: ignore[arg-type]


def test_the_surest_of_each_class_become_examples_that_say_so() -> None:
    labelled = [Example("1", "one", "a"), Example("2", "two", "b")]
    answers = answered(("a", 0.99), ("a", 0.7), ("b", 0.8), ("a", 0.9), ("b", 0.4), ("c", 1.0))
    use = SelfTraining(threshold=0.6)
    found = use.surveyed(labelled, Judged(texts(6), answers), Judged([], []), "supervised")
    assert [(one.id, one.label) for one in found.examples] == [("0", "a"), ("2", "b")]
    assert found.examples[0].attributes == {TAUGHT_BY: "supervised", SURE: "0.9900"}
    assert dict(found.confident) == {"a": 3, "b": 1}
    assert dict(found.answered) == {"a": 3, "b": 2, "c": 1}
    assert found.plain()["kept"] == {"a": 1, "b": 1}


def test_spans_are_as_sure_as_their_words() -> None:
    span = (Span(0, 4, "PER"),)
    words = {"least": 0.5, "mean": 0.9}
    answer = Prediction("1", span, 0.95, span_scores=(0.95,), word_confidence=words)
    assert (confidence_of(answer, "least"), confidence_of(answer, "mean")) == (0.5, 0.9)
    assert confidence_of(Prediction("2", (), math.nan), "least") == 0.0, "a text without words"
    labelled = [Example("1", "Anna", span), Example("2", "day", ())]
    found = SelfTraining(threshold=0.8, sentence="mean").surveyed(
        labelled, Judged([Example("3", "Bell ran")], [answer]), Judged([], []), "supervised"
    )
    assert [example.label for example in found.examples] == [span]


def test_the_alarms_are_the_numbers_that_they_say() -> None:
    shift, dearth = Alarms().on_classes({"a": 10, "b": 10}, {"a": 95, "b": 5})
    assert shift.value == pytest.approx(0.45)
    assert shift.fired
    assert dearth.value == pytest.approx(0.1)
    assert not dearth.fired
    assert "0.45" in shift.message
    assert Alarms().on_classes({"a": 1}, {}) == [], "without a confident answer there is nothing to compare"
    gone = Alarms().on_classes({"a": 10, "b": 10}, {"a": 100})
    assert [alarm.fired for alarm in gone] == [True, True]
    assert Alarms().on_agreement(["a", "b", "a", "a"], ["a", "a", "b", "b"]).fired
    assert not Alarms().on_agreement(["a", "b"], ["a", "a"]).fired


@pytest.mark.parametrize(
    ("confident", "right", "fired"),
    [(0, math.nan, ["least"]), (50, 0.9, []), (100, 0.9, []), (100, 0.5, ["most"]), (100, math.nan, ["most"])],
)
def test_next_to_no_answer_or_every_one_is_a_sign(confident: int, right: float, fired: list[str]) -> None:
    assert [alarm.name for alarm in Alarms().on_share(confident, 100, right) if alarm.fired] == fired
