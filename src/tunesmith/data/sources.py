"""Files of any supported form -> examples, with a finding for everything that was not as it should be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import Any, Literal

from tunesmith.data.columns import Columns, find_columns, missing_columns
from tunesmith.data.conll import looks_like_conll, read_conll
from tunesmith.data.files import Place, read_lines
from tunesmith.data.hub import HUB, read_hub
from tunesmith.data.labels import is_missing, read_label, tagged_words
from tunesmith.data.records import Example, Finding, Label
from tunesmith.data.stored import keep
from tunesmith.data.tables import Row, is_one_json_value, read_csv, read_json, read_jsonl, read_parquet
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "lines", "hub"]

_SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".conll": "conll", ".iob": "conll", ".iob2": "conll", ".bio": "conll", ".bioes": "conll", ".bmes": "conll",
}  # fmt: skip
_FASTTEXT = "__label__"
_IDLE: Mapping[Format, tuple[str, ...]] = {
    "conll": ("text", "label", "id", "group", "keep", "header", "separator", "label_first"),
    "lines": ("text", "label", "id", "group", "keep", "header"),
    "csv": ("label_first",),
    "tsv": ("label_first",),
    "jsonl": ("separator", "label_first"),
    "json": ("separator", "label_first"),
    "parquet": ("header", "separator", "label_first", "encoding"),
    "hub": ("separator", "label_first", "encoding"),
}
"""The settings that these formats have no use for."""
_LOOKED_AT = 100
"""Rows in which columns are looked for; JSON may leave out what is null."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file (or hub data set) and how it is to be read; see `Data` for what each setting means.

    `label_kind` is "class", "classes", "number" or "spans"; empty reads texts without labels.
    """

    path: str
    format: Format = "auto"
    text: str = ""
    label: str = ""
    id: str = ""
    group: str = ""
    keep: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    separator: str = ""
    label_first: bool = False
    label_separator: str = "|"
    encoding: str = "utf-8"
    label_kind: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The examples of a source, in its order, and what was seen while reading."""

    examples: Sequence[Example]
    findings: tuple[Finding, ...]


def read(source: Source) -> Reading:
    """Read a whole source; many examples are kept on disk.

    Raises:
        DataError: it cannot be read, holds no example, or a row is wrong; the message names the row.
    """
    tally = Tally()
    examples = keep(_examples(source, tally))
    if not len(examples):
        raise DataError(
            "There is no example in it.", where=source.path, to_do="Give a file with at least one row of text."
        )
    return Reading(examples, tuple(tally.findings()))


def iterate(source: Source, tally: Tally) -> Iterator[Example]:
    """Yield the examples of a source one by one, and note in `tally` what was not as it should be."""
    return _examples(source, tally)


def _examples(source: Source, tally: Tally) -> Iterator[Example]:
    place = _place(source)
    form = format_of(source, place)
    if idle := _idle(source, form):
        raise DataError(
            f"'{idle[0]}' has no meaning for a file of format {form}.",
            where=source.path,
            to_do=f"Remove data.{idle[0]}, or name another format in data.format.",
        )
    if form not in ("json", "hub") and place.keys:
        raise DataError(
            f"A file of format {form} has no keys, such as '{place.keys[0]}'.",
            where=source.path,
            to_do="Remove what stands behind the '!'.",
        )
    if form == "conll":
        if source.label_kind not in ("spans", ""):
            raise DataError(
                "The file has a tag per word, but the task needs a label per text.",
                where=str(place),
                to_do="Use task token_classification, or give another file.",
            )
        examples = read_conll(place, source.encoding, tally, labelled=bool(source.label_kind))
    elif form == "lines":
        examples = _from_lines(source, place, tally)
    else:
        examples = _from_rows(source, place, _rows(form, source, place, tally), tally)
    yield from examples


def _place(source: Source) -> Place:
    return Place(source.path, "") if source.path.startswith(HUB) else Place.of(source.path)  # type: ignore[arg-type]


