"""Objectives that train against perturbed inputs.

Their radius is an L2 norm over all tokens of a piece, at the embeddings' output as it is: a sentence of MiniLM's has a
norm of about 5 there, and a worst step of 1.0 hides its label, so that nothing is learnt (500 film reviews, accuracy
0.51 beside 0.75). The radius 5 of Miyato et al. is of embeddings with unit variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.errors import RecipeError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives.embeddings import (
    climb,
    moved_embeddings,
    needed,
    of_length,
    recorded_embeddings,
    shifted_embeddings,
    within,
)
from tunesmith.training.objectives.ranges import check_positive
from tunesmith.training.objectives.replay import Replay, beside


@dataclass(frozen=True)
class FGM:
    """Add the loss under the worst small step of the word embeddings (Miyato et al. 2017, sec. 3, eq. 5-7).

    The step has L2 norm `epsilon` per piece and is taken at the embeddings' output, so that it works with frozen
    embeddings and leaves the table, which may be tied to other weights, alone; padding is not moved.

    Attributes:
        epsilon: L2 norm of the step.
        weight: weight of the loss under the step, beside the clean one.
    """

    epsilon: float = 0.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive("fgm", {"epsilon": self.epsilon, "weight": self.weight})

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """Clean loss + weight * loss at embeddings + epsilon * gradient / |gradient|.

        The clean pass goes back once, for the step and for the weights together.
        """
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with recorded_embeddings(model) as seen:
            clean = criterion(model, batch)
        found: list[Tensor | None] = [*torch.autograd.grad(clean, [*seen, *learning], allow_unused=True)]
        # More than one where the loss itself takes several passes, all of which are moved alike.
        slope = needed(reduce(_sum, found[: len(seen)]))
        learnt: Tensor = _WithGradients.apply(clean.detach(), found[len(seen) :], *learning)  # type: ignore[no-untyped-call]
        with shifted_embeddings(model, self.perturbation(slope, batch.attention_mask)):
            return learnt + self.weight * criterion(model, batch)

    def perturbation(self, gradient: Tensor, mask: Tensor) -> Tensor:
        """The step [P, T, H] along the gradient, of norm epsilon per piece; zero on padding or without a gradient."""
        # Vectors that a method put before the text stay where they are.
        real = functional.pad(mask, (gradient.shape[1] - mask.shape[1], 0))
        return of_length(gradient, real, self.epsilon).to(gradient.dtype)

    def check(self, model: Model, task: Task) -> None:
        """Always has an effect: the step is taken whether or not the embeddings learn."""


@dataclass(frozen=True)
class PGD:
    """Add the loss at the worst place that several small steps reach within a ball (Madry et al. 2018, sec. 2.1).

    Each step goes along the gradient at the word embeddings' output and back into the ball, which has the L2 norm
    `epsilon` per piece; padding and special tokens are not moved. All passes drop the same units, so that the network
    attacked is the one that learns. Costs `steps` + 2 passes.

    Attributes:
        epsilon: L2 norm of the ball's radius.
        step_size: L2 norm of a step.
        steps: how many steps are made.
        weight: weight of the loss at the place found, beside the clean one.
    """

    epsilon: float = 0.1
    step_size: float = 0.05
    steps: int = 3
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive(
            "pgd", {"epsilon": self.epsilon, "step_size": self.step_size, "steps": self.steps, "weight": self.weight}
        )

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """Clean loss + weight * loss at the place found."""
        replay = Replay.now(model.device)
        with recorded_embeddings(model) as seen:
            clean = criterion(model, batch)
        step = self.perturbation(model, batch, criterion, seen[0], replay)
        replay.again()
        with shifted_embeddings(model, step):
            return clean + self.weight * criterion(model, batch)

    def perturbation(self, model: Model, batch: Batch, criterion: Criterion, around: Tensor, replay: Replay) -> Tensor:
        """The way [P, T, H] from the embeddings' output `around` to the worst place found."""
        mask = criterion.text_mask(batch, around.shape[1])

        def loss_at(step: Tensor) -> Tensor:
            replay.again()
            with shifted_embeddings(model, step):
                return criterion(model, batch)

        def onwards(step: Tensor, gradient: Tensor) -> Tensor:
            return within(step + of_length(gradient, mask, self.step_size), self.epsilon)

        start = torch.zeros_like(around, dtype=torch.float32)
        return climb(loss_at, start, onwards, self.steps)

    def check(self, model: Model, task: Task) -> None:
        """Always has an effect, as FGM."""


