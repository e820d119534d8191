"""Places in a text and in its redacted form: the way from one to the other, and back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Offsets:
    """What was replaced: for each piece its place in the original and its place in the redacted text, in order.

    All places are code points, the end not included.
    """

    pieces: tuple[tuple[Place, Place], ...] = ()

    def to_redacted(self, start: int, end: int) -> Place:
        """Where a span of the original stands in the redacted text; one that cuts a replaced value takes all of it."""
        return _moved([(old, new) for old, new in self.pieces], start, end)

    def to_original(self, start: int, end: int) -> Place:
        """Where a span of the redacted text stands in the original; one that cuts a replacement means all of it."""
        return _moved([(new, old) for old, new in self.pieces], start, end)


def _moved(pieces: Sequence[tuple[Place, Place]], start: int, end: int) -> Place:
    begins = [piece[0][0] for piece in pieces]
    first = _edge(pieces, begins, start, is_end=False)
    return (first, first) if start == end else (first, _edge(pieces, begins, end, is_end=True))


def _edge(pieces: Sequence[tuple[Place, Place]], begins: Sequence[int], place: int, *, is_end: bool) -> int:
    """Where one edge comes to stand: within a piece at its border, else as far behind the piece before it as it was."""
    number = bisect_right(begins, place - 1 if is_end else place) - 1
    if number < 0:
        return place
    (_, from_end), (to_start, to_end) = pieces[number]
    if place >= from_end:
        return to_end + place - from_end
    return to_end if is_end else to_start
