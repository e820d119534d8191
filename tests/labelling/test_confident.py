"""Confident learning: planted noise is found, counted and ranked; doubts about spans say why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.labelling.confident import class_doubts, confident_joint, estimated_noise, span_doubts

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


def test_doubts_about_spans_say_what_is_amiss() -> None:
    text = "Anna Li left 罗马 in May"
    person, place, month = Span(0, 7, "person"), Span(13, 15, "place"), Span(19, 22, "month")

    def doubt(gold: tuple[Span, ...], found: tuple[Span, ...], scores: tuple[float, ...]) -> tuple[float, str]:
        prediction = Prediction("1", found, 0.8, span_scores=scores)
        (one,) = span_doubts([Example("1", text, gold)], [prediction])
        return one.score, one.reason

    assert doubt((person, place), (person, place), (0.9, 0.9)) == (0.0, "")
    assert doubt((person,), (person, place), (0.9, 0.7)) == (0.7, "not labelled: '罗马' as place")
    assert doubt((person, place), (person, Span(13, 15, "month")), (0.9, 0.6)) == (0.6, "another type: '罗马' as month")
    assert doubt((person,), (Span(0, 4, "person"),), (0.5,)) == (0.5, "another border: 'Anna' as person")
    assert doubt((person, month), (person,), (0.9,)) == (0.8, "the model finds no month in 'May'")
    several = span_doubts(
        [Example("1", text, ()), Example("2", text, (place,))],
        [Prediction("1", (), 0.9), Prediction("2", (), 0.9)],
    )
    assert [one.place for one in several] == [1, 0]
