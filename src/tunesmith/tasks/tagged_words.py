"""Rows of tag scores laid out for decoding, tags as spans on the text, and the window in which a word is judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.scoring.entities import word_ranges
from tunesmith.tasks.encoding import Batch, Encoded


def by_example(rows: Tensor, batch: Batch) -> list[Tensor]:
    """The rows [N, K] of a batch's units in their order, parted by example, in fp32 on the CPU."""
    counts = torch.zeros(batch.size, dtype=torch.long)
    counts.index_add_(0, batch.example_of.cpu(), batch.unit_mask.sum(1).cpu())
    return list(torch.split(rows.float().cpu(), counts.tolist()))


def units_of(example: Example) -> list[tuple[int, int]]:
    """The characters of the words that are tagged: those given, or else those of running text."""
    return list(example.words) if example.words is not None else word_ranges(example.text)


def by_piece(item: Encoded, values: NDArray[Any]) -> list[NDArray[Any]]:
    """What each unit of an example has, parted by the pieces in which the units are judged."""
    return np.split(values, np.cumsum([len(piece.unit_positions) for piece in item.pieces])[:-1])


def laid_out(outputs: Sequence[Tensor], tags: int) -> tuple[Tensor, Tensor]:
    """The tag scores of several examples as [E, W, K], and which words are real [E, W]."""
    width = max((len(row) for row in outputs), default=0)
    scores = torch.zeros(len(outputs), width, tags)
    mask = torch.zeros(len(outputs), width, dtype=torch.bool)
    for index, row in enumerate(outputs):
        scores[index, : len(row)] = row
        mask[index, : len(row)] = True
    return scores, mask


def spans_on_text(
    example: Example, item: Encoded, tags: Sequence[str], path: Sequence[int], chances: Tensor
) -> Prediction:
    """The spans that the units' tags (their numbers, in `path`) mean; a span is as sure as the least sure of its tags.

    `chances` [W, K] are the tags' probabilities, and `item` the encoded example, with its units.
    """
    units = item.units
    sure = _chosen(chances, torch.tensor(path, dtype=torch.long))
    spans: list[Span] = []
    scores: list[float] = []
    for (start, end), tag, chance in zip(units, (tags[number] for number in path), sure, strict=True):
        if tag.startswith("B-"):
            spans.append(Span(start, end, tag[2:]))
            scores.append(chance)
        elif tag.startswith("I-"):
            spans[-1] = Span(spans[-1].start, end, tag[2:])
            scores[-1] = min(scores[-1], chance)
    confidence = min(scores) if scores else min(sure, default=math.nan)
    words = {"least": min(sure), "mean": sum(sure) / len(sure)} if sure else {}
    unlikely = None
    if sure and item.target is not None:
        likeliest = item.target.argmax(axis=1) if item.target.ndim == 2 else item.target
        given = torch.from_numpy(likeliest.astype(np.int64))
        words["given"], worst = min((p, place) for place, p in enumerate(_chosen(chances, given)))
        unlikely = Span(*units[worst], tags[int(given[worst])])
    return Prediction(
        example.id,
        tuple(spans),
        confidence,
        span_scores=tuple(scores),
        word_confidence=words,
        unlikely=unlikely,
    )


def _chosen(chances: Tensor, numbers: Tensor) -> list[float]:
    found: list[float] = chances[torch.arange(len(numbers)), numbers].tolist()
    return found


def owning_windows(positions: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each token the window that shows most on its poorer side; the text's own ends count as far away."""
    last = spans[-1][1]
    owners = []
    for position in positions:
        inside = [number for number, (start, end) in enumerate(spans) if start <= position < end]
        owners.append(max(inside, key=lambda number: _room(position, spans[number], last)))
    return owners


def _room(position: int, span: tuple[int, int], last: int) -> float:
    left = math.inf if span[0] == 0 else position - span[0]
    right = math.inf if span[1] == last else span[1] - 1 - position
    return min(left, right)