def format_of(source: Source, place: Place) -> Format:
    """The format that the recipe names, or that the suffix or the first lines tell.

    Raises:
        DataError: neither tells.
    """
    if source.path.startswith(HUB):
        return "hub"
    if source.format != "auto":
        return source.format
    if place.suffix in _SUFFIXES:
        return _SUFFIXES[place.suffix]
    head = list(islice(read_lines(place, source.encoding), 200))
    if place.suffix == ".json":
        return "json" if place.keys or is_one_json_value(head) else "jsonl"
    if looks_like_conll(head):
        return "conll"
    filled = [line for line in head if line.strip()]
    if source.separator or not source.label_kind or all("\t" in line or line.startswith(_FASTTEXT) for line in filled):
        return "lines"
    raise DataError(
        f"The format of a '{place.suffix}' file is not clear from its name or its first lines.",
        where=str(place),
        to_do="Set data.format to csv, tsv, jsonl, json, parquet, conll or lines.",
    )


def idle_settings(source: Source) -> list[str]:
    """The settings that are set and that the source's format has no use for."""
    return _idle(source, format_of(source, _place(source)))


def usable(source: Source) -> Source:
    """The source without what its format has no use for, for a file that is not the one the settings were made for."""
    usual = asdict(Source(source.path))
    return replace(source, **{name: usual[name] for name in idle_settings(source)})


def _idle(source: Source, form: Format) -> list[str]:
    given, usual = asdict(source), asdict(Source(source.path))
    return [name for name in _IDLE[form] if given[name] != usual[name]]


def _rows(form: Format, source: Source, place: Place, tally: Tally) -> Iterator[Row]:
    readers: Mapping[str, Callable[[], Iterator[Row]]] = {
        "csv": lambda: read_csv(place, source.encoding, source.separator, source.header, tally),
        "tsv": lambda: read_csv(place, source.encoding, source.separator or "\t", source.header, tally),
        "jsonl": lambda: read_jsonl(place, source.encoding, source.header, tally),
        "json": lambda: read_json(place, source.encoding, source.header, tally),
        "parquet": lambda: read_parquet(place, lambda there: _wanted(source, there)),
        "hub": lambda: read_hub(source.path),
    }
    return readers[form]()


def _from_rows(source: Source, place: Place, rows: Iterator[Row], tally: Tally) -> Iterator[Example]:
    head = list(islice(rows, _LOOKED_AT))
    if not head:
        return
    first = head[0][1]
    columns = _columns(source, list(first), list({name: 0 for _, row in head for name in row if name not in first}))
    tally.add("columns", "note", f"Columns: {columns}.")
    unlabelled: list[str] = []
    seen: set[int] = set()
    for number, row in chain(head, rows):
        where = f"{source.path}:{number}"
        if missing := missing_columns(columns, row):
            raise DataError(
                f"The row has no '{missing[0]}'.",
                where=where,
                to_do=f"Give each row the same columns; this one has {', '.join(map(str, row))[:80]}.",
            )
        label = row.get(columns.label)
        if columns.label and is_missing(label) and source.label_kind != "classes":
            unlabelled.append(str(number))
            continue
        example = _example(source, columns, row, number, place)
        if not example.text.strip():
            tally.add("empty_texts", "warning", "{count} rows without text were left out.", f"line {number}")
            continue
        _note_blanks(label, source, number, tally)
        yield _distinct(example, seen, number, tally) if columns.id else example
    _refuse_unlabelled(unlabelled, source)


def _note_blanks(label: object, source: Source, line: int, tally: Tally) -> None:
    if isinstance(label, str) and label != label.strip() and source.label_kind == "class":
        message = "{count} labels had blanks around them, which were taken off."
        tally.add("label_blanks", "warning", message, f"line {line}: {label!r}")


def _distinct(example: Example, seen: set[int], line: int, tally: Tally) -> Example:
    """The example, with its line added to an id that was there before; hashes keep a million ids small."""
    name = example.id
    while hash(name) in seen:
        name += f"#{line}"
    seen.add(hash(name))
    if name == example.id:
        return example
    tally.add(
        "duplicate_ids",
        "warning",
        "{count} ids occur again; the line was added to each later one.",
        f"{example.id} (line {line})",
    )
    return replace(example, id=name)


