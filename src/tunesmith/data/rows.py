"""Rows with columns -> examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from tunesmith.data.answers import find_answers
from tunesmith.data.columns import NAMES, Columns, find_columns, find_media, find_second, has_second, missing_columns
from tunesmith.data.dialogues import read_dialogue
from tunesmith.data.duplicates import text_key
from tunesmith.data.files import Place
from tunesmith.data.labels import is_missing, read_label, read_ranges, tagged_words
from tunesmith.data.marks import ROLES, with_marks
from tunesmith.data.media import MODALITIES, paths_of, with_media
from tunesmith.data.records import Example, Label
from tunesmith.data.source import Source
from tunesmith.data.tables import Row
from tunesmith.data.tally import Tally
from tunesmith.data.uncertain import read_chances, read_weight
from tunesmith.errors import DataError, nearest

_LOOKED_AT = 100
"""Rows in which columns are looked for; JSON may leave out what is null."""


def examples_of_rows(source: Source, place: Place, rows: Iterator[Row], tally: Tally) -> Iterator[Example]:
    """The examples of a table's rows, by the columns that the source or their usual names tell."""
    if "turns" in source.inputs:
        yield from _dialogues(source, place, rows, tally)
        return
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
        if source.leave_out and str(label).strip() in source.leave_out:
            tally.add(
                "left_out", "note", "{count} rows were left out for their label (data.leave_out).", f"line {number}"
            )
            continue
        example = _example(source, columns, row, number, place, tally)
        if source.label_kind == "answers":
            answered = _answered(source, columns, row, example, tally)
            if answered is None:
                continue
            example = answered
        if not (example.text.strip() or example.media) or (
            columns.second and needs_second(source) and not example.second.strip()
        ):
            tally.add("empty_texts", "warning", "{count} rows without text were left out.", f"line {number}")
            continue
        _note_missing(example, columns, number, tally)
        note_blanks(label, source, number, tally)
        example = _unsure(example, source, row, where)
        yield distinct(example, seen, number, tally) if columns.id else example
    refuse_unlabelled(unlabelled, source)


def _unsure(example: Example, source: Source, row: Mapping[str, Any], where: str) -> Example:
    """The example with its weight and the chances of its labels, where the source names columns of these."""
    if source.weight:
        example = replace(example, weight=read_weight(row.get(source.weight), where))
    if source.chances:
        example = replace(example, chances=read_chances(row.get(source.chances), source.label_kind, where))
    return example


def _note_missing(example: Example, columns: Columns, line: int, tally: Tally) -> None:
    """Count what an example with several modalities lacks."""
    given = {"text": example.text.strip(), **example.media}
    for modality in ("text", *(name for name, _ in columns.media)):
        if not given.get(modality):
            message = f"{{count}} rows have no {modality}; they are read without."
            tally.add(f"missing_{modality}", "note", message, f"line {line}")


def _dialogues(source: Source, place: Place, rows: Iterator[Row], tally: Tally) -> Iterator[Example]:
    """The examples of rows that hold a dialogue each."""
    seen: set[int] = set()
    head = list(islice(rows, _LOOKED_AT))
    every = list(dict.fromkeys(name for _, row in head for name in row))
    for name in (source.text, source.label, source.id, source.group, *source.keep):
        if name and name not in every:
            raise DataError(
                f"There is no column '{name}'.{nearest(name, every)}",
                where=source.path,
                to_do=f"Columns: {', '.join(every[:12])}.",
            )
    own = source.id or next((name for name in NAMES["id"] if name in every), "")
    for number, row in chain(head, rows):
        found = read_dialogue(source, row, number, tally)
        if found is None:
            continue
        example = replace(
            _bare(source, own, row, number, place),
            text=found.turns[-1].text,
            label=found.answer,
            turns=found.turns,
            rejected=found.rejected,
        )
        yield distinct(example, seen, number, tally) if own else example


