"""Rows with named columns: CSV, TSV, JSON lines, JSON and Parquet."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.files import Place, read_lines
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, import_extra, nearest

Row = tuple[int, Mapping[str, Any]]
"""The line (or number) of a row, and its values by column."""

_LONGEST_FIELD = 1 << 26
_HALF = re.compile("[\ud800-\udfff]")
_SEPARATORS = ",\t;|"
_NO_SEPARATORS = {'"', "\r", "\n"}


def read_csv(
    place: Place, encoding: str, separator: str, header: Sequence[str], tally: Tally, *, quoted: bool = True
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file; the first line names the columns unless `header` does.

    Where fields are not `quoted`, a quote is a character like any other and every line is a row. Without a `separator`
    it is the tab for .tsv, else the one of comma, tab, semicolon and bar that is most in line 1.

    Raises:
        DataError: a row has more or fewer fields than there are columns, or its quotes are not closed.
    """
    if len(separator) > 1 or separator in _NO_SEPARATORS:
        raise DataError(
            f"The separator of columns must be one character, no quote and no line end, not {separator!r}.",
            where="data.separator",
            to_do='Write separator: ";" or, for a tab, separator: "\\t" in double quotes.',
        )
    csv.field_size_limit(_LONGEST_FIELD)
    lines = read_lines(place, encoding)
    first = next(lines, "")
    mark = separator or ("\t" if place.suffix == ".tsv" else max(_SEPARATORS, key=first.count))
    if not separator and mark != ("\t" if place.suffix == ".tsv" else ","):
        tally.add("separator", "note", f"The fields are separated by {mark!r}, of which the first line has most.")
    columns = list(header)
    for record in _records(_chain(first, lines), mark, quoted=quoted):
        for line, fields in _rows(record, place, mark, len(columns), tally):
            if not any(field.strip() for field in fields):
                tally.add("empty_lines", "note", "{count} empty lines were passed over.", f"line {line}")
            elif line == 1 and columns and [field.strip() for field in fields] == columns:
                tally.add("header_line", "note", "The first line holds the names of data.header; it is no row.")
            elif not columns:
                columns = _named([field.strip() for field in fields], f"{place}:1")
            elif len(fields) != len(columns):
                raise DataError(
                    f"Line {line} has {len(fields)} fields; there are {len(columns)} columns.",
                    where=f"{place}:{line}",
                    to_do=f"Quote fields that hold {mark!r}, or set data.separator.",
                )
            else:
                yield line, dict(zip(columns, fields, strict=True))


@dataclass(frozen=True, slots=True)
class _Record:
    """A row as the csv module reads it: its first line's number, its fields or what is wrong, and its lines."""

    line: int
    fields: list[str]
    problem: str
    raw: list[str]


