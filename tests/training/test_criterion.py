"""How far two outputs are apart, and which places carry text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.builders import (
    TASK_CASES,
    build_material,
    build_model,
    folder_of,
)
from tests.training.batches import random_logits, small
from tunesmith.tasks import Batch, Comparing
from tunesmith.tasks.losses import binary_divergence, class_divergence
from tunesmith.training.objectives.embeddings import (
    changed_embeddings,
)


def test_the_divergence_of_classes_is_half_of_both_relative_entropies() -> None:
    one, other = random_logits(3, 4), random_logits(3, 4) * 2 + 1
    expected = 0.0
    for p, q in zip(one.softmax(-1).tolist(), other.softmax(-1).tolist(), strict=True):
        there = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        back = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        expected += 0.5 * (there + back) / 3
    assert float(class_divergence(one, other)) == pytest.approx(expected, rel=1e-5)
    assert float(class_divergence(other, one)) == pytest.approx(expected, rel=1e-5)
    assert float(class_divergence(one, one)) == 0.0


def test_a_yes_or_no_is_a_distribution_over_two() -> None:
    one, other = random_logits(3, 2), random_logits(3, 2) - 1
    pairs = [torch.stack([logits, torch.zeros_like(logits)], -1) for logits in (one, other)]
    assert float(binary_divergence(one, other)) == pytest.approx(float(class_divergence(*pairs)), rel=1e-5)


COMPARING = [case for case, (task, _) in TASK_CASES.items() if isinstance(task, Comparing) and not task.incomparable]


@pytest.mark.parametrize("case", COMPARING)
def test_divergences_and_losses_add_up_over_micro_batches(case: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder_of(case, request), task, examples, dropout=None)
    model.eval()
    material = build_material(task, encoder, examples)

    def apart(batch: Batch) -> float:
        one = model(batch)
        with changed_embeddings(model, lambda output: output * 1.5):
            return float(material.criterion.divergence(one, model(batch), batch).detach())

    whole = material.batch(range(8))
    parts = [material.batch(numbers) for numbers in ((0, 1, 2), (3, 4, 5, 6), (7,))]
    summed = sum(apart(part) * part.units / whole.units for part in parts)
    assert apart(whole) > 0
    assert summed == pytest.approx(apart(whole), rel=1e-4)
    assert float(material.criterion.divergence(model(whole), model(whole), whole).detach()) == 0.0


def test_text_masks_leave_out_padding_special_tokens_and_vectors_before_the_text(tiny_model_folder: Path) -> None:
    _, batch, criterion = small(tiny_model_folder)
    lengths = batch.attention_mask.sum(1)
    mask = criterion.text_mask(batch, batch.input_ids.shape[1] + 3)
    assert not mask[:, :4].any()  # three vectors, and the first special token
    assert torch.equal(mask.sum(1), lengths - 2)
    assert all(not row[3 + int(length) - 1 :].any() for row, length in zip(mask, lengths, strict=True))
