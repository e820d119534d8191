"""Confident learning: planted noise is found, counted and ranked; doubts about spans say why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import RecipeError
from tunesmith.labelling.confident import class_doubts, class_thresholds, confident_joint, estimated_noise, span_doubts

LABELS = ("a", "b", "c")


def noisy(
    size: int = 4000, share: float = 0.1, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Given labels, true ones, and the probabilities of a model that is right most of the time."""
    random = np.random.default_rng(seed)
    truth = random.integers(3, size=size)
    given = np.where(random.random(size) < share, (truth + 1) % 3, truth)
    logits = random.normal(size=(size, 3))
    logits[np.arange(size), truth] += 3
    return given, truth, softmax(logits, axis=1)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
def test_the_share_of_wrong_labels_is_estimated(share: float) -> None:
    given, truth, probabilities = noisy(share=share)
    noise = estimated_noise(given, probabilities)
    assert noise.share == pytest.approx((given != truth).mean(), abs=0.03)
    assert noise.joint.sum() == pytest.approx(1.0)
    if share:
        # The noise was planted from a to b, b to c and c to a alone.
        planted = [noise.joint[(true + 1) % 3, true] for true in range(3)]
        others = [noise.joint[true, (true + 1) % 3] for true in range(3)]
        assert min(planted) > 4 * max(others)


def test_wrong_labels_come_first_and_suspects_are_mostly_wrong() -> None:
    given, truth, probabilities = noisy()
    doubts = class_doubts(given, probabilities, LABELS)
    assert sorted(doubt.place for doubt in doubts) == list(range(len(given)))
    scores = np.zeros(len(given))
    scores[[doubt.place for doubt in doubts]] = [doubt.score for doubt in doubts]
    wrong = given != truth
    assert roc_auc_score(wrong, scores) > 0.97
    assert average_precision_score(wrong, scores) > 0.8
    suspects = [doubt.place for doubt in doubts if doubt.is_suspect]
    assert wrong[suspects].mean() > 0.75
    assert wrong[suspects].sum() > 0.75 * wrong.sum()
    first = doubts[0]
    assert first.suggested == LABELS[truth[first.place]]
    assert first.reason.startswith(f"'{first.suggested}' has probability")


def test_the_joint_counts_as_its_definition_says() -> None:
    given = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55]])
    # Thresholds: class 0 (0.9 + 0.2) / 2 = 0.55, class 1 (0.7 + 0.55) / 2 = 0.625; the last example reaches neither.
    assert confident_joint(given, probabilities).tolist() == [[1, 1], [0, 1]]


def test_classes_that_no_label_has_and_no_examples_at_all_are_no_trouble() -> None:
    assert class_doubts(np.zeros(0, dtype=np.int64), np.zeros((0, 2)), ("a", "b")) == []
    doubts = class_doubts(np.zeros(3, dtype=np.int64), np.full((3, 2), 0.5), ("a", "b"))
    assert not any(doubt.is_suspect for doubt in doubts)


def test_a_class_that_is_impossible_by_the_model_is_confidently_nobodys() -> None:
    """The one example of class 2 has probability 0 of it, so its threshold is 0, which everybody would reach."""
    given = np.array([0, 0, 1, 1, 2])
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.4, 0.6, 0], [0.55, 0.45, 0]])
    assert confident_joint(given, probabilities).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert class_thresholds(given, probabilities).tolist() == pytest.approx([0.85, 0.75, 0.0])
    assert class_thresholds(given, probabilities, at_least=2).tolist() == pytest.approx([0.85, 0.75, np.inf])


def answered(
    number: int, gold: tuple[Span, ...], found: tuple[Span, ...], given: float, word: Span
) -> tuple[Example, Prediction]:
    """An example with an answer of which span scores and confidence are high, and the probability of the worst word."""
    words = {"least": 0.5, "mean": 0.9, "given": given}
    return Example(str(number), TEXT, gold), Prediction(
        str(number), found, 0.95, span_scores=(0.95,) * len(found), word_confidence=words, unlikely=word
    )


TEXT = "Anna Li left 罗马 in May"
PERSON, PLACE, MONTH = Span(0, 7, "person"), Span(13, 15, "place"), Span(19, 22, "month")


def test_doubts_about_spans_say_what_is_amiss() -> None:
    def doubt(gold: tuple[Span, ...], found: tuple[Span, ...], given: float, word: Span) -> tuple[float, str]:
        example, prediction = answered(1, gold, found, given, word)
        (one,) = span_doubts([example], [prediction])
        return round(one.score, 6), one.reason

    both = (PERSON, PLACE)
    assert doubt(both, both, 0.9, Span(13, 14, "B-place")) == (0.1, "")
    assert doubt((PERSON,), both, 0.3, Span(13, 14, "O")) == (0.7, "not labelled: '罗马' as place")
    month = (PERSON, Span(13, 15, "month"))
    assert doubt(both, month, 0.4, Span(13, 14, "B-place")) == (0.6, "another type: '罗马' as month")
    anna = (Span(0, 4, "person"),)
    assert doubt((PERSON,), anna, 0.5, Span(5, 7, "I-person")) == (0.5, "another border: 'Anna' as person")
    assert doubt((PERSON,), anna, 0.5, Span(0, 4, "B-person")) == (0.5, "another border: 'Anna' as person")
    assert doubt((PERSON, MONTH), (PERSON,), 0.2, Span(19, 22, "B-month")) == (0.8, "the model finds no month in 'May'")


def test_a_missed_span_is_as_doubtful_as_its_own_words_are_unlikely_whatever_else_is_found() -> None:
    pairs = [
        answered(1, (PERSON, MONTH), (PERSON,), 0.45, Span(19, 22, "B-month")),  # nearly found
        answered(2, (PERSON, MONTH), (PERSON,), 0.01, Span(19, 22, "B-month")),  # surely none
    ]
    assert [one.place for one in span_doubts(*zip(*pairs, strict=True))] == [1, 0]


def test_texts_without_words_are_not_doubted_and_votes_are_refused() -> None:
    (one,) = span_doubts([Example("1", "", ())], [Prediction("1", (), math.nan)])
    assert one.score == 0
    with pytest.raises(RecipeError, match="no probabilities of the words"):
        span_doubts([Example("1", TEXT, ())], [Prediction("1", (), 0.5)])
