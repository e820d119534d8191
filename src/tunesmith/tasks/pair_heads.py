"""Two texts read apart: their vectors, and what is computed from these."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.tasks.encoding import Batch
from tunesmith.tasks.heads import BodyShape, pool


class BiEncoderHead(nn.Module):
    """Token states [P, T, H] -> a vector per text [P, H]; for classes also a layer over (u, v, |u - v|).

    Reimers and Gurevych 2019, sec. 3. Without classes it has no weights.
    """

    def __init__(self, shape: BodyShape, pooling: str, classes: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.output = nn.Linear(3 * shape.hidden_size, classes) if classes else None
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=0.02)
            nn.init.zeros_(self.output.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The texts' vectors."""
        return pool(hidden, batch.attention_mask, self.pooling)

    def classify(self, first: Tensor, second: Tensor) -> Tensor:
        """Class logits [E, C] of pairs of vectors [E, H]."""
        assert self.output is not None, "only a classifying head has classes"
        logits: Tensor = self.output(torch.cat([first, second, (first - second).abs()], dim=-1))
        return logits


def both(vectors: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The vectors of the first and of the second texts of the examples that have two, in their order [E, H] each."""
    paired = batch.example_of.bincount(minlength=batch.size)[batch.example_of] == 2
    is_second = torch.zeros_like(paired) if batch.part_of is None else batch.part_of == 1
    return vectors[paired & ~is_second], vectors[paired & is_second]


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of each pair of vectors [E, H] -> [E]."""
    return functional.cosine_similarity(first, second, dim=-1)


def in_batch_contrast(first: Tensor, second: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """The mean InfoNCE loss (van den Oord et al. 2018, eq. 4) of the relevant pairs [E, H], [E, H], [E, 3] -> scalar.

    Each first text must tell its own second text from those of all other pairs of the micro-batch, the irrelevant ones
    included. What is no wrong answer is left out: another relevant second text of the same query, and the same second
    text once more. `targets` holds relevance, and numbers that tell the query and the second text from others.
    Accumulating micro-batches adds no negatives.
    """
    relevant, query, passage = targets[:, 0] > 0, targets[:, 1], targets[:, 2]
    scores = functional.normalize(first, dim=-1) @ functional.normalize(second, dim=-1).T / temperature
    alike = ((query[:, None] == query) & relevant) | (passage[:, None] == passage)
    others = alike & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    places = torch.arange(len(scores), device=scores.device)
    losses = functional.cross_entropy(scores.masked_fill(others, float("-inf")), places, reduction="none")
    return (losses * relevant).sum() / relevant.sum().clamp(min=1)
