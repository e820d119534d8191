"""Supervised contrast and mixup against references of ten lines and plain training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.builders import (
    CLASSES,
    build_material,
    build_model,
)
from tests.training.batches import random_logits, small
from tunesmith.tasks import SequenceClassification
from tunesmith.tasks.heads import VectorHead
from tunesmith.training.objectives import (
    Mixup,
    SupCon,
)
from tunesmith.training.objectives.contrastive import contrast


def reference_contrast(vectors: Tensor, classes: Sequence[int], temperature: float) -> float:
    units = vectors / vectors.norm(dim=1, keepdim=True)
    losses = []
    for i, mine in enumerate(classes):
        others = [j for j in range(len(classes)) if j != i]
        positives = [j for j in others if classes[j] == mine]
        if positives:
            total = sum(math.exp(float(units[i] @ units[j]) / temperature) for j in others)
            ratios = [math.exp(float(units[i] @ units[p]) / temperature) / total for p in positives]
            losses.append(-sum(math.log(ratio) for ratio in ratios) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("classes", [[0, 1, 0, 1, 1], [0, 1, 2, 0, 3], [0, 1, 2, 3, 4]])
def test_the_contrast_equals_its_definition_and_skips_lone_anchors(classes: list[int]) -> None:
    vectors = random_logits(5, 4).requires_grad_()
    found = contrast(vectors, torch.tensor(classes), 0.5)
    assert float(found.detach()) == pytest.approx(reference_contrast(vectors.detach(), classes, 0.5), rel=1e-5)
    found.backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_a_text_that_is_alone_in_its_batch_has_no_contrast() -> None:
    vectors = random_logits(1, 4).requires_grad_()
    found = contrast(vectors, torch.tensor([0]), 0.1)
    found.backward()
    assert float(found.detach()) == 0.0
    assert vectors.grad is not None
    assert not vectors.grad.any()


@pytest.mark.parametrize("case", ["single_label", "binary", "pairs_cross", "relations", "image_text"])
def test_supcon_is_its_share_of_loss_and_contrast(case: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, case)
    model.eval()
    SupCon().check(model, criterion.task)
    assert isinstance(model.head, VectorHead)
    assert batch.targets is not None
    vectors = model.head.vectors(model.hidden(batch).float(), batch)
    apart = reference_contrast(vectors.detach(), batch.targets.flatten().tolist(), 0.3)
    found = SupCon(weight=0.25)(model, batch, criterion)
    expected = 0.75 * float(criterion(model, batch).detach()) + 0.25 * apart
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("case", ["single_label", "binary", "multi_label", "regression", "pairs_cross", "relations"])
def test_mixup_with_nothing_of_the_other_is_the_plain_loss(case: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, case, dropout=0.2)
    Mixup().check(model, criterion.task)
    others = torch.arange(batch.size).flip(0)
    torch.manual_seed(4)
    plain = criterion(model, batch)
    torch.manual_seed(4)
    mixed = Mixup().mixed(model, batch, criterion, 1.0, others)
    assert float(mixed.detach()) == float(plain.detach())


def test_mixup_mixes_vectors_and_losses(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    model.eval()
    assert isinstance(model.head, VectorHead)
    assert batch.targets is not None
    others = torch.arange(8).roll(3)
    vectors = model.head.vectors(model.hidden(batch), batch)
    logits = model.head.scores(0.7 * vectors + 0.3 * vectors[others]).log_softmax(-1)
    mine, theirs = (-logits[range(8), targets].mean() for targets in (batch.targets, batch.targets[others]))
    found = Mixup().mixed(model, batch, criterion, 0.7, others)
    torch.testing.assert_close(found, 0.7 * mine + 0.3 * theirs)


def test_the_vectors_of_a_long_text_are_the_mean_of_its_windows(tiny_model_folder: Path) -> None:
    examples = [*CLASSES[:3], replace(CLASSES[3], text=" ".join(["a bad day"] * 30))]
    task = SequenceClassification(max_length=16, stride=4)
    model, task, encoder = build_model(tiny_model_folder, task, examples, dropout=0.0)
    batch = build_material(task, encoder, examples).batch(range(4))
    assert len(batch.input_ids) > 4
    assert isinstance(model.head, VectorHead)
    hidden = model.hidden(batch)
    torch.testing.assert_close(model.head.scores(model.head.vectors(hidden, batch)), model.head(hidden, batch))
