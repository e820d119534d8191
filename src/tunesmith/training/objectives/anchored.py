"""Objectives that hold the weights where they began."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives.ranges import check_positive


@dataclass(frozen=True)
class L2SP:
    """Hold the learning weights near their pre-trained values, and new ones near zero (Li et al. 2018, eq. 3).

    loss + alpha / 2 * |w - w0|^2 over the weights that the pre-trained model held, + beta / 2 * |w|^2 over those that
    it lacks; the gradients are alpha * (w - w0) and beta * w. It takes the place of weight decay: set
    optimizer.weight_decay to 0, or the weights are also drawn to zero. Keeps a copy of the pre-trained weights.

    Needs: a method that moves pre-trained weights (not lora and its kin, whose new weights begin at no change).

    Attributes:
        alpha: how strongly pre-trained weights are held.
        beta: how strongly new weights are.
    """

    alpha: float = 0.01
    beta: float = 0.01

    def __post_init__(self) -> None:
        check_positive("l2_sp", {"alpha": self.alpha})
        if self.beta < 0:
            raise RecipeError("beta must not be negative.", where="objective.beta", to_do="0.01 is usual.")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The task's loss and the penalty."""
        return criterion(model, batch) + self.penalty(model)

    def penalty(self, model: Model) -> Tensor:
        """Alpha / 2 * |w - w0|^2 + beta / 2 * |w|^2 over what learns now."""
        starts = self._starts[model]
        words = model.word_embeddings
        by_rows = words.weight if isinstance(words, nn.Embedding) and words.sparse else None
        total = torch.zeros((), device=model.device)
        for name, weight in model.named_parameters():
            if not weight.requires_grad:
                continue
            if name in starts:
                # Kept in the precision in which the layer computes: rounding is no move.
                start = starts[name] = starts[name].to(weight)
                move = _moved_rows(weight, start) if weight is by_rows else weight - start
                total = total + 0.5 * self.alpha * move.float().pow(2).sum()
            elif self.beta:
                total = total + 0.5 * self.beta * weight.float().pow(2).sum()
        return total

    def check(self, model: Model, task: Task) -> None:
        """See that pre-trained weights learn, and keep them.

        Raises:
            TrainingError: none of them does.
        """
        held = model.plain - model.lacking
        known = {name: weight for name, weight in model.named_parameters() if name in held}
        if not any(weight.requires_grad for weight in known.values()):
            raise TrainingError(
                "L2-SP holds learning weights at their pre-trained values, and this method moves none of those.",
                where="objective",
                to_do="Use a method that does, such as full, top_layers or bitfit, or objective: task.",
            )
        if model not in self._starts:
            later = model.rule is not None  # it may open further ones between steps
            self._starts[model] = {
                name: weight.detach().clone() for name, weight in known.items() if later or weight.requires_grad
            }

    @cached_property
    def _starts(self) -> WeakKeyDictionary[Model, dict[str, Tensor]]:
        """The pre-trained weights of each model before its first step."""
        return WeakKeyDictionary()


def _moved_rows(table: Tensor, start: Tensor) -> Tensor:
    """How far the rows of an embedding table that are not at their start have gone [R, H].

    Of a table whose rows move only where a batch used them most have not moved, and so have neither penalty nor
    gradient; a sparse gradient names the others alone.
    """
    rows = (table.detach() != start).any(1).nonzero()[:, 0]
    return nn.functional.embedding(rows, table, sparse=True) - start[rows]