@dataclass(frozen=True)
class FreeLB:
    """Learn from every step of an ascent at once, not from its end alone (Zhu et al. 2020, sec. 3.2, algorithm 1).

    The ascent starts at a random place in the ball at the word embeddings' output; the weights' gradient is the mean of
    those at the `steps` places it passes, which the same backward passes give as the direction of each step. All
    passes drop the same units, without which the steps would climb different losses (their sec. 3.3). Padding and
    special tokens are not moved. Costs `steps` passes, and a second copy of the gradients.

    Attributes:
        epsilon: L2 norm of the ball's radius per piece.
        step_size: L2 norm of a step.
        steps: at how many places the gradients are taken.
    """

    epsilon: float = 0.1
    step_size: float = 0.05
    steps: int = 3

    def __post_init__(self) -> None:
        check_positive("freelb", {"step_size": self.step_size, "steps": self.steps})
        if self.epsilon < 0:
            raise RecipeError("epsilon must not be negative.", where="objective.epsilon", to_do="0.1 is a good start.")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The mean of the losses at all places."""
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        replay, generator = beside(model.device)
        total = torch.zeros((), device=model.device)
        sums: list[Tensor | None] = [None] * len(learning)
        make: Callable[[Tensor], Tensor] = partial(self.start, criterion=criterion, batch=batch, generator=generator)
        for _ in range(self.steps):
            replay.again()
            with moved_embeddings(model, make) as places:
                loss = criterion(model, batch) / self.steps
            slope, *gradients = torch.autograd.grad(loss, [*places, *learning], allow_unused=True)
            sums = [_sum(before, now) for before, now in zip(sums, gradients, strict=True)]
            total = total + loss.detach()
            make = partial(self._further, places[0].detach(), slope, criterion.text_mask(batch, places[0].shape[1]))
        found: Tensor = _WithGradients.apply(total, sums, *learning)  # type: ignore[no-untyped-call]
        return found

    def start(self, like: Tensor, criterion: Criterion, batch: Batch, generator: torch.Generator) -> Tensor:
        """Uniform numbers in [-epsilon, epsilon] / sqrt(text tokens * H), so that each piece's lie in the ball."""
        mask = criterion.text_mask(batch, like.shape[1])
        drawn = torch.rand(like.shape, generator=generator).to(like.device) * 2 - 1
        sizes = (mask.sum(1) * like.shape[2]).clamp(min=1)[:, None, None]
        return self.epsilon * drawn * mask[:, :, None] / sizes.sqrt()

    def _further(self, place: Tensor, slope: Tensor | None, mask: Tensor, like: Tensor) -> Tensor:
        return within(place + of_length(needed(slope), mask, self.step_size), self.epsilon)

    def check(self, model: Model, task: Task) -> None:
        """Has an effect where the ball is larger than a point.

        Raises:
            RecipeError: it is a point.
        """
        check_positive("freelb", {"epsilon": self.epsilon})


def _sum(before: Tensor | None, now: Tensor | None) -> Tensor | None:
    return now if before is None else before if now is None else before + now


class _WithGradients(torch.autograd.Function):
    """A number whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor | None], *_learning: Tensor) -> Tensor:
        """The number."""
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients."""
        (factor,) = upstream
        scaled = [None if known is None else known * factor.to(known.dtype) for known in ctx.gradients]
        return None, None, *scaled
