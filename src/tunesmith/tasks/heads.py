"""The layers that tasks put on a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tunesmith.tasks.crf import LinearChainCRF
from tunesmith.tasks.encoding import Batch


@dataclass(frozen=True, slots=True)
class BodyShape:
    """What a head must know of the body below it.

    Attributes:
        hidden_size: H, the width of a token's state.
        pooling: how the body was trained to turn token states into one: "mean", "cls" or "last".
        dropout: the dropout before the head.
        vocabulary: the number of tokens that the body knows.
        classes: what a classifier that came with the body tells apart; empty without one.
        gives_classes: whether the body gives the logits of these, and not token states.
    """

    hidden_size: int
    pooling: str
    dropout: float
    vocabulary: int
    classes: tuple[str, ...] = ()
    gives_classes: bool = False


@runtime_checkable
class VectorHead(Protocol):
    """A head that makes one vector of each example, and its answer of that alone."""

    def vectors(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Token states [P, T, H] -> the examples' vectors [E, W]; of several windows the mean."""

    def scores(self, vectors: Tensor) -> Tensor:
        """The vectors' logits [E, C]."""


class NoHead(nn.Module):
    """For bodies that come with an output layer over their vocabulary: what they give is the answer already.

    `pairs` says that each example of a batch is a better and a worse answer, for objectives that compare the two.
    """

    def __init__(self, *, pairs: bool = False) -> None:
        super().__init__()
        self.pairs = pairs

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        """The body's logits as they are."""
        return logits


class SequenceHead(nn.Module):
    """Token states [P, T, H] -> logits [E, C]: pooled over tokens, then over an example's windows."""

    def __init__(self, hidden_size: int, outputs: int, pooling: str, window_pooling: str, dropout: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.window_pooling = window_pooling
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, outputs)
        nn.init.normal_(self.output.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Pool, project, and pool the windows of each example."""
        logits = self.scores(pool(hidden, batch.attention_mask, self.pooling))
        if batch.example_of.shape[0] == batch.size:  # len() would make a constant of it in an exported graph
            return logits
        return pool_windows(logits, batch.example_of, batch.size, self.window_pooling)

    def vectors(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The examples' vectors [E, H]."""
        pooled = pool(hidden, batch.attention_mask, self.pooling)
        return (
            pooled
            if len(batch.example_of) == batch.size
            else pool_windows(pooled, batch.example_of, batch.size, "mean")
        )

    def scores(self, vectors: Tensor) -> Tensor:
        """The vectors' logits [E, C]."""
        logits: Tensor = self.output(self.dropout(vectors))
        return logits


def pool_windows(logits: Tensor, example_of: Tensor, size: int, how: str) -> Tensor:
    """Logits [P, C] of windows, those of an example side by side -> [size, C], by mean or maximum.

    The windows are laid out in a table, since adding into shared places has no fixed order on a GPU.
    """
    counts = example_of.bincount(minlength=size)
    place = torch.arange(len(logits), device=logits.device) - (counts.cumsum(0) - counts)[example_of]
    empty = 0.0 if how == "mean" else float("-inf")
    table = logits.new_full((size, int(counts.max()), logits.shape[1]), empty)
    table[example_of, place] = logits
    return table.sum(1) / counts[:, None] if how == "mean" else table.amax(1)


def pool(hidden: Tensor, mask: Tensor, how: str) -> Tensor:
    """Token states [P, T, H] -> one state [P, H]: mean or maximum of the unmasked tokens, the first, or the last."""
    if how == "cls":
        return hidden[:, 0]
    if how == "last":
        last = mask.cumsum(1).argmax(1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    weights = mask[:, :, None].to(hidden.dtype)
    if how == "max":
        return hidden.masked_fill(weights == 0, float("-inf")).amax(1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


MARKS = "gazetteer"
"""The name under which a batch has the marks of its units [P, U], from a gazetteer."""
MARK_SIZE = 32
"""The width of a mark's vector."""


class TokenHead(nn.Module):
    """Token states [P, T, H] -> tag scores [P, U, K] of each unit, read at its first token; with an optional CRF.

    Where units have one of so many `marks`, the mark's learnt vector is read beside the state.
    """

    def __init__(self, hidden_size: int, tags: tuple[str, ...], dropout: float, *, crf: bool, marks: int = 0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.marks = nn.Embedding(marks, MARK_SIZE) if marks else None
        self.output = nn.Linear(hidden_size + MARK_SIZE * bool(marks), len(tags))
        nn.init.normal_(self.output.weight, std=0.02)
        nn.init.zeros_(self.output.bias)
        self.crf = LinearChainCRF(tags, constrained=True) if crf else None

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Gather the units' first tokens and score their tags."""
        index = batch.unit_positions[:, :, None].expand(-1, -1, hidden.shape[-1])
        states = hidden.gather(1, index)
        if self.marks is not None:
            states = torch.cat([states, self.marks(batch.media[MARKS])], dim=-1)
        scores: Tensor = self.output(self.dropout(states))
        return scores
