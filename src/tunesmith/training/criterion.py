"""What a task asks of a model's outputs: their loss, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.components import name_of
from tunesmith.errors import TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import TASKS, Batch, Comparing, Separable, Task


@dataclass(frozen=True)
class Criterion:
    """A task as objectives see it.

    Attributes:
        task: the task.
        special: the tokens that are no part of a text, which no objective perturbs.
        inner: what stands in the place of the task's loss of one pass, where objectives are stacked; None for nothing.
    """

    task: Task
    special: tuple[int, ...] = ()
    inner: Callable[[Model, Batch, Criterion], Tensor] | None = None

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """The task's mean loss of one pass, over the batch's `units`."""
        if self.inner is not None:
            return self.inner(model, batch, replace(self, inner=None))
        return self.of(model, model(batch), batch)

    def of(self, model: Model, logits: Tensor, batch: Batch) -> Tensor:
        """The task's mean loss of these logits."""
        return self.task.loss(model.head, logits, batch)

    def losses(self, model: Model, logits: Tensor, batch: Batch) -> Tensor:
        """The task's loss of each example of these logits, summed over its labels and times its weight [E]."""
        assert isinstance(self.task, Separable), "an objective's check refuses other tasks"
        losses = self.task.losses(model.head, logits, batch)
        return losses if batch.weights is None else losses * batch.weights

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """How far two outputs for the same batch are apart, the mean over its `units`, so that it adds up as the loss.

        0.5 * (KL(p || q) + KL(q || p)) of what they say of each unit, or KL(p || q) alone; see `tasks/losses.py`.
        """
        assert isinstance(self.task, Comparing), "an objective's check refuses other tasks"
        return self.task.divergence(one, other, batch, one_way=one_way)

    def text_mask(self, batch: Batch, width: int) -> Tensor:
        """Which of `width` places carry a token of a text [P, width]: no padding, no special token.

        Nor are the vectors that a method put before the text, by which the body's input is longer than the batch's.
        """
        special = torch.tensor(self.special, dtype=torch.long, device=batch.input_ids.device)
        real = batch.attention_mask.bool() & ~torch.isin(batch.input_ids, special)
        return functional.pad(real, (width - real.shape[1], 0))


def check_separable(task: Task, objective: str) -> None:
    """See that the task's loss can be told apart by example.

    Raises:
        TrainingError: it cannot.
    """
    if not isinstance(task, Separable):
        raise TrainingError(
            f"Objective {objective} tells the losses of single examples apart, which {name_of(TASKS, task)} does not.",
            where="objective",
            to_do="Use another objective, or a task that does: sequence_classification or token_classification.",
        )


def check_comparable(task: Task, objective: str) -> None:
    """See that the task can say how far two outputs are apart.

    Raises:
        TrainingError: it cannot.
    """
    reason = task.incomparable if isinstance(task, Comparing) else "the task does not compare two outputs"
    if reason:
        raise TrainingError(
            f"Objective {objective} compares two outputs for a text, which {name_of(TASKS, task)} cannot: {reason}.",
            where="objective",
            to_do="Use an objective that compares nothing, such as fgm or freelb, or other settings of the task.",
        )
