"""A trained encoder as a function of tensors alone, for what writes it as a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tunesmith.models.anatomy import core, token_type_table
from tunesmith.models.model import Model
from tunesmith.tasks.encoding import Batch
from tunesmith.tasks.heads import SequenceHead, TokenHead

SHARE = 3e-5
"""How far a graph's float32 outputs may be from torch's, of the largest: sums in another order leave about 1e-6."""
STATES, LOGITS = "states", "logits"


class Traced(nn.Module):
    """The body, and its head where that can be traced, as a function of tensors alone.

    Attributes:
        names: its inputs, each [P, T].
        outputs: `states` [P, T, H], and `logits` where the head is traced too: [P, C] or, for units, [P, T, K].
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.names = input_names(model)
        self.with_head = can_trace_head(model.head) and not model.gives_classes
        self.outputs = (LOGITS,) if model.gives_classes else (STATES, LOGITS)[: 1 + self.with_head]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs."""
        given = dict(zip(self.names, tensors, strict=True))
        kinds = given.pop("token_kinds", None)
        model = self.model
        if model.gives_classes:
            logits: Tensor = model.asked(model.body, given, kinds).logits
            return (logits,)
        states: Tensor = model.asked(core(model.body), given, kinds).last_hidden_state
        if not self.with_head:
            return (states,)
        ids, mask = given["input_ids"], given["attention_mask"]
        pieces, length = ids.shape
        places = torch.arange(length).unsqueeze(0).expand(pieces, length)
        batch = Batch(ids, mask, None, places, mask.bool(), torch.arange(pieces), None, pieces, 1.0)
        return states, model.head(states.float(), batch)


def input_names(model: Model) -> tuple[str, ...]:
    """What the body's graph reads, each [P, T]: ids and mask, token types where it tells these apart, or kinds."""
    names = ["input_ids", "attention_mask"]
    table = token_type_table(model.body)
    if table is not None and table.num_embeddings > 1:
        names.append("token_type_ids")
    return (*names, "token_kinds") if model.kinds is not None else tuple(names)


def can_trace_head(head: nn.Module) -> bool:
    """Whether the head reads nothing but states, so that other programs can ask the graph for its logits."""
    return isinstance(head, SequenceHead) or (isinstance(head, TokenHead) and head.marks is None)


def example_inputs(model: Model, names: Sequence[str], pieces: int, tokens: int) -> list[Tensor]:
    """Inputs of a shape: ids that differ, pieces of several lengths, types and kinds where the graph reads them."""
    drawn = torch.Generator().manual_seed(pieces * 1_000 + tokens)
    mask = torch.ones(pieces, tokens, dtype=torch.long)
    for row in range(1, pieces):
        mask[row, max(1, tokens * (pieces - row) // pieces) :] = 0
    words, types = cast(nn.Embedding, model.body.get_input_embeddings()), token_type_table(model.body)
    limits = {
        "input_ids": words.num_embeddings,
        "token_type_ids": 2 if types is None else types.num_embeddings,
        "token_kinds": 1 if model.kinds is None else model.kinds.table.num_embeddings,
    }
    return [
        mask if name == "attention_mask" else torch.randint(0, limits[name], (pieces, tokens), generator=drawn)
        for name in names
    ]


def largest_difference(
    traced: Traced, every: Iterable[Sequence[Tensor]], asked: Callable[[Mapping[str, Tensor]], Sequence[Tensor]]
) -> tuple[float, float]:
    """The largest difference between torch's outputs and a graph's where there is text, and over the largest one.

    Args:
        traced: what the graph was written from.
        every: inputs in the order of its names, each [P, T].
        asked: gives the graph's outputs, in the order of `traced.outputs`.
    """
    gaps, sizes = dict.fromkeys(traced.outputs, 0.0), dict.fromkeys(traced.outputs, 0.0)
    for given in every:
        with torch.inference_mode():
            expected = traced(*[tensor.to(traced.model.device) for tensor in given])
        inputs = dict(zip(traced.names, given, strict=True))
        is_text = inputs["attention_mask"].bool()
        for name, one, other in zip(traced.outputs, expected, asked(inputs), strict=True):
            if one.shape != other.shape:
                return math.inf, math.inf
            ours, theirs = (t[is_text] if t.dim() == 3 else t for t in (one.cpu(), other))
            gap = float((ours - theirs).abs().max())
            gaps[name] = max(gaps[name], gap if math.isfinite(gap) else math.inf)
            sizes[name] = max(sizes[name], float(ours.abs().max()))
    # What is zero in both is alike; what is zero in torch alone is not.
    shares = [gap / sizes[name] if sizes[name] else math.inf for name, gap in gaps.items() if gap]
    return max(gaps.values()), max(shares, default=0.0)
