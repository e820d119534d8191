"""What is minimised: an objective turns the task's loss into the number whose gradient is followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from tunesmith.models.model import Model
from tunesmith.tasks.encoding import Batch
from tunesmith.training.objectives.adversarial import FGM
from tunesmith.training.objectives.plain import TaskLoss
from tunesmith.training.objectives.preference import DPO

Loss = Callable[[Model, Batch], Tensor]
"""The task's mean loss of a model on a batch."""


class Objective(Protocol):
    """A function of model and batch that is minimised."""

    def __call__(self, model: Model, batch: Batch, loss: Loss) -> Tensor:
        """A mean over the batch's `units`, with a gradient."""

    def check(self, model: Model) -> None:
        """Raise a TrainingError where the objective would have no effect on this model."""


OBJECTIVES: dict[str, type[Objective]] = {"task": TaskLoss, "fgm": FGM, "dpo": DPO}

__all__ = ["DPO", "FGM", "OBJECTIVES", "Loss", "Objective", "TaskLoss"]
