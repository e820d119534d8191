"""Rules between labels: the semantic loss equals its closed forms, and no answer breaks a rule."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders import SETS, SPANS, build_material, build_model
from tests.training.batches import random_logits
from tunesmith.data.records import Example, Span
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import SequenceClassification, TokenClassification
from tunesmith.tasks.crf import bio_viterbi, forbidden_transitions
from tunesmith.tasks.label_rules import Rules

LABELS = ("a", "b", "c", "d", "e")


def chances() -> tuple[Tensor, Tensor]:
    logits = 2 * random_logits(7, 5)
    return logits, logits.sigmoid()


def test_the_semantic_loss_of_exactly_one_equals_its_closed_form() -> None:
    logits, p = chances()
    found = Rules.of(("exactly one of a, b, c, d, e",), LABELS).semantic_loss(logits)
    wanted = sum(p[:, i] * torch.stack([1 - p[:, j] for j in range(5) if j != i]).prod(0) for i in range(5))
    torch.testing.assert_close(found, -wanted.log(), atol=1e-5, rtol=1e-5)  # type: ignore[union-attr]


def test_the_semantic_loss_of_an_implication_equals_its_closed_form() -> None:
    logits, p = chances()
    found = Rules.of(("b -> d",), LABELS).semantic_loss(logits)
    torch.testing.assert_close(found, -(1 - p[:, 1] * (1 - p[:, 3])).log(), atol=1e-6, rtol=1e-5)


def test_the_semantic_loss_of_exclusion_equals_its_closed_form() -> None:
    logits, p = chances()
    found = Rules.of(("at most one of a, c",), LABELS).semantic_loss(logits)
    torch.testing.assert_close(found, -(1 - p[:, 0] * p[:, 2]).log(), atol=1e-6, rtol=1e-5)


def test_rules_over_different_labels_are_independent_and_over_common_ones_are_not() -> None:
    logits, p = chances()
    apart = Rules.of(("a -> b", "at most one of c, d"), LABELS).semantic_loss(logits)
    wanted = -(1 - p[:, 0] * (1 - p[:, 1])).log() - (1 - p[:, 2] * p[:, 3]).log()
    torch.testing.assert_close(apart, wanted, atol=1e-6, rtol=1e-5)
    chain = Rules.of(("a -> b", "b -> c"), LABELS).semantic_loss(logits)
    a, b, c = p[:, 0], p[:, 1], p[:, 2]
    torch.testing.assert_close(chain, -((1 - a) * (1 - b) + (1 - a) * b * c + a * b * c).log(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("border", [0.0, 0.8])
def test_the_answer_is_the_best_of_all_sets_that_keep_the_rules(border: float) -> None:
    texts = ("a -> b", "at most one of b, c", "exactly one of c, d")
    rules = Rules.of(texts, LABELS)
    allowed = [
        row
        for row in itertools.product([0, 1], repeat=5)
        if (not row[0] or row[1]) and row[1] + row[2] <= 1 and row[2] + row[3] == 1
    ]
    for scores in 2 * random_logits(20, 5):
        best = max(allowed, key=lambda row: float(((scores - border) * torch.tensor(row)).sum()))
        found, sure = rules.best(scores, border)
        assert found.int().tolist() == list(best)
        p = scores.sigmoid().tolist()
        chance = {row: np.prod([x if on else 1 - x for x, on in zip(p, row, strict=True)]) for row in allowed}
        assert sure == pytest.approx(chance[best] / sum(chance.values()), rel=1e-4)


def test_a_model_with_rules_never_breaks_them(tiny_model_folder: Path) -> None:
    task = SequenceClassification(problem="multi_label", rules=("exactly one of bad, good",), rule_weight=0.5)
    model, prepared, encoder = build_model(tiny_model_folder, task, SETS, dropout=0.0)
    answers = Predictor(model, prepared, encoder).predict(SETS)
    assert all(len(answer.label) == 1 for answer in answers)  # type: ignore[arg-type]
    assert prepared.announcements(SETS, SETS)[0].count == 4
    material = build_material(prepared, encoder, SETS)
    batch = material.batch(range(len(SETS)))
    logits = model.eval()(batch)
    plain = SequenceClassification(problem="multi_label", labels=prepared.labels).loss(model.head, logits, batch)
    rules = Rules.of(task.rules, prepared.labels)
    torch.testing.assert_close(
        prepared.loss(model.head, logits, batch), plain + 0.5 * rules.semantic_loss(logits).mean()
    )


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("a and b",), "is no rule"),
        (("a -> f",), "unknown label 'f'"),
        (("a -> a",), "two different labels"),
        (("exactly one of a",), "two different labels"),
        (("exactly one of a, b", "a -> b", "b -> a"), "No set of labels keeps all"),
    ],
)
def test_rules_without_sense_are_refused(rules: tuple[str, ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        Rules.of(rules, LABELS)
    assert error.value.where == "task.rules"


def test_rules_for_one_class_per_text_and_a_weight_without_rules_are_refused() -> None:
    with pytest.raises(RecipeError, match="rules has no effect on problem: single_label"):
        SequenceClassification(rules=("a -> b",))
    with pytest.raises(RecipeError, match="no effect without rules"):
        SequenceClassification(problem="multi_label", rule_weight=1.0)


# Steps between tags
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def test_the_best_path_takes_no_forbidden_step() -> None:
    scores = 3 * torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(5))
    banned = ("B-PER -> B-LOC", "I-PER -> B-LOC", "O -> O")
    found = bio_viterbi(scores, TAGS, torch.ones(6, 4, dtype=torch.bool), banned)
    steps, start = forbidden_transitions(TAGS)
    for text in banned:
        one, other = text.split(" -> ")
        steps[TAGS.index(one), TAGS.index(other)] = -1e4
    for row, path in zip(scores, found, strict=True):

        def total(way: tuple[int, ...], row: Tensor = row) -> float:
            inner = sum(float(steps[a, b]) for a, b in itertools.pairwise(way))
            return float(start[way[0]]) + inner + sum(float(row[w, tag]) for w, tag in enumerate(way))

        assert tuple(path) == max(itertools.product(range(5), repeat=4), key=total)


@pytest.mark.parametrize("crf", [True, False])
def test_a_tagger_takes_no_forbidden_step(crf: bool, tiny_model_folder: Path) -> None:
    banned = ("O -> B-PER", "O -> B-LOC", "B-LOC -> B-LOC", "B-PER -> B-LOC", "I-PER -> B-LOC", "I-LOC -> B-LOC")
    task = TokenClassification(casing=False, crf=crf, forbidden_steps=banned)
    model, prepared, encoder = build_model(tiny_model_folder, task, SPANS, dropout=0.0)
    text = Example("x", "Anna went to Rome and New York and Bell")
    (answer,) = Predictor(model, prepared, encoder).predict([text])
    spans = [span for span in answer.label if isinstance(span, Span)]  # type: ignore[union-attr]
    assert not [span for span in spans if span.label == "LOC" and span.start > 0]


@pytest.mark.parametrize("step", ["O -> B-PERS", "O", "O -> O -> O"])
def test_a_step_of_unknown_tags_is_refused(step: str, tiny_model_folder: Path) -> None:
    with pytest.raises(RecipeError, match="is no step between two tags"):
        build_model(tiny_model_folder, TokenClassification(forbidden_steps=(step,)), SPANS)
