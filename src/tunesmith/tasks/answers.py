"""What a language model found for an example, as one row of numbers; questions and answers as pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tunesmith.tasks.encoding import Piece, plain_piece


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for an example.

    Attributes:
        judged: tokens and log-likelihood of each given answer.
        written: the tokens of the written answer.
        sure: their log-likelihood.
    """

    judged: tuple[tuple[int, float], ...]
    written: Sequence[int]
    sure: float

    def packed(self) -> Tensor:
        """One row: how many answers are judged, their numbers, the written one's log-likelihood and tokens."""
        numbers = [number for pair in self.judged for number in pair]
        return torch.tensor([len(self.judged), *numbers, self.sure, *self.written], dtype=torch.float64)

    @classmethod
    def of(cls, row: Tensor) -> Self:
        """The answer that a row of numbers holds."""
        count, *values = row.tolist()
        judged = tuple((int(values[place]), values[place + 1]) for place in range(0, 2 * int(count), 2))
        sure, *written = values[2 * int(count) :]
        return cls(judged, [int(token) for token in written], sure)

    def apart(self, other: Answer) -> float:
        """The largest difference of a log-likelihood per token, of the written answers only where they are the same.

        It is infinite where other answers were judged, or a number is none.
        """
        if [tokens for tokens, _ in self.judged] != [tokens for tokens, _ in other.judged]:
            return math.inf
        pairs = [
            (one / max(1, tokens), two / max(1, tokens))
            for (tokens, one), (_, two) in zip(self.judged, other.judged, strict=True)
        ]
        if self.written == other.written:
            count = max(1, len(self.written))
            pairs.append((self.sure / count, other.sure / count))
        widest = max((abs(one - two) for one, two in pairs), default=0.0)
        return math.inf if any(math.isnan(one - two) for one, two in pairs) else widest


def question_of(piece: Piece) -> Piece:
    """The piece up to where its last answer begins."""
    positions = piece.unit_positions
    if not len(positions):
        return piece
    begins = np.flatnonzero(np.diff(positions, prepend=-2) > 1)[-1]
    return plain_piece(piece.input_ids[: positions[begins] + 1])


def answered(question: Piece, written: Sequence[int]) -> Piece:
    """A question with the answer that was written, whose tokens count."""
    start = len(question.input_ids)
    return plain_piece([*question.input_ids, *written], range(start - 1, start - 1 + len(written)))
