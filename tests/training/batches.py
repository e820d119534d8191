"""A tiny model, a batch of a case, and what its task asks of outputs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tests.builders import (
    TASK_CASES,
    build_material,
    build_model,
)
from tunesmith.methods import METHODS
from tunesmith.models.model import Model
from tunesmith.tasks import Batch
from tunesmith.training.objectives import (
    Criterion,
)


def small(
    folder: Path, case: str = "single_label", dropout: float | None = 0.0, method: str = "full"
) -> tuple[Model, Batch, Criterion]:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder, task, examples, METHODS[method](), dropout=dropout)
    material = build_material(task, encoder, examples)
    return model.train(), material.batch(range(len(material.encoded))), material.criterion


def gradients(model: Model, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def random_logits(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))
