"""Tags of words as spans on the text: how sure the answer is, and how likely the given tags are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.tasks.encoding import Encoded
from tunesmith.tasks.tagged_words import spans_on_text

TAGS = ("O", "B-PER", "I-PER")
CHANCES = torch.tensor([[0.1, 0.9, 0.0], [0.4, 0.0, 0.6], [0.7, 0.3, 0.0]])


def answer(target: Sequence[float] | Sequence[Sequence[float]] | None) -> Prediction:
    known = None if target is None else np.array(target, dtype=np.float64)
    item = Encoded((), known, ((0, 4), (5, 7), (8, 12)))
    return spans_on_text(Example("1", "Anna Li left"), item, TAGS, [1, 2, 0], CHANCES)


def test_the_least_likely_given_tag_is_told_where_tags_are_given() -> None:
    found = answer([1, 0, 0])
    assert found.label == (Span(0, 7, "PER"),)
    assert found.word_confidence["given"] == pytest.approx(0.4)
    assert found.unlikely == Span(5, 7, "O")
    missed = answer([1, 2, 1])
    assert missed.word_confidence["given"] == pytest.approx(0.3)
    assert missed.unlikely == Span(8, 12, "B-PER")
    assert answer([[0.1, 0.9, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).unlikely == Span(5, 7, "O"), (
        "of chances the likeliest counts"
    )
    assert answer(None).unlikely is None
    assert set(answer(None).word_confidence) == {"least", "mean"}
