"""How much a model's loss would feel the loss of a head or a neuron: gates, and their gradients on examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from tunesmith.compression.trained import Trained
from tunesmith.models.shapes import Block, blocks_of
from tunesmith.tasks import Batch

Part = Literal["heads", "neurons"]


def counts(blocks: Sequence[Block], part: Part) -> list[int]:
    """How many heads or neurons each layer has."""
    return [len(block.heads) if part == "heads" else block.neurons for block in blocks]


@contextmanager
def gated(blocks: Sequence[Block], part: Part, gates: Sequence[Tensor]) -> Iterator[None]:
    """The model with the output of each head or neuron times its gate.

    A layer's gates are [N], or [P, N] with those of each row of the batch.
    """

    def hook(block: Block, gate: Tensor) -> torch.utils.hooks.RemovableHandle:
        wide = gate.repeat_interleave(block.head_size, -1) if part == "heads" else gate

        def pass_gate(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            shown = wide[:, None, :] if wide.ndim == 2 else wide
            return (inputs[0] * shown, *inputs[1:])

        return (block.output if part == "heads" else block.narrowing).register_forward_pre_hook(pass_gate)

    handles = [hook(block, gate) for block, gate in zip(blocks, gates, strict=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def importances(trained: Trained, batches: Iterable[Batch], part: Part) -> list[Tensor]:
    """The mean over examples of |d loss / d gate| at gates of 1, per layer [N] (Michel et al. 2019, eq. 2).

    The loss of an example is its part of the batch's; what several windows of one text add to a gate is summed first.
    """
    model = trained.model.eval()
    blocks = blocks_of(model.body)
    sizes = counts(blocks, part)
    sums = [torch.zeros(size, dtype=torch.float64) for size in sizes]
    seen = 0
    for batch in batches:
        rows = () if batch.size == 1 else (len(batch.input_ids),)  # one long text passes through in parts
        gates = [torch.ones(*rows, size, device=model.device, requires_grad=True) for size in sizes]
        with gated(blocks, part, gates):
            loss = trained.task.loss(model.head, model(batch), batch) * batch.units
        found = torch.autograd.grad(loss, gates)
        sums = [total + _by_example(gradient, batch) for total, gradient in zip(sums, found, strict=True)]
        seen += batch.size
    return [total / max(1, seen) for total in sums]


def _by_example(gradient: Tensor, batch: Batch) -> Tensor:
    """The sum over examples of the absolute gradients of their gates [N]."""
    if gradient.ndim == 1:
        return gradient.double().abs().cpu()
    summed = torch.zeros(batch.size, gradient.shape[1], dtype=torch.float64)
    real = batch.example_of < batch.size  # what is read beside the examples belongs to none
    return summed.index_add(0, batch.example_of[real].cpu(), gradient[real].double().cpu()).abs().sum(0)
