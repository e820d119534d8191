"""Changes of a text that keep what is said of its places: spans, marks and words move with the characters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunesmith.data.records import Example, Span

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """The characters `start` to `end` become `text`; with `start == end` the text is put in there."""

    start: int
    end: int
    text: str


def edited(example: Example, edits: Sequence[Edit]) -> Example:
    """The example after edits that do not overlap.

    An edit lies outside a span, inside it (the span grows or shrinks with it), or is the whole of it. What is put in at
    a span's border stays outside. The same holds for marks. Given words are parted anew at blanks where they change.

    Raises:
        ValueError: edits overlap, cross the border of a span, or leave nothing of one.
    """
    ordered = sorted(edit for edit in edits if example.text[edit.start : edit.end] != edit.text)
    for one, other in itertools.pairwise(ordered):
        if other.start < one.end:
            raise ValueError(f"The edits {one} and {other} overlap.")
    parts, at = [], 0
    for edit in ordered:
        parts += [example.text[at : edit.start], edit.text]
        at = edit.end
    text = "".join([*parts, example.text[at:]])
    label = example.label
    if isinstance(label, tuple):
        label = tuple(_moved(item, ordered) if isinstance(item, Span) else item for item in label)  # type: ignore[assignment]
    return replace(
        example,
        text=text,
        label=label,
        marks=tuple(_moved(mark, ordered) for mark in example.marks),
        words=None if example.words is None else tuple(_words_after(example.words, ordered, text)),
    )


def _moved(span: Span, edits: Sequence[Edit]) -> Span:
    for edit in edits:
        crosses = edit.start < span.start < edit.end or edit.start < span.end < edit.end
        if crosses and not (edit.start >= span.start and edit.end <= span.end):
            raise ValueError(f"The edit {edit} crosses the border of {span}.")
    start, end = _shifted(span.start, edits, is_end=False), _shifted(span.end, edits, is_end=True)
    if start >= end:
        raise ValueError(f"Nothing is left of {span}.")
    return Span(start, end, span.label)


def _shifted(place: int, edits: Sequence[Edit], *, is_end: bool) -> int:
    """Where a border stands after the edits; what is put in at a border stays outside of what it borders."""
    moved = place
    for number, edit in enumerate(edits):
        if edit.start < place < edit.end:
            return _shifted(edit.start, edits[:number], is_end=False) + len(edit.text)
        if edit.end < place or (edit.end == place and not (is_end and edit.start == edit.end)):
            moved += len(edit.text) - (edit.end - edit.start)
    return moved


def _words_after(words: Sequence[Range], edits: Sequence[Edit], text: str) -> Iterator[Range]:
    """The words that are left, changed ones parted at blanks, and those that were put in between."""
    found = []
    for number, edit in enumerate(edits):
        if edit.start == edit.end and not any(start < edit.start < end for start, end in words):
            begin = _shifted(edit.start, edits[:number], is_end=False)
            found.append((begin, begin + len(edit.text)))
    # A word and the edits that reach into it are parted together.
    reach = [edit for edit in edits if edit.start < edit.end or any(start < edit.start < end for start, end in words)]
    joined: list[list[int]] = []
    for start, end in sorted([*words, *((edit.start, edit.end) for edit in reach)]):
        if joined and start < joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    found += [(_shifted(start, edits, is_end=False), _shifted(end, edits, is_end=True)) for start, end in joined]
    for start, end in sorted(found):
        yield from ((start + part.start(), start + part.end()) for part in re.finditer(r"\S+", text[start:end]))
