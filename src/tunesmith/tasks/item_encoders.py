"""From a history of items to scores of the next one: item vectors out of texts, and two encoders of histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.tasks.encoding import IGNORED, Batch
from tunesmith.tasks.heads import pool, pool_windows

NEIGHBOURS = 50
"""Neighbours per item that item-kNN keeps."""


@dataclass(frozen=True, slots=True)
class ItemShape:
    """What the head of a recommender is made of.

    Attributes:
        hidden: H, the width of the body's states; `size` D is that of item and user vectors.
        pooling: how the token states of an item's text become one.
        encoder: "sequential" or "two_tower".
        layers, heads: of the sequential encoder.
        longest: the most items of a history.
        dropout: of item vectors and in the encoder; `id_dropout` is the share of items whose id is left out of a step.
        known: the numbers of the items with a learnt id.
    """

    hidden: int
    size: int
    pooling: str
    encoder: Literal["sequential", "two_tower"]
    layers: int
    heads: int
    longest: int
    dropout: float
    id_dropout: float
    known: Sequence[int]


class CausalLayer(nn.Module):
    """Self-attention over what came before, and two dense layers; norms stand before each (Xiong et al. 2020)."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.projections = nn.Linear(size, 3 * size)
        self.joined = nn.Linear(size, size)
        self.dense = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * size, size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """States [E, L, D] -> the same, each place with what it and earlier ones hold."""
        size = states.shape[-1]
        parts = self.projections(self.first_norm(states)).unflatten(-1, (3, self.heads, size // self.heads))
        query, key, value = (part.transpose(1, 2) for part in parts.unbind(2))
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.dropout(self.joined(seen.transpose(1, 2).flatten(-2)))
        changed: Tensor = states + self.dropout(self.dense(self.second_norm(states)))
        return changed


class SequentialEncoder(nn.Module):
    """A causal transformer over a history with learnt positions (SASRec, Kang and McAuley 2018, sec. III)."""

    def __init__(self, shape: ItemShape) -> None:
        super().__init__()
        self.positions = nn.Embedding(shape.longest, shape.size)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.layers = nn.Sequential(*(CausalLayer(shape.size, shape.heads, shape.dropout) for _ in range(shape.layers)))
        self.norm = nn.LayerNorm(shape.size)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, items: Tensor) -> Tensor:
        """Item vectors [E, L, D], the oldest first -> the user after each of them [E, L, D]."""
        states: Tensor = self.norm(self.layers(self.dropout(items + self.positions.weight[: items.shape[1]])))
        return states


class TwoTowerEncoder(nn.Module):
    """The mean of a history's item vectors through two dense layers (Covington et al. 2016, sec. 3.2)."""

    def __init__(self, shape: ItemShape) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.LayerNorm(shape.size),
            nn.Linear(shape.size, 4 * shape.size),
            nn.GELU(),
            nn.Dropout(shape.dropout),
            nn.Linear(4 * shape.size, shape.size),
        )

    def forward(self, items: Tensor) -> Tensor:
        """Item vectors [E, L, D], the oldest first -> the user after each of them [E, L, D]."""
        counts = torch.arange(1, items.shape[1] + 1, device=items.device, dtype=items.dtype)
        users: Tensor = self.dense(items.cumsum(1) / counts[:, None])
        return users


class ItemHead(nn.Module):
    """Item vectors from text states (and ids), a user vector from those of the history, and their dot products.

    Attributes:
        states: the pooled body state of every item's text [N, H]; kept, so that answers need no pass of the body.
        settled: whether `states` holds them yet.
        places, cosines: the neighbours of each item and how near they are, for item-kNN [N, K].
    """

    states: Tensor
    settled: Tensor
    places: Tensor
    cosines: Tensor
    has_id: Tensor

    def __init__(self, items: int, shape: ItemShape) -> None:
        super().__init__()
        self.pooling, self.id_dropout = shape.pooling, shape.id_dropout
        self.norm = nn.LayerNorm(shape.hidden)
        self.text = nn.Linear(shape.hidden, shape.size)
        nn.init.normal_(self.text.weight, std=0.02)
        nn.init.zeros_(self.text.bias)
        has_id = torch.zeros(items, 1)
        has_id[list(shape.known)] = 1.0
        self.ids = nn.Embedding(items, shape.size) if shape.known else None
        if self.ids is not None:
            nn.init.zeros_(self.ids.weight)
        self.dropout = nn.Dropout(shape.dropout)
        self.encoder = SequentialEncoder(shape) if shape.encoder == "sequential" else TwoTowerEncoder(shape)
        self.register_buffer("states", torch.zeros(items, shape.hidden))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.register_buffer("has_id", has_id)
        self.register_buffer("places", torch.zeros(items, NEIGHBOURS, dtype=torch.long))
        self.register_buffer("cosines", torch.zeros(items, NEIGHBOURS))

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Token states of the batch's item texts -> the score of each candidate at each place with a target [U, C]."""
        states = self.states
        if (numbers := batch.media["items"]).numel():
            own, pooled = self.pooled(hidden, batch.attention_mask, numbers)
            states = states.index_put((own,), pooled)
        vectors = self.vectors(states)
        users = self.users(vectors, batch.media["history"])
        if batch.targets is not None:
            users = users[batch.targets != IGNORED]
        scores: Tensor = users @ vectors[batch.media["candidates"]].T
        return scores

    def ranked(self, batch: Batch) -> Tensor:
        """The score of every item after each whole history [E, N], by the kept states of the texts."""
        history = batch.media["history"]
        vectors = self.vectors(self.states)
        last = (history >= 0).sum(1).clamp(min=1) - 1
        users = self.users(vectors, history)[torch.arange(len(history), device=history.device), last]
        scores: Tensor = users @ vectors.T
        return scores

    def keep(self, hidden: Tensor, batch: Batch) -> None:
        """Keep the states of the batch's item texts, for all answers from now on."""
        own, pooled = self.pooled(hidden, batch.attention_mask, batch.media["items"])
        self.states[own] = pooled
        self.settled.fill_(True)

    def keep_neighbours(self, places: NDArray[np.int64], cosines: NDArray[np.float64]) -> None:
        """Keep each item's neighbours [N, K] for item-kNN."""
        self.places.copy_(torch.from_numpy(places))
        self.cosines.copy_(torch.from_numpy(cosines))

    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Each item's neighbours and how near they are [N, K]."""
        return self.places.cpu().numpy(), self.cosines.double().cpu().numpy()

    def pooled(self, hidden: Tensor, mask: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct items of the pieces, and the state of each one's text, its windows averaged.

        `numbers` [P] says of which item each piece is; those of an item are side by side.
        """
        own, place = torch.unique_consecutive(numbers, return_inverse=True)
        return own, pool_windows(pool(hidden.float(), mask, self.pooling), place, len(own), "mean")

    def vectors(self, states: Tensor) -> Tensor:
        """The vectors of all items [N, D]: the text's, and for items that training knows what was learnt of the id.

        Ids are left out of some items in training, so that the text alone says enough for items without one.
        """
        found: Tensor = self.text(self.norm(states))
        if self.ids is None:
            return found
        kept = self.has_id
        if self.training and self.id_dropout:
            kept = kept * (torch.rand(kept.shape, device=kept.device) >= self.id_dropout)
        return found + kept * self.ids.weight

    def users(self, vectors: Tensor, history: Tensor) -> Tensor:
        """The user after each item of the histories [E, L], -1 for padding at their ends -> [E, L, D]."""
        users: Tensor = self.encoder(self.dropout(vectors[history.clamp(min=0)]))
        return users
