"""Questions by what they ask for, as TREC's are passed on (Li and Roth 2002)."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.data.files import keyless, read_lines
from tunesmith.data.labels import read_label
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError


def examples_of_trec(source: Source, tally: Tally) -> Iterator[Example]:
    """Lines such as "NUM:dist How far is it?": the label is one of six kinds, the finer one becomes the attribute fine.

    Raises:
        DataError: a line does not begin with "KIND:finer".
    """
    place = keyless(source.path, "trec")
    for number, line in enumerate(read_lines(place, source.encoding), 1):
        where = f"{source.path}:{number}"
        kinds, _, text = line.strip().partition(" ")
        if not kinds:
            continue
        kind, colon, finer = kinds.partition(":")
        if not (kind and colon and finer and text.strip()):
            raise DataError(
                "The line does not begin with a kind and a finer one.",
                where=where,
                to_do='Write lines as "NUM:dist How far is it?", or name another data.format.',
            )
        tally.add("kinds", "note", "{count} questions, their kinds before the colon; the finer ones are attributes.")
        label = read_label(kind, source.label_kind, text, source.label_separator, where) if source.label_kind else None
        yield Example(f"{place.file.name}-{number}", text.strip(), label, origin=where, attributes={"fine": finer})
