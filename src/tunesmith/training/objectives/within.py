"""What the layers of two models compute within, and how far apart it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.models.anatomy import layer_list
from tunesmith.models.model import Model
from tunesmith.models.shapes import blocks_of
from tunesmith.tasks import Batch


@dataclass
class Within:
    """What was seen of one pass.

    Attributes:
        states: each layer's output [P, T, H].
        queries, keys: each layer's projections [P, T, A * D]; nothing where these were not asked for.
        head_size: D.
    """

    states: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    head_size: int = 0

    def scores(self, layer: int) -> Tensor:
        """A layer's attention scores before the softmax [P, A, T, T]."""
        one, other = (self._heads(values[layer]) for values in (self.queries, self.keys))
        return one @ other.transpose(-1, -2) / math.sqrt(self.head_size)

    def _heads(self, values: Tensor) -> Tensor:
        """The parts of each head [P, A, T, D]."""
        rows, places, width = values.shape
        return values.float().view(rows, places, width // self.head_size, self.head_size).transpose(1, 2)


@contextmanager
def looked_into(model: Model, *, attention: bool) -> Iterator[Within]:
    """What a pass within the block computes, in each of the body's layers."""
    seen = Within()
    handles = []

    def note(part: nn.Module, values: list[Tensor]) -> None:
        place = len(values)
        values.append(torch.empty(0))

        def take(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found: Tensor = output[0] if isinstance(output, tuple) else output
            # A long text passes through in several parts.
            values[place] = torch.cat([values[place].to(found), found]) if len(values[place]) else found

        handles.append(part.register_forward_hook(take))

    for layer in layer_list(model.body)[1]:
        note(layer, seen.states)
    for block in blocks_of(model.body) if attention else ():
        seen.head_size = block.head_size
        note(block.projections[0], seen.queries)
        note(block.projections[1], seen.keys)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def uniform(student: int, teacher: int) -> list[int]:
    """Which of the teacher's layers each of the student's learns from, spread evenly (Jiao et al. 2020, sec. 3.1)."""
    return [math.ceil((place + 1) * teacher / student) - 1 for place in range(student)]


def state_distance(ours: Within, theirs: Within, batch: Batch) -> Tensor:
    """The mean squared difference of the states of matched layers (Jiao et al. 2020, eq. 8, without a projection).

    A mean over the tokens of each piece, summed over pieces and divided by the batch's `units`, so that it adds up as
    the loss does however a step is cut; padding does not count.
    """
    real = batch.attention_mask.float()
    total = ours.states[0].new_zeros((), dtype=torch.float32)
    for place, match in enumerate(uniform(len(ours.states), len(theirs.states))):
        gap = (ours.states[place].float() - theirs.states[match].float()).pow(2).mean(-1)
        total = total + ((gap * real).sum(1) / real.sum(1).clamp(min=1)).sum()
    return total / (len(ours.states) * batch.units)


def attention_distance(ours: Within, theirs: Within, batch: Batch) -> Tensor:
    """The mean squared difference of the attention scores of matched layers (Jiao et al. 2020, eq. 7).

    As for states; a pair of places counts where both carry a token.
    """
    real = batch.attention_mask.float()
    pairs = real[:, :, None] * real[:, None, :]
    total = ours.queries[0].new_zeros((), dtype=torch.float32)
    for place, match in enumerate(uniform(len(ours.queries), len(theirs.queries))):
        gap = (ours.scores(place) - theirs.scores(match)).pow(2).mean(1)
        total = total + ((gap * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)).sum()
    return total / (len(ours.queries) * batch.units)
