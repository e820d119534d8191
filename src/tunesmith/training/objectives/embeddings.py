"""Perturbations of the word embeddings' output, put in by hooks; the table itself, which may be tied, is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError
from tunesmith.models.model import Model


@contextmanager
def recorded_embeddings(model: Model) -> Iterator[list[Tensor]]:
    """Collect the word embeddings' outputs as tensors whose gradient can be taken, even when the table is frozen."""
    seen: list[Tensor] = []

    def record(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        tracked = output if output.requires_grad else output.detach().requires_grad_()
        seen.append(tracked)
        return tracked

    with _hooked(model.word_embeddings, record):
        yield seen


@contextmanager
def changed_embeddings(model: Model, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put `change` of the word embeddings' output in its place."""
    with _hooked(model.word_embeddings, lambda _module, _inputs, output: change(output)):
        yield


@contextmanager
def shifted_embeddings(model: Model, step: Tensor) -> Iterator[None]:
    """Add `step` to the word embeddings' output."""
    with changed_embeddings(model, lambda output: output + step.to(output.dtype)):
        yield


@contextmanager
def moved_embeddings(model: Model, make: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Add to the word embeddings' output what `make` makes of it, once, as a tensor whose gradient can be taken."""
    made: list[Tensor] = []

    def move(output: Tensor) -> Tensor:
        if not made:
            made.append(make(output).detach().requires_grad_())
        return output + made[0].to(output.dtype)

    with changed_embeddings(model, move):
        yield made


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[nn.Module, object, Tensor], Tensor]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def of_length(direction: Tensor, mask: Tensor, length: float) -> Tensor:
    """The direction [P, T, H] in float32 with L2 norm `length` per piece, zero outside of `mask` [P, T].

    A piece without a direction, or with one that is no number, is not moved.
    """
    kept = direction.float() * mask[:, :, None]
    norm = kept.flatten(1).norm(dim=1)[:, None, None]
    return torch.where((norm > 0) & norm.isfinite(), length * kept / norm, 0.0)


def within(step: Tensor, radius: float) -> Tensor:
    """The step [P, T, H], each piece's shortened to an L2 norm of at most `radius`."""
    norm = step.flatten(1).norm(dim=1)[:, None, None]
    return torch.where(norm > radius, step * (radius / norm), step)


def climb(
    value: Callable[[Tensor], Tensor], start: Tensor, advance: Callable[[Tensor, Tensor], Tensor], steps: int
) -> Tensor:
    """From `start`, `steps` times to where `advance` leads from a place and the gradient of `value` there."""
    place = start
    for _ in range(steps):
        leaf = place.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(value(leaf), leaf, allow_unused=True)
        place = advance(leaf.detach(), needed(gradient))
    return place


def needed(gradient: Tensor | None) -> Tensor:
    """The gradient of a loss with respect to what lies between it and the word embeddings.

    Raises:
        RecipeError: there is none.
    """
    if gradient is None:
        raise RecipeError(
            "The objective has no effect: the loss does not depend on the word embeddings.",
            where="objective",
            to_do="Let the task read texts at every step (learn_texts: true), or use objective: task.",
        )
    return gradient
