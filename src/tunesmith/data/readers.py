"""The readers of files that are not tables, by format: each turns a whole file into examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tunesmith.data.conll import conll_examples
from tunesmith.data.lines import examples_of_lines
from tunesmith.data.ratings import examples_of_ratings
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally

COLUMNS = ("text", "label", "id", "group", "keep", "header", "second")
"""The settings that say which column of a table holds what."""


@dataclass(frozen=True, slots=True)
class FileForm:
    """A form of file: what reads it, and the settings that it has no use for."""

    read: Callable[[Source, Tally], Iterator[Example]]
    idle: tuple[str, ...]


READERS: Mapping[str, FileForm] = {
    "conll": FileForm(conll_examples, (*COLUMNS, "separator", "label_first")),
    "lines": FileForm(examples_of_lines, COLUMNS),
    "ratings": FileForm(examples_of_ratings, ("text", "label", "id", "group", "keep", "second", "label_first")),
}
