"""Rows with named columns: CSV, TSV, JSON lines, JSON and Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.data.files import Place, read_lines
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, import_extra, nearest

Row = tuple[int, Mapping[str, Any]]
"""The line (or number) of a row, and its values by column."""

_LONGEST_FIELD = 1 << 26
_SEPARATORS = ",\t;|"


def read_csv(place: Place, encoding: str, separator: str, header: Sequence[str], tally: Tally) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file; the first line names the columns unless `header` does.

    Without a `separator` it is the tab for .tsv, else the one of comma, tab, semicolon and bar that is most in line 1.

    Raises:
        DataError: a row has more or fewer fields than there are columns, or its quotes are not closed.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    lines = read_lines(place, encoding)
    first = next(lines, "")
    mark = separator or ("\t" if place.suffix == ".tsv" else max(_SEPARATORS, key=first.count))
    if not separator and mark != ("\t" if place.suffix == ".tsv" else ","):
        tally.add("separator", "note", f"The fields are separated by {mark!r}, of which the first line has most.")
    rows = csv.reader(_chain(first, lines), delimiter=mark, strict=True)
    columns = list(header)
    line = 1
    try:
        for fields in rows:
            start, line = line, rows.line_num + 1
            if not any(field.strip() for field in fields):
                tally.add("empty_lines", "note", "{count} empty lines were passed over.", f"line {start}")
            elif not columns:
                columns = _named([field.strip() for field in fields], place)
            elif len(fields) != len(columns):
                raise DataError(
                    f"Line {start} has {len(fields)} fields; there are {len(columns)} columns.",
                    where=f"{place}:{start}",
                    to_do=f"Quote fields that hold {mark!r}, or set data.separator.",
                )
            else:
                yield start, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"The row that begins in line {line} is not valid CSV: {error}.",
            where=f"{place}:{line}",
            to_do="Close its quotes, or double a quote inside a field.",
        ) from error


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
        except ValueError as error:
            raise DataError(
                f"Line {number} is not valid JSON: {error}.",
                where=f"{place}:{number}",
                to_do="Write one JSON object per line.",
            ) from error
        yield number, _as_row(value, header, f"{place}:{number}")


def read_json(place: Place, encoding: str, header: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a JSON file: a list of objects, or an object whose keys hold such lists.

    Raises:
        DataError: the file is not valid JSON, or holds no list of rows where it should.
    """
    try:
        value = json.loads("".join(read_lines(place, encoding)))
    except ValueError as error:
        raise DataError(
            f"The file is not valid JSON: {error}.",
            where=str(place),
            to_do="Give a list of objects, or one JSON object per line (.jsonl).",
        ) from error
    number = 0
    for rows in _lists(value, place):
        if not isinstance(rows, list):
            raise DataError("There is no list of rows.", where=str(place), to_do="Give a JSON list of objects.")
        for item in rows:
            number += 1
            yield number, _as_row(item, header, f"{place}:{number}")


def read_parquet(place: Place) -> Iterator[Row]:
    """Yield the rows of a Parquet file, read in blocks.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file is not Parquet.
    """
    parquet = import_extra("pyarrow.parquet", "parquet")
    arrow = import_extra("pyarrow", "parquet")
    number = 0
    try:
        with parquet.ParquetFile(place.file) as table:
            for block in table.iter_batches(batch_size=4096):
                for item in block.to_pylist():
                    number += 1
                    yield number, item
    except (arrow.ArrowInvalid, OSError) as error:
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


def _named(columns: list[str], place: Place) -> list[str]:
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise DataError(
            f"Two columns are named '{twice[0]}'.",
            where=f"{place}:1",
            to_do="Name each column once, or give all names in data.header.",
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


def _as_row(value: object, header: Sequence[str], where: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
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
