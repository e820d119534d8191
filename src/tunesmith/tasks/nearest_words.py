"""Words that are remembered with their tags, and how far other words are from the nearest of each tag."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.tasks.encoding import IGNORED, Batch

Distance = Literal["euclidean", "cosine"]

UNKNOWN = -1e9
"""The score of a tag that no remembered word has: below that of any distance, and finite in every sum."""
_ROWS = 1024
"""Words whose distances to all that is remembered are held at once."""


class NearestWords(nn.Module):
    """Token states [P, T, H] -> the states of words [P, U, H], read at their first token; remembers `sum(kept)` words.

    The memory holds the words of each tag side by side: `kept[k]` rows for tag k. It is filled by `remember`.
    """

    def __init__(self, hidden_size: int, kept: Sequence[int], distance: Distance, neighbours: int) -> None:
        super().__init__()
        self.kept = tuple(kept)
        self.distance: Distance = distance
        self.neighbours = neighbours
        self.register_buffer("memory", torch.zeros(sum(kept), hidden_size))

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Gather the units' first tokens."""
        return hidden.gather(1, batch.unit_positions[:, :, None].expand(-1, -1, hidden.shape[-1]))

    def remember(self, by_tag: Sequence[Tensor]) -> None:
        """Take the states [kept[k], H] of each tag's words as memory."""
        memory = self.get_buffer("memory")
        memory.copy_(torch.cat(list(by_tag)).to(memory))

    def nearness(self, states: Tensor) -> Tensor:
        """Words [N, H] -> for each tag the mean of minus the distances to its `neighbours` nearest words [N, K]."""
        return torch.cat([self._nearness(part) for part in torch.split(states.float(), _ROWS)])

    def _nearness(self, states: Tensor) -> Tensor:
        found = states.new_full((len(states), len(self.kept)), UNKNOWN)
        for tag, words in enumerate(torch.split(self.get_buffer("memory"), list(self.kept))):
            if len(words):
                near = distances(states, words, self.distance)
                near = near.topk(min(self.neighbours, len(words)), dim=1, largest=False).values
                found[:, tag] = -near.mean(1)
        return found


def distances(first: Tensor, second: Tensor, distance: Distance) -> Tensor:
    """The distance of each of the vectors [N, H] from each of [M, H]: [N, M].

    "euclidean" is the squared distance over the number of dimensions, "cosine" one minus the cosine.
    """
    if distance == "cosine":
        return 1 - functional.normalize(first, dim=-1) @ functional.normalize(second, dim=-1).T
    squares = first.pow(2).sum(-1)[:, None] + second.pow(2).sum(-1) - 2 * first @ second.T
    return squares.clamp(min=0) / first.shape[-1]


def neighbour_loss(states: Tensor, tags: Tensor, distance: Distance, temperature: float) -> Tensor:
    """The soft nearest neighbour loss (Frosst et al. 2019, eq. 1) of words [N, H] with tags [N], as a mean over them.

    For each word it is minus the log of the probability that a neighbour, drawn among the batch's other words by
    the softmax of minus their distances, has its tag. Words whose tag no other has do not count.
    """
    real = tags != IGNORED
    states, tags = states[real], tags[real]
    itself = torch.eye(len(tags), dtype=torch.bool, device=tags.device)
    scores = (-distances(states, states, distance) / temperature).masked_fill(itself, UNKNOWN)
    alike = (tags[:, None] == tags) & ~itself
    losses = scores.logsumexp(-1) - scores.masked_fill(~alike, UNKNOWN).logsumexp(-1)
    return (losses * alike.any(-1)).sum() / max(len(tags), 1)


def thinned(counts: Sequence[int], most: int) -> tuple[int, ...]:
    """The most that may be kept of each tag's words so that all are at most `most`: the frequent ones give way.

    All tags with more words than a common level are cut to it.
    """
    if sum(counts) <= most:
        return tuple(counts)
    low, high = 0, max(counts)
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if sum(min(count, level) for count in counts) <= most else (low, level - 1)
    return tuple(min(count, low) for count in counts)


class Choice:
    """Which of a tag's words are kept, as they come by: `kept` of `count`, spread evenly."""

    def __init__(self, count: int, kept: int) -> None:
        self._count = max(count, 1)
        self._kept = kept
        self._seen = 0

    def of(self, size: int) -> Tensor:
        """Whether each of the next `size` words is kept."""
        numbers = torch.arange(self._seen, self._seen + size + 1) * self._kept // self._count
        self._seen += size
        return numbers[1:] > numbers[:-1]


def moves(tags: Sequence[str]) -> tuple[int, ...]:
    """How often each of `MOVES` occurs in a sequence of IOB2 tags."""
    kinds = ["start", *(tag[:1] for tag in tags)]
    pairs = [("in" if a in "BI" else a) + " " + b for a, b in itertools.pairwise(kinds)]
    return tuple(pairs.count(move) for move in MOVES)


MOVES = ("start O", "start B", "O O", "O B", "in O", "in B", "in I")
"""Abstract transitions: from the start, from outside, or from inside an entity; to O, to any B, or further inside."""


def transitions(tags: Sequence[str], counts: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """Log-scores [K, K] of steps from row to column and [K] of starts; minus infinity for what IOB2 does not allow.

    Without counts all else is alike. With them (of `MOVES`, one added to each) the probability of a step to any B is
    shared evenly among the types (Yang and Katiyar 2020, sec. 3.2).
    """
    known = dict(zip(MOVES, counts, strict=True)) if counts else {}
    types = sum(tag.startswith("B-") for tag in tags)

    def score(before: str, tag: str) -> float:
        kind = before if before in ("start", "O") else "in"
        if tag.startswith("I-") and before not in (f"B-{tag[2:]}", tag):
            return -math.inf
        if not known:
            return 0.0
        total = sum(count + 1 for move, count in known.items() if move.startswith(kind))
        share = types if tag.startswith("B-") else 1
        return math.log((known[f"{kind} {tag[:1]}"] + 1) / total / share)

    steps = torch.tensor([[score(before, tag) for tag in tags] for before in tags])
    return steps, torch.tensor([score("start", tag) for tag in tags])
