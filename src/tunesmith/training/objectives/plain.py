"""The task's own loss, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tunesmith.models.model import Model
from tunesmith.tasks.encoding import Batch


@dataclass(frozen=True)
class TaskLoss:
    """Minimise the task's own loss."""

    def __call__(self, model: Model, batch: Batch, loss: Callable[[Model, Batch], Tensor]) -> Tensor:
        """The task's loss."""
        return loss(model, batch)

    def check(self, model: Model) -> None:
        """Always has an effect."""
