"""One text per line -> examples."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.data.files import keyless, read_lines
from tunesmith.data.labels import is_missing, read_label
from tunesmith.data.records import Example, Label
from tunesmith.data.rows import note_blanks, refuse_unlabelled
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

FASTTEXT = "__label__"


def examples_of_lines(source: Source, tally: Tally) -> Iterator[Example]:
    """One text per line; with labels, text and label are parted by a separator (a tab), or the label is fastText's."""
    if source.label_kind == "spans":
        raise DataError(
            "One text per line cannot hold spans.", where=source.path, to_do="Give JSONL with spans, or CoNLL columns."
        )
    place = keyless(source.path, "lines")
    mark = source.separator or "\t"
    side = "before the first" if source.label_first else "after the last"
    unlabelled: list[str] = []
    for number, raw in enumerate(read_lines(place, source.encoding), 1):
        line = raw.strip("\r\n")
        where = f"{source.path}:{number}"
        if not line.strip():
            tally.add("empty_lines", "note", "{count} empty lines were passed over.", f"line {number}")
            continue
        text, value = line, None
        if source.label_kind or line.startswith(FASTTEXT):
            text, value = _part(line, mark, first=source.label_first, where=where)
        label: Label | None = None
        if source.label_kind:
            tally.add(
                "line_form",
                "note",
                f"Each line: the label stands {side} {mark!r}."
                if not raw.startswith(FASTTEXT)
                else "Each line: fastText's __label__ and the text.",
            )
            if is_missing(value) and source.label_kind != "classes":
                unlabelled.append(str(number))
                continue
            label = read_label(value, source.label_kind, text, source.label_separator, where)
            note_blanks(value, source, number, tally)
        if not text.strip():
            tally.add("empty_texts", "warning", "{count} rows without text were left out.", f"line {number}")
            continue
        yield Example(f"{place.file.name}-{number}", text.strip(), label, None, "", where)
    refuse_unlabelled(unlabelled, source)


def _part(line: str, mark: str, *, first: bool, where: str) -> tuple[str, str | list[str]]:
    """A line's text and label; fastText's lines may begin with several."""
    if line.startswith(FASTTEXT):
        labels = []
        while line.startswith(FASTTEXT):
            label, *rest = line.split(maxsplit=1)
            labels.append(label.removeprefix(FASTTEXT))
            line = "".join(rest)
        return line, labels
    if mark not in line:
        raise DataError(
            f"The line has no {mark!r} between text and label.",
            where=where,
            to_do="Correct the line, or set data.separator.",
        )
    if first:
        label, _, text = line.partition(mark)
        return text, label
    text, _, label = line.rpartition(mark)
    return text, label
