"""From start and end scores to the best answers over all windows of a passage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Range = tuple[int, int]
"""Characters of the passage, the end not included."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a passage offers as answers.

    Attributes:
        spans: the best of them, each once, with its score; the best first.
        nothing: the score of there being no answer.
    """

    spans: tuple[tuple[Range, float], ...]
    nothing: float


def find_candidates(
    scores: Tensor, lengths: Sequence[int], units: Sequence[Range], *, most: int, longest: int
) -> Candidates:
    """The best `most` spans of up to `longest` tokens over all windows, each scored by its start's and end's logit.

    `scores` [U, 2] and `units` hold the windows one after another (`lengths` units each); the first unit of a window
    stands for "no answer here". A span that several windows show keeps its best score. The passage has no answer
    only if no window has one: its score is the least over the windows (Devlin et al. 2019, sec. 4.3, and their code).
    """
    best: dict[Range, float] = {}
    nothing = float("inf")
    first = 0
    for length in lengths:
        window, places = scores[first : first + length], units[first : first + length]
        nothing = min(nothing, float(window[0].sum()))
        for start, end, score in _best_spans(window[1:], most, longest):
            span = places[start + 1][0], places[end + 1][1]
            best[span] = max(score, best.get(span, score))
        first += length
    ranked = sorted(((span, score) for span, score in best.items() if span[0] < span[1]), key=lambda one: -one[1])
    return Candidates(tuple(ranked[:most]), nothing)


def _best_spans(window: Tensor, most: int, longest: int) -> list[tuple[int, int, float]]:
    """The best spans of a window's scores [U, 2] as first unit, last unit and score."""
    width = min(longest, len(window))
    if width == 0:
        return []
    ends = torch.cat([window[:, 1], window.new_full((width - 1,), float("-inf"))]).unfold(0, width, 1)
    sums = window[:, :1] + ends
    found = sums.flatten().topk(min(most, sums.numel()))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return [(place // width, place // width + place % width, score) for place, score in pairs if score > float("-inf")]


def best_threshold(gaps: NDArray[np.float64], answered: NDArray[np.float64], declined: NDArray[np.float64]) -> float:
    """The number below which the gap between "no answer" and the best answer must lie for the answer to be given.

    `gaps` [N], and what each question is worth if its best answer is given (`answered`) or none is (`declined`); the
    sum over questions is made largest (the "best F1 threshold" of SQuAD 2.0's script). Ties go to the number nearest 0.
    """
    order = np.argsort(gaps, kind="stable")
    ordered = gaps[order]
    worth = np.concatenate([[0.0], np.cumsum(answered[order] - declined[order])])
    # Between two neighbouring gaps; none can lie between equal ones.
    borders = np.concatenate([[ordered[0] - 1], (ordered[:-1] + ordered[1:]) / 2, [ordered[-1] + 1]])
    worth[1:-1][ordered[:-1] == ordered[1:]] = -np.inf
    best = np.flatnonzero(worth >= worth.max() - 1e-9)
    return float(min(borders[best], key=abs))


def overlap(one: Range, other: Range) -> float:
    """F1 over the characters of two ranges."""
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return 2 * shared / (one[1] - one[0] + other[1] - other[0])


def inked(text: str, place: Range) -> Range:
    """A range of a text without the blanks at its ends; empty, at its end, where there is nothing else."""
    start, end = place
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def covering(answer: Range, tokens: Sequence[Range]) -> tuple[int, int] | None:
    """The first and the last token that an answer touches; None if it touches none."""
    inside = [
        number for number, (start, end) in enumerate(tokens) if start < end and start < answer[1] and end > answer[0]
    ]
    return (inside[0], inside[-1]) if inside else None


def target_of(answers: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The first and the last unit of the answer in the window of tokens [start, end): the most frequent one inside.

    Unit 0, twice, where the window holds no answer whole.
    """
    inside = [place for place in answers if start <= place[0] and place[1] < end]
    if not inside:
        return 0, 0
    ((first, last), _) = Counter(inside).most_common(1)[0]
    return first - start + 1, last - start + 1
