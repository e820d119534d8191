"""An average of a model's earlier weights, beside which its answers can be held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.models.model import Model
from tunesmith.tasks import Batch


@dataclass
class Teacher:
    """The running average of the learning weights, in float32: average = momentum * average + (1 - momentum) * now.

    It begins with the weights before the first step.
    """

    model: Model
    momentum: float
    average: dict[str, Tensor] = field(default_factory=dict)

    def before(self, batches: Sequence[Batch]) -> None:
        """Take the weights as they stand before the first step."""
        if not self.average:
            later = self.model.rule is not None  # a method's rule may open further ones between steps
            weights = sorted(
                self.model.named_parameters(), key=lambda one: one[0]
            )  # the order of a checkpoint, which sums depend on
            self.average = {
                name: weight.detach().float().clone() for name, weight in weights if later or weight.requires_grad
            }

    def after(self) -> None:
        """Move the average towards the weights as they stand now."""
        weights = dict(self.model.named_parameters())
        for name, value in self.average.items():
            now = weights[name].detach().float()
            self.average[name] = value.to(now) * self.momentum + now * (1 - self.momentum)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the average weights for the time of the block, which must take no gradient."""
        weights = dict(self.model.named_parameters())
        now = {name: weights[name].data for name in self.average}
        try:
            for name, value in self.average.items():
                weights[name].data = value.to(now[name])
            yield
        finally:
            for name, kept in now.items():
                weights[name].data = kept

    def noted(self) -> Mapping[str, float]:
        """How far the weights are from their average, as the norm of the difference."""
        weights = dict(self.model.named_parameters())
        squares = [
            (weights[name].detach().float() - value.to(weights[name].device)).pow(2).sum()
            for name, value in self.average.items()
        ]
        return {"distance from the average": float(torch.stack(squares).sum().sqrt())} if squares else {}

    def state(self) -> dict[str, Tensor]:
        """The average."""
        return self.average

    def load_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take up the average."""
        self.average = {name: kept[name] for name in sorted(kept)}