def _columns(source: Source, there: Sequence[str], later: Sequence[str] = ()) -> Columns:
    further = (source.group, *source.keep)
    named = Columns(source.text, source.label, source.id)
    return find_columns(there, later, named=named, further=further, kind=source.label_kind, where=source.path)


def _wanted(source: Source, there: Sequence[str]) -> list[str]:
    """The columns that will be read of those that are there."""
    columns = _columns(source, there)
    names = (columns.text, columns.words, columns.label, columns.id, source.group, *source.keep)
    return list(dict.fromkeys(name for name in names if name))


def _example(source: Source, columns: Columns, row: Mapping[str, Any], number: int, place: Place) -> Example:
    where = f"{source.path}:{number}"
    own, shared = (row.get(column) if column else None for column in (columns.id, source.group))
    name = f"{place.file.name}-{number}" if is_missing(own) else str(own)
    group = "" if is_missing(shared) else str(shared)
    attributes = {column: _plain(row.get(column)) for column in source.keep}
    if columns.words:
        words, tags = row[columns.words], row[columns.label] if columns.label else None
        if not words and not tags:
            return Example(name, "")
        text, ranges, spans = tagged_words(words, tags, where)
        return Example(name, text, spans if columns.label else None, ranges, group, where, attributes)
    value = row[columns.text]
    if isinstance(value, list | dict | bytes):
        held = {list: "a list", dict: "an object", bytes: "bytes"}[type(value)]
        raise DataError(
            f"'{columns.text}' holds {held}, not a text.", where=where, to_do="Name the column of texts in data.text."
        )
    text = _plain(value)
    label: Label | None = None
    if columns.label and text.strip():
        label = read_label(row[columns.label], source.label_kind, text, source.label_separator, where)
    return Example(name, text, label, None, group, where, attributes)


def _plain(value: object) -> str:
    """A value as text; null and NaN are empty."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _from_lines(source: Source, place: Place, tally: Tally) -> Iterator[Example]:
    """One text per line; with labels, text and label are parted by a separator (a tab), or the label is fastText's."""
    if source.label_kind == "spans":
        raise DataError(
            "One text per line cannot hold spans.", where=source.path, to_do="Give JSONL with spans, or CoNLL columns."
        )
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
        if source.label_kind or line.startswith(_FASTTEXT):
            text, value = _part(line, mark, first=source.label_first, where=where)
        label: Label | None = None
        if source.label_kind:
            tally.add(
                "line_form",
                "note",
                f"Each line: the label stands {side} {mark!r}."
                if not raw.startswith(_FASTTEXT)
                else "Each line: fastText's __label__ and the text.",
            )
            if is_missing(value) and source.label_kind != "classes":
                unlabelled.append(str(number))
                continue
            label = read_label(value, source.label_kind, text, source.label_separator, where)
            _note_blanks(value, source, number, tally)
        if not text.strip():
            tally.add("empty_texts", "warning", "{count} rows without text were left out.", f"line {number}")
            continue
        yield Example(f"{place.file.name}-{number}", text.strip(), label, None, "", where)
    _refuse_unlabelled(unlabelled, source)


def _part(line: str, mark: str, *, first: bool, where: str) -> tuple[str, str | list[str]]:
    """A line's text and label; fastText's lines may begin with several."""
    if line.startswith(_FASTTEXT):
        labels = []
        while line.startswith(_FASTTEXT):
            label, *rest = line.split(maxsplit=1)
            labels.append(label.removeprefix(_FASTTEXT))
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


def _refuse_unlabelled(lines: Sequence[str], source: Source) -> None:
    if lines:
        shown = ", ".join(lines[:3]) + (" ..." if len(lines) > 3 else "")
        raise DataError(
            f"{len(lines)} rows have no label (empty or NaN): rows {shown}.",
            where=source.path,
            to_do="Label these rows or remove them.",
        )
