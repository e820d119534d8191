"""The task's own loss, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion


@dataclass(frozen=True)
class TaskLoss:
    """Minimise the task's own loss."""

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The task's loss."""
        return criterion(model, batch)

    def check(self, model: Model, task: Task) -> None:
        """Always has an effect."""
