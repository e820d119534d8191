"""Stopping rules: kappa against its definition, and each rule on both sides of its threshold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunesmith.components import build
from tunesmith.errors import RecipeError
from tunesmith.selection.stopping import STOPPING_RULES, Round, SpentBudget, StableAnswers, SurePool, agreement

BASE = Round(100, 900, 0.5, {"a": ("x",), "b": ("y",), "c": ("x",), "d": ("y",)})
OTHER = replace(BASE, answers={"a": ("x",), "b": ("y",), "c": ("y",), "d": ("y",)})


def test_agreement_is_cohens_kappa() -> None:
    # Three of four agree; by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2 would.
    assert agreement(BASE.answers, OTHER.answers) == pytest.approx((0.75 - 0.5) / 0.5)
    assert agreement(BASE.answers, BASE.answers) == 1
    assert agreement({"a": ("x",)}, {"a": ("x",)}) == 1
    assert agreement({"a": ("x",)}, {"b": ("x",)}) == 0
    assert agreement({"a": ("x", "y")}, {"a": ("x", "y"), "b": ("z",)}) == 1, "texts of both count"


def test_stable_answers_need_as_many_rounds_as_the_window_and_one_more() -> None:
    rule = StableAnswers(window=3)
    assert not rule.judge([BASE] * 3).is_reached
    assert rule.judge([BASE] * 4).is_reached
    assert rule.judge([OTHER, BASE, BASE, BASE, BASE]).is_reached, "older rounds are forgotten"
    assert not rule.judge([BASE, BASE, BASE, OTHER]).is_reached
    assert StableAnswers(kappa=0.8, window=3).judge([BASE, BASE, BASE, OTHER]).is_reached, "the mean is 0.83"


def test_a_pool_is_sure_below_its_threshold() -> None:
    assert not SurePool(0.5).judge([BASE]).is_reached
    assert SurePool(0.51).judge([BASE]).is_reached
    assert "0.5000" in SurePool().judge([BASE]).said


def test_a_budget_counts_texts_or_words() -> None:
    assert SpentBudget(texts=100).judge([BASE]).is_reached
    assert not SpentBudget(texts=101).judge([BASE]).is_reached
    assert SpentBudget(texts=0, words=900).judge([BASE]).is_reached
    assert not SpentBudget(texts=0, words=901).judge([BASE]).is_reached


@pytest.mark.parametrize("name", STOPPING_RULES)
def test_every_rule_says_its_numbers(name: str) -> None:
    said = STOPPING_RULES[name]().judge([BASE] * 5).said
    assert said.startswith(f"{name}: ")
    assert any(letter.isdigit() for letter in said)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "stable", "kappa": 0},
        {"name": "stable", "window": 0},
        {"name": "sure", "uncertainty": 1},
        {"name": "budget", "texts": 0},
    ],
)
def test_thresholds_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        build(STOPPING_RULES, wrong)
