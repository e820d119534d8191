"""Examples on disk: a sequence of a million rows that needs the memory of one."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, overload

from tunesmith.data.records import Example, Span, Turn
from tunesmith.writing import refused

IN_MEMORY = 100_000
"""So many examples are kept in memory; more go to a temporary file."""


class StoredExamples(Sequence[Example]):
    """Examples in an unnamed temporary file, which the system removes with the process."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self._starts = array("Q", [0])
        with _room():
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="tunesmith-")  # noqa: SIM115 - it lives as long as this object
        weakref.finalize(self, self._file.close)
        for example in examples:
            line = json.dumps(to_plain(example), ensure_ascii=False).encode()
            with _room():
                self._file.write(line)
            self._starts.append(self._starts[-1] + len(line))
        with _room():
            self._file.flush()

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return Chosen(self, range(len(self))[index])
        place = range(len(self))[index]
        start, end = self._starts[place], self._starts[place + 1]
        return from_plain(json.loads(os.pread(self._file.fileno(), end - start, start)))

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))


def _room() -> AbstractContextManager[None]:
    return refused(Path(tempfile.gettempdir()), to_do="Free disk space there, or set TMPDIR to another folder.")


class Chosen(Sequence[Example]):
    """Some examples of a sequence, by their places, without a copy."""

    def __init__(self, source: Sequence[Example], places: Sequence[int]) -> None:
        self._source = source
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return Chosen(self._source, self._places[index])
        return self._source[self._places[index]]


def keep(examples: Iterable[Example], in_memory: int = IN_MEMORY) -> Sequence[Example]:
    """A tuple of the examples, or a file of them if they are many."""
    iterator = iter(examples)
    first: list[Example] = []
    for example in iterator:
        first.append(example)
        if len(first) > in_memory:
            return StoredExamples(_joined(first, iterator))
    return tuple(first)


def _joined(first: list[Example], rest: Iterator[Example]) -> Iterator[Example]:
    yield from first
    first.clear()
    yield from rest


def to_plain(example: Example) -> dict[str, object]:
    """An example's fields that hold something, as plain values; which form its label has is said beside it."""
    label = example.label
    plain = {
        name: value for name, value in asdict(example).items() if value not in ("", (), {}, None) or name == "label"
    }
    if isinstance(label, tuple):
        plain["kind"] = "spans" if any(isinstance(item, Span) for item in label) else "classes"
    return plain


def from_plain(plain: dict[str, Any]) -> Example:
    """The example of which these are the plain values."""
    kind = plain.pop("kind", "")
    if kind:
        plain["label"] = tuple(Span(**item) for item in plain["label"]) if kind == "spans" else tuple(plain["label"])
    if "words" in plain:
        plain["words"] = tuple((start, end) for start, end in plain["words"])
    for name, record in (("marks", Span), ("turns", Turn)):
        plain[name] = tuple(record(**item) for item in plain.get(name, ()))
    return Example(**{**plain, **{name: tuple(plain.get(name, ())) for name in ("history", "chances")}})