def _records(lines: Iterator[str], mark: str, *, quoted: bool) -> Iterator[_Record]:
    raw: list[str] = []

    def watched() -> Iterator[str]:
        for line in lines:
            raw.append(line)
            yield line

    rows = csv.reader(watched(), delimiter=mark, strict=True, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    number = 1
    while True:
        fields, problem = [], ""
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = str(error)
        yield _Record(number, fields, problem, list(raw))
        number += len(raw)
        raw.clear()


def _rows(record: _Record, place: Place, mark: str, width: int, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    """The record as a row; or its lines as rows, if a quote that is part of a text made the csv module join them.

    Many TSV files quote nothing, so that a text may begin with a quote that never closes, or closes in a later field or
    row.
    """
    is_joined = len(record.raw) > 1 or bool(record.problem)
    is_short = bool(width) and len(record.fields) < width
    look_whole = (is_joined or is_short) and all(len(_parted(line, mark)) == width for line in record.raw)
    if look_whole and mark == "\t":
        yield from _whole_lines(record, mark, tally)
        return
    if record.problem:
        raise DataError(
            f"The row that begins in line {record.line} is not valid CSV: {record.problem}.",
            where=f"{place}:{record.line}",
            to_do="Close its quotes, or double a quote inside a field.",
        )
    if is_joined:
        lines = f"lines {record.line} to {record.line + len(record.raw) - 1}"
        tally.add("fields_over_lines", "note", "{count} rows have a quoted field that goes over several lines.", lines)
        if look_whole and width > 1:
            message = "{count} quoted fields go over lines that look like rows of their own: is a quote missing there?"
            tally.add("rows_in_a_field", "warning", message, lines)
    yield record.line, record.fields


def _parted(line: str, mark: str) -> list[str]:
    return line.rstrip("\r\n").split(mark)


def _whole_lines(record: _Record, mark: str, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(record.raw, record.line):
        fields = _parted(line, mark)
        if any(field.startswith('"') and _unquoted(field) == field for field in fields):
            tally.add(
                "stray_quotes",
                "warning",
                "{count} lines have a quote that does not close in its field; it was read as part of the text.",
                f"line {number}",
            )
        yield number, [_unquoted(field) for field in fields]


def _unquoted(field: str) -> str:
    inner = field[1:-1].replace('""', "")
    is_quoted = len(field) > 1 and field.startswith('"') and field.endswith('"') and '"' not in inner
    return field[1:-1].replace('""', '"') if is_quoted else field


def read_jsonl(place: Place, encoding: str, header: Sequence[str], tally: Tally) -> Iterator[Row]:
    """Yield the objects of a file with one JSON value per line.

    Raises:
        DataError: a line is not valid JSON, or neither an object nor a list that `header` names.
    """
    for number, line in enumerate(read_lines(place, encoding), 1):
        if not line.strip():
            tally.add("empty_lines", "note", "{count} empty lines were passed over.", f"line {number}")
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"Line {number} is not valid JSON: {error}.",
                where=f"{place}:{number}",
                to_do="Write one JSON object per line.",
            ) from error
        if "\\u" in line:
            value = _sound(value, tally, f"line {number}")
        yield number, _as_row(value, header, f"{place}:{number}", tally)


def read_json(place: Place, encoding: str, header: Sequence[str], tally: Tally) -> Iterator[Row]:
    """Yield the rows of a JSON file: a list of objects, or an object whose keys hold such lists.

    Raises:
        DataError: the file is not valid JSON, or holds no list of rows where it should.
    """
    value, has_escapes = _parsed(place, encoding)
    number = 0
    for rows in _lists(value, place):
        if not isinstance(rows, list):
            raise DataError("There is no list of rows.", where=str(place), to_do="Give a JSON list of objects.")
        for item in rows:
            number += 1
            row = _sound(item, tally, f"row {number}") if has_escapes else item
            yield number, _as_row(row, header, f"{place}:{number}", tally)


def read_document(place: Place, encoding: str, tally: Tally) -> object:
    """The value of a JSON file whose form is its reader's business.

    Raises:
        DataError: the file is not valid JSON.
    """
    value, has_escapes = _parsed(place, encoding)
    return _sound(value, tally, str(place)) if has_escapes else value


def _parsed(place: Place, encoding: str) -> tuple[Any, bool]:
    """The value of a JSON file, and whether characters are written as escapes in it."""
    text = "".join(read_lines(place, encoding))
    try:
        return json.loads(text), "\\u" in text
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The file is not valid JSON: {error}.",
            where=str(place),
            to_do="Give a list of objects, or one JSON object per line (.jsonl).",
        ) from error


def read_parquet(place: Place, choose: Callable[[list[str]], list[str]]) -> Iterator[Row]:
    """Yield the rows of a Parquet file, read in blocks; `choose` says which of its columns are wanted.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file is not Parquet, lies in an archive, or holds what Python cannot.
    """
    if place.is_packed:
        raise DataError(
            "A Parquet file cannot be read out of an archive.",
            where=str(place),
            to_do="Unpack it; Parquet is compressed by itself.",
        )
    parquet = import_extra("pyarrow.parquet", "parquet")
    arrow = import_extra("pyarrow", "parquet")
    number = 0
    try:
        with parquet.ParquetFile(place.file) as table:
            columns = choose(_named(table.schema_arrow.names, str(place)))
            for block in table.iter_batches(batch_size=4096, columns=columns):
                for item in block.to_pylist():
                    number += 1
                    yield number, item
    except (arrow.ArrowException, ValueError, OSError) as error:
        raise DataError(
            f"The file cannot be read as Parquet: {error}.",
            where=str(place),
            to_do="Copy it again, or name its format in data.format.",
        ) from error


def is_one_json_value(lines: Sequence[str]) -> bool:
    """Whether these first lines begin one JSON value over the whole file, and not one per line."""
    filled = [line for line in lines if line.strip()]
    if not filled or filled[0].lstrip().startswith("["):
        return True
    try:
        return not isinstance(json.loads(filled[0]), dict) or len(filled) == 1
    except ValueError:
        return True


def _named(columns: list[str], where: str) -> list[str]:
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise DataError(
            f"Two columns are named '{twice[0]}'.",
            where=where,
            to_do="Name each column once, or for CSV give all names in data.header.",
        )
    return columns


def _lists(value: object, place: Place) -> list[object]:
    if not isinstance(value, dict):
        return [value]
    keys = place.keys or tuple(key for key, rows in value.items() if isinstance(rows, list))
    for key in keys:
        if key not in value:
            raise DataError(
                f"The JSON object has no key '{key}'.{nearest(key, value)}",
                where=str(place.file),
                to_do=f"Its keys: {', '.join(list(value)[:8])}.",
            )
    if not keys or (not place.keys and len(keys) > 1):
        found = ", ".join(list(value)[:8])
        raise DataError(
            "The file is one JSON object, and it is not said which key holds the rows.",
            where=str(place),
            to_do=f"Write '{place.file.name}!key'; keys: {found}.",
        )
    return [value[key] for key in keys]


def _sound(value: Any, tally: Tally, where: str) -> Any:
    """The value with U+FFFD for halves of characters, which JSON can write as escapes and no encoding can hold."""
    if isinstance(value, dict):
        return {_sound(key, tally, where): _sound(item, tally, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_sound(item, tally, where) for item in value]
    if not isinstance(value, str) or not _HALF.search(value):
        return value
    tally.add("halved_characters", "warning", "{count} values held half a character, replaced by U+FFFD.", where)
    return _HALF.sub("\ufffd", value)


def _as_row(value: object, header: Sequence[str], where: str, tally: Tally) -> Mapping[str, Any]:
    if isinstance(value, dict):
        if header:
            message = "{count} rows have names of their own for their columns; data.header was not used for them."
            tally.add("header_unused", "warning", message, f"row {where.rpartition(':')[2]}")
        return value
    if isinstance(value, list) and header and len(value) == len(header):
        return dict(zip(header, value, strict=True))
    raise DataError(
        f"The row is {type(value).__name__}, not an object with columns.",
        where=where,
        to_do='Write {"text": ..., "label": ...}, or name the fields of lists in data.header.',
    )


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