def distinct(example: Example, seen: set[int], line: int, tally: Tally) -> Example:
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
    further = (source.group, *source.keep, source.weight, source.chances)
    named = Columns(source.text, source.label, source.id, second=source.second)
    found = find_columns(there, later, named=named, further=further, kind=source.label_kind, where=source.path)
    wanted = {name: source.image if name == "image" else source.audio for name in MODALITIES if name in source.inputs}
    may_lack = not needs_second(source) and not source.second and not has_second(there, found)
    if {"second", "second?"} & set(source.inputs) and not may_lack:
        found = replace(found, second=find_second(there, found, source.second, source.path))
    return replace(found, media=find_media((*there, *later), found, wanted, source.path))


def needs_second(source: Source) -> bool:
    """Whether every example must have a second text: a "second?" may be missing where no labels are read."""
    return "second" in source.inputs or bool(source.label_kind)


def wanted_columns(source: Source, there: Sequence[str]) -> list[str]:
    """The columns that will be read of those that are there."""
    if "turns" in source.inputs:
        return list(there)
    columns = _columns(source, there)
    media = (column for _, column in columns.media)
    names = (columns.text, columns.second, columns.words, columns.label, columns.id, source.group, *source.keep, *media)
    names += (source.weight, source.chances, columns.ranges)
    names += tuple(role for role in ROLES if role in there and "marks" in source.inputs)
    return list(dict.fromkeys(name for name in names if name))


def _bare(source: Source, own: str, row: Mapping[str, Any], number: int, place: Place) -> Example:
    """An example without its text: its id from the column `own`, its group, where it stands, and what is kept of it."""
    name, shared = (row.get(column) if column else None for column in (own, source.group))
    return Example(
        id=f"{place.file.name}-{number}" if is_missing(name) else str(name),
        text="",
        group="" if is_missing(shared) else str(shared),
        origin=f"{source.path}:{number}",
        attributes={column: _plain(row.get(column)) for column in source.keep},
    )


def _example(
    source: Source, columns: Columns, row: Mapping[str, Any], number: int, place: Place, tally: Tally
) -> Example:
    bare = _bare(source, columns.id, row, number, place)
    name, group, where, attributes = bare.id, bare.group, bare.origin, bare.attributes
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
    media = paths_of(columns.media, row, place.file.parent, where)
    label: Label | None = None
    if columns.label and (text.strip() or media) and source.label_kind != "answers":
        label = read_label(row[columns.label], source.label_kind, text, source.label_separator, where)
    second = _plain(row.get(columns.second)) if columns.second else ""
    given = read_ranges(row.get(columns.ranges), text, where) if columns.ranges else None
    example = Example(name, text, label, given, group, where, attributes, second)
    if media:
        return with_media(example, media)
    return with_marks(example, row, where, tally) if "marks" in source.inputs and text.strip() else example


def _answered(
    source: Source, columns: Columns, row: Mapping[str, Any], example: Example, tally: Tally
) -> Example | None:
    """The question with its answers found in its passage; questions about one passage belong together.

    None where none of its answers stands there, which was counted.
    """
    label = find_answers(row[columns.label], example.text, source.label_separator, example.origin, tally)
    if label is None:
        return None
    return replace(example, label=label, group=example.group or f"passage {text_key(example.text)}")


def _plain(value: object) -> str:
    """A value as text; null and NaN are empty."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def note_blanks(label: object, source: Source, line: int, tally: Tally) -> None:
    """Count a class that has blanks around it."""
    if isinstance(label, str) and label != label.strip() and source.label_kind == "class":
        message = "{count} labels had blanks around them, which were taken off."
        tally.add("label_blanks", "warning", message, f"line {line}: {label!r}")


def refuse_unlabelled(lines: Sequence[str], source: Source) -> None:
    """Raise a DataError that names the rows without a label."""
    if lines:
        shown = ", ".join(lines[:3]) + (" ..." if len(lines) > 3 else "")
        raise DataError(
            f"{len(lines)} rows have no label (empty or NaN): rows {shown}.",
            where=source.path,
            to_do="Label these rows or remove them.",
        )
