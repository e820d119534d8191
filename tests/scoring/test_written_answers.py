"""Perplexity, preferences, and how like the given answers the written ones are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring.overlap import longest_common, measure_overlap, rouge_l
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


def lcs(one: list[str], other: list[str]) -> int:
    """The plain table."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        one, other = (list(random.choice(list("abcd"), random.integers(0, 90))) for _ in range(2))
        assert longest_common(one, other) == lcs(one, other)


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("the cat sat", "The cat sat.", 1.0),
        ("police kill the gunman", "police killed the gunman", 0.75),  # Lin 2004, sec. 3.1
        ("我喜欢北京", "我爱北京", 2 * 3 / 9),
        ("", "x", 0.0),
        ("", "", 1.0),
    ],
)
def test_rouge_l(answer: str, gold: str, value: float) -> None:
    assert rouge_l(answer, gold) == pytest.approx(value)


def test_exact_match_ignores_blanks_around() -> None:
    examples = [Example("a", "q", " yes\n"), Example("b", "q", "no")]
    measures = measure_overlap(examples, [Prediction("a", "yes", 1.0), Prediction("b", "yes", 1.0)])
    assert {measure.name: measure.value() for measure in measures} == {"exact_match": 0.5, "rouge_l": 0.5}
