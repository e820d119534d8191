"""Objectives that train against perturbed inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import RecipeError
from tunesmith.models.model import Model
from tunesmith.tasks.encoding import Batch


@dataclass(frozen=True)
class FGM:
    """Add the loss under the worst small step of the word embeddings (Miyato et al. 2017, sec. 3, eq. 5-7).

    The step has L2 norm `epsilon` per piece and is taken at the embeddings' output, so that it works with frozen
    embeddings and leaves the table, which may be tied to other weights, alone; padding is not moved.

    Attributes:
        epsilon: L2 norm of the step.
        weight: weight of the loss under the step, beside the clean one.
    """

    epsilon: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.epsilon <= 0 or self.weight <= 0:
            raise RecipeError(
                "FGM with epsilon or weight of 0 or less has no effect.",
                where="objective",
                to_do="Use positive numbers, or objective: task.",
            )

    def __call__(self, model: Model, batch: Batch, loss: Callable[[Model, Batch], Tensor]) -> Tensor:
        """Clean loss + weight * loss at embeddings + epsilon * gradient / |gradient|."""
        with _recorded_embeddings(model) as seen:
            clean = loss(model, batch)
        (gradient,) = torch.autograd.grad(clean, seen, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise RecipeError(
                "FGM has no effect: the loss does not depend on the word embeddings.",
                where="objective",
                to_do="Let the task read texts at every step (learn_texts: true), or use objective: task.",
            )
        step = self.perturbation(gradient, batch.attention_mask)
        with _shifted_embeddings(model, step):
            return clean + self.weight * loss(model, batch)

    def perturbation(self, gradient: Tensor, mask: Tensor) -> Tensor:
        """The step [P, T, H] along the gradient, of norm epsilon per piece; zero on padding or without a gradient."""
        # Vectors that a method put before the text stay where they are.
        real = functional.pad(mask, (gradient.shape[1] - mask.shape[1], 0))
        kept = gradient.float() * real[:, :, None]
        norm = kept.flatten(1).norm(dim=1)[:, None, None]
        return torch.where((norm > 0) & norm.isfinite(), self.epsilon * kept / norm, 0.0).to(gradient.dtype)

    def check(self, model: Model) -> None:
        """Always has an effect: the step is taken whether or not the embeddings learn."""


@contextmanager
def _recorded_embeddings(model: Model) -> Iterator[list[Tensor]]:
    """Collect the word embeddings' outputs as tensors whose gradient can be taken, even when the table is frozen."""
    seen: list[Tensor] = []

    def record(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        tracked = output if output.requires_grad else output.detach().requires_grad_()
        seen.append(tracked)
        return tracked

    with _hooked(model.word_embeddings, record):
        yield seen


@contextmanager
def _shifted_embeddings(model: Model, step: Tensor) -> Iterator[None]:
    """Add `step` to the word embeddings' output."""
    with _hooked(model.word_embeddings, lambda _module, _inputs, output: output + step):
        yield


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[nn.Module, object, Tensor], Tensor]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
