"""Rows that hold a user's history as a list of item ids -> examples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tunesmith.data.files import Place
from tunesmith.data.items import described, first_of, id_of, read_items
from tunesmith.data.labels import is_missing, read_label
from tunesmith.data.records import Example
from tunesmith.data.rows import distinct
from tunesmith.data.source import Source
from tunesmith.data.tables import Row
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

HISTORY = ("history", "items", "sequence", "历史")
TARGET = ("label", "target", "next", "item")
USER = ("user", "user_id", "userid", "用户")
"""The names of columns that are looked for: of histories, of what came next, of users."""
_ID = ("id", *USER)


def examples_of_histories(source: Source, place: Place, rows: Iterator[Row], tally: Tally) -> Iterator[Example]:
    """Examples of rows with the ids of a user's items, the oldest first, as a list or parted by `label_separator`.

    The rows of one user are a group (if `group` names no other): the history of one may hold what another asks for.

    Raises:
        DataError: there is no such column, or it holds something else.
    """
    items = read_items(source.items, source.encoding, tally) if source.items else {}
    head = next(rows, None)
    if head is None:
        return
    there = head[1]
    column = source.text or first_of(there, HISTORY, source.path)
    target = (source.label or first_of(there, TARGET, source.path)) if source.label_kind else ""
    own = source.id or next((name for name in there if name.lower() in _ID), "")
    group = source.group or next((name for name in there if name.lower() in USER), "")
    seen: set[int] = set()
    for name in (column, target, own, group, *source.keep):
        if name and name not in there:
            raise DataError(f"There is no column '{name}'.", where=source.path, to_do=f"Columns: {', '.join(there)}.")
    for number, row in chain([head], rows):
        where = f"{source.path}:{number}"
        history = _ids(row.get(column), source.label_separator, where)
        if not history:
            tally.add("empty_histories", "warning", "{count} rows without history were left out.", f"line {number}")
            continue
        if source.leave_out and target and str(row.get(target)).strip() in source.leave_out:
            message = "{count} rows were left out for their label (data.leave_out)."
            tally.add("left_out", "note", message, f"line {number}")
            continue
        label = read_label(row.get(target), source.label_kind, "", source.label_separator, where) if target else None
        name = f"{place.file.name}-{number}" if is_missing(row.get(own)) else str(row[own])
        slices = {kept: str(row.get(kept, "")) for kept in source.keep}
        shared = id_of(row.get(group)) if group else ""
        example = Example(name, described(history, items), label, None, shared, where, slices, history=history)
        yield distinct(example, seen, number, tally) if own else example


def _is_id(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and bool(id_of(value))


def _ids(value: object, separator: str, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(separator) if part.strip())
    if isinstance(value, list) and all(_is_id(item) for item in value):
        return tuple(id_of(item) for item in value)
    if is_missing(value):
        return ()
    raise DataError(
        f"The history {str(value)[:60]!r} is no list of item ids.",
        where=where,
        to_do='Give a list such as ["12", "7"].',
    )
