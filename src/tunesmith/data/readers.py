"""The readers of files that are not tables, by format: each turns a whole file into examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tunesmith.data.ag_news import examples_of_ag_news
from tunesmith.data.conll import conll_examples
from tunesmith.data.easy_vqa import examples_of_easy_vqa
from tunesmith.data.lines import examples_of_lines
from tunesmith.data.marks import semeval_examples
from tunesmith.data.parallel import parallel_examples
from tunesmith.data.ratings import examples_of_ratings
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.spoken_digits import examples_of_spoken_digits
from tunesmith.data.squad import squad_examples
from tunesmith.data.tally import Tally

COLUMNS = ("text", "label", "id", "group", "keep", "header", "second", "image", "audio", "weight", "chances")
"""The settings that say which column of a table holds what."""
TABLES = (*COLUMNS, "quoted")
"""The settings that only tables have."""


@dataclass(frozen=True, slots=True)
class FileForm:
    """A form of file: what reads it, and the settings that it has no use for."""

    read: Callable[[Source, Tally], Iterator[Example]]
    idle: tuple[str, ...]


READERS: Mapping[str, FileForm] = {
    "conll": FileForm(conll_examples, (*COLUMNS, "separator", "label_first")),
    "semeval": FileForm(semeval_examples, (*COLUMNS, "separator", "label_first")),
    "lines": FileForm(examples_of_lines, COLUMNS),
    "ratings": FileForm(
        examples_of_ratings, ("text", "label", "id", "group", "keep", "second", "label_first", "weight", "chances")
    ),
    "parallel": FileForm(parallel_examples, (*COLUMNS, "separator", "label_first", "label_separator")),
    "squad": FileForm(squad_examples, (*COLUMNS, "separator", "label_first", "label_separator")),
    "easy_vqa": FileForm(examples_of_easy_vqa, (*COLUMNS, "separator", "label_first", "label_separator", "encoding")),
    "ag_news": FileForm(examples_of_ag_news, (*TABLES, "separator", "label_first", "label_separator")),
    "fsdd": FileForm(examples_of_spoken_digits, (*COLUMNS, "separator", "label_first", "label_separator", "encoding")),
}
