"""Exact match and F1 of answers, against short references for the rules of SQuAD and CMRC 2018."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import LabelError
from tunesmith.scoring.questions import answer_text, exact_match, f1, gold_texts, is_chinese, measure_questions


def reference_words(text: str) -> list[str]:
    """SQuAD's words: no signs, no articles."""
    bare = re.sub(r"[!-/:-@\[-`{-~]", "", text.lower())
    return [word for word in bare.split() if word not in {"a", "an", "the"}]


def reference_squad(gold: str, answer: str) -> tuple[float, float]:
    """Exact match and F1 over words, each counted as often as both sides have it."""
    one, other = reference_words(gold), reference_words(answer)
    shared = sum(min(one.count(word), other.count(word)) for word in set(one))
    if not one or not other:
        return float(one == other), float(one == other)
    precision, recall = shared / len(other), shared / len(one)
    return float(one == other), 2 * precision * recall / (precision + recall) if shared else 0.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("the Denver Broncos", "Denver Broncos!"),
        ("Denver Broncos", "the Carolina Panthers"),
        ("a big big city", "big city and a big river"),
        ("1,000 years", "1000 years"),
        ("well-known", "wellknown"),
        ("Theodore", "the odore"),
        ("an", "the"),
        ("", "Rome"),
        ("", ""),
    ],
)
def test_squad_scores_are_those_of_the_reference(gold: str, answer: str) -> None:
    exact, overlap = reference_squad(gold, answer)
    assert exact_match([gold], answer, "squad") == exact
    assert f1([gold], answer, "squad") == pytest.approx(overlap)


def reference_cmrc(gold: str, answer: str) -> float:
    """F1 by the longest common run, found by trying every start."""
    one, other = list(gold), list(answer)
    longest = max(
        (n for a in range(len(one)) for b in range(len(other)) for n in range(1, len(one) + 1)
         if one[a : a + n] == other[b : b + n] and len(other[b : b + n]) == n),
        default=0,
    )  # fmt: skip
    return 2 * longest / (len(one) + len(other))


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("光荣和公司", "光荣公司"), ("村雨城", "任天堂游戏谜之村雨城"), ("北京", "上海"), ("天气好天气", "好天气天气")],
)
def test_cmrc_counts_the_longest_common_run_of_characters(gold: str, answer: str) -> None:
    assert f1([gold], answer, "cmrc") == pytest.approx(reference_cmrc(gold, answer))


def test_cmrc_leaves_signs_out_and_keeps_words_and_numbers_whole() -> None:
    assert exact_match(["《村雨城》"], "村雨城。", "cmrc")
    assert exact_match(["Nexon公司"], "nexon公司", "cmrc")
    assert not exact_match(["村雨城"], "村雨", "cmrc")
    # Units: 韩 国 nexon against nexon.
    assert f1(["韩国Nexon"], "Nexon", "cmrc") == pytest.approx(2 * 1 / 4)
    # Units: 3.5 公 里 against 3 公 里, of which two are shared.
    assert f1(["3.5公里"], "3公里", "cmrc") == pytest.approx(2 * 2 / 6)
    assert f1(["。"], "", "cmrc") == 1.0


def test_the_best_of_several_right_answers_counts() -> None:
    golds = ("Denver", "the Denver Broncos")
    assert f1(golds, "Denver Broncos", "squad") == 1.0
    assert f1(golds, "Denver City", "squad") == pytest.approx(2 / 3)


def questions() -> tuple[list[Example], list[Prediction]]:
    text = "Anna went to Rome"
    rome, anna = Span(13, 17, "answer"), Span(0, 4, "answer")
    golds = [(rome,), (anna,), (), ()]
    given: list[tuple[Span, ...]] = [(rome,), (), (), (rome,)]
    examples = [Example(str(n), text, gold, second="?") for n, gold in enumerate(golds)]
    return examples, [Prediction(str(n), answer, 0.5) for n, answer in enumerate(given)]


def test_no_answer_is_right_only_where_there_is_none() -> None:
    values = {measure.name: measure.value() for measure in measure_questions(*questions(), "squad")}
    assert values == {"f1": 0.5, "exact_match": 0.5, "answerable_f1": 0.5, "unanswerable_accuracy": 0.5}


def test_where_all_have_answers_they_are_not_told_apart() -> None:
    examples, predictions = questions()
    assert [measure.name for measure in measure_questions(examples[:2], predictions[:2], "squad")] == [
        "f1",
        "exact_match",
    ]


def test_resamples_average_over_those_drawn_of_a_kind() -> None:
    measures = {measure.name: measure for measure in measure_questions(*questions(), "squad")}
    drawn = np.array([[0, 0, 0, 1], [2, 2, 3, 3]])
    np.testing.assert_allclose(measures["answerable_f1"].resampled(drawn), [0.75, np.nan])
    np.testing.assert_allclose(measures["f1"].resampled(drawn), [0.75, 0.5])


def test_an_unlabelled_question_cannot_be_scored() -> None:
    examples, predictions = questions()
    with pytest.raises(LabelError, match="without a label"):
        measure_questions([Example("0", "text", second="?"), *examples[1:]], predictions, "squad")


def test_texts_of_answers_are_read_off_the_passage() -> None:
    examples, predictions = questions()
    assert gold_texts(examples[0]) == ("Rome",)
    assert [answer_text(example, one) for example, one in zip(examples, predictions, strict=True)] == [
        "Rome",
        "",
        "",
        "Rome",
    ]


def test_chinese_is_told_by_its_characters() -> None:
    assert is_chinese(["锣鼓经是大陆传统器乐 (1990)"])
    assert not is_chinese(["The name 北京 means northern capital"])
    assert not is_chinese([])
