"""A file without its personal data, row by row: labels are kept, and spans are shifted with their words."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tunesmith.data.columns import NAMES
from tunesmith.data.files import Place, keyless, read_lines
from tunesmith.data.hub import HUB
from tunesmith.data.records import Example, Finding, Span
from tunesmith.data.source import Source
from tunesmith.data.sources import format_of, iterate, see_used, table_rows
from tunesmith.data.tables import Row
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, nearest
from tunesmith.evaluation.results import example_row
from tunesmith.privacy import NestedRedaction, Partial, PersonalDataError, Redacted, RedactionKey, Redactor
from tunesmith.redacted_data import words_after
from tunesmith.writing import written

SHOWN = 3
_OF_PARTS = ("separator", "quoted")
"""Settings that part a line, for lines that are redacted as a whole."""
_TABLES = ("csv", "tsv", "jsonl", "json", "parquet", "hub")
_STARTS = {"start": "end", "start_offset": "end_offset", "begin": "end", "start_idx": "end_idx"}
_OWN = ("text", "word")


@dataclass
class Told:
    """What was done to a file, without anything that stood in it.

    Attributes:
        counts: the values replaced, by kind.
        shown: up to three values of each kind in asterisks, as `Partial` writes them.
        columns: the values replaced, by column.
        rows: the rows (or lines) of the file, and `changed`, how many of them are others now.
        findings: what was odd about the file.
    """

    counts: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    columns: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    changed: int = 0
    findings: list[Finding] = field(default_factory=list)

    def plain(self) -> dict[str, object]:
        """The same as plain values."""
        kinds = {kind: {"count": count, "examples": self.shown[kind]} for kind, count in self.counts.most_common()}
        return {"rows": self.rows, "changed": self.changed, "kinds": kinds, "columns": dict(self.columns)}


def redact_file(source: Source, out: Path, redactor: Redactor) -> Told:
    """Write the file without its personal data: a table as CSV (.csv, .tsv) or JSON lines, a text line by line.

    Raises:
        DataError: it cannot be read, or has a form that cannot be written again.
        PersonalDataError: a row holds what is refused; nothing is written.
    """
    told = Told()

    def change(text: str, before: str) -> Redacted:
        redacted = redactor.apply(text, before=before)
        for one in redacted.found:
            if len(told.shown[one.kind]) < SHOWN:
                told.shown[one.kind].append(Partial().replacement(text[one.start : one.end], one.kind, None))
        return redacted

    return _write(source, out, NestedRedaction(change), told)


def restore_file(source: Source, out: Path, key: RedactionKey) -> Told:
    """Write the file with the values of its pseudonyms; the examples of `Told` stay empty.

    Raises:
        DataError: it cannot be read, or has a form that cannot be written again.
    """
    return _write(source, out, NestedRedaction.restoring(key), Told())


def _write(source: Source, out: Path, redaction: NestedRedaction, told: Told) -> Told:
    form, tally = format_of(source), Tally()
    see_used(source, _OF_PARTS if form == "lines" else ())
    if form == "conll":
        _write_rows(_of_examples(source, redaction, told, tally), out, told)
    elif form in _TABLES:
        place = Place(source.path, "") if source.path.startswith(HUB) else Place.of(source.path)  # type: ignore[arg-type]
        rows = table_rows(form, source, place, tally, every=True)
        head = list(islice(rows, 1))
        _see_nameless(source, head)
        if head and _words_of(head[0][1]):
            _write_rows(_of_examples(source, redaction, told, tally), out, told)
        else:
            _write_rows(_of_rows(source, chain(head, rows), redaction, told), out, told)
    elif form == "lines":
        with written(out) as file:
            for number, line in enumerate(read_lines(keyless(source.path, form), source.encoding), 1):
                redacted = _noted(redaction, line, "", f"{source.path}:{number}", told, "text")
                told.rows += 1
                told.changed += redacted.text != line
                file.write(redacted.text)
    else:
        raise DataError(
            f"A file of format {form} is not written again.",
            where=source.path,
            to_do="Give a table, words with tags, or lines of text (--set data.format=lines).",
        )
    told.counts = redaction.counts
    told.findings = [*tally.findings(), *_labels_changed(source, told)]
    return told


def _labels_changed(source: Source, told: Told) -> list[Finding]:
    usual = {name.lower() for role in ("label", "spans", "tags", "number") for name in NAMES[role]}
    columns = [name for name in told.columns if name.lower() in usual and name != source.label]
    said = "{} values in the column '{}', which is named like a label, were replaced; --set data.label={} keeps it."
    return [
        Finding("labels_changed", "warning", said.format(told.columns[name], name, name), told.columns[name])
        for name in columns
    ]


def _noted(redaction: NestedRedaction, text: str, name: str, where: str, told: Told, column: str) -> Redacted:
    """A text redacted, its column counted and, where it is refused, its row named."""
    try:
        redacted = redaction.text(text, name)
    except PersonalDataError as error:
        raise PersonalDataError(error.counts, where) from error
    if redacted.found:
        told.columns[column] += len(redacted.found)
    return redacted


def _of_rows(source: Source, rows: Iterator[Row], redaction: NestedRedaction, told: Told) -> Iterator[dict[str, Any]]:
    """Each row with every value redacted but the label; spans are shifted as the text was."""
    seen: dict[str, None] = {}
    for number, row in rows:
        seen |= dict.fromkeys(row)
        where = f"{source.path}:{number}"
        main = source.text or _text_column(row)
        if main and main == source.label:
            raise DataError(
                f"The column '{main}' would be redacted as the text and kept as the label.",
                where=f"{source.path}, data.label",
                to_do="Name the column of texts in data.text and that of labels in data.label.",
            )
        text = row.get(main)
        whole = _noted(redaction, text, "", where, told, main) if isinstance(text, str) else None
        put: dict[str, Any] = {}
        for name, value in row.items():
            before = redaction.counts.total()
            if name == main and whole is not None:
                put[name] = whole.text
            elif whole is not None and isinstance(text, str) and _are_spans(value):
                put[name] = _shifted(value, whole)
            elif whole is not None and name.lower() in NAMES["ranges"] and isinstance(value, list):
                put[name] = [
                    list(word) for word in words_after([(first, last) for first, last in value], whole.offsets)
                ]
            elif name == source.label:
                put[name] = value
            else:
                try:
                    put[name] = redaction.apply(value, name)
                except PersonalDataError as error:
                    raise PersonalDataError(error.counts, where) from error
                told.columns[name] += redaction.counts.total() - before
        told.rows += 1
        told.changed += put != dict(row)
        yield put
    told.columns += Counter()  # columns without any value leave
    _see_named(source, seen)


def _see_named(source: Source, there: Iterable[str]) -> None:
    """Refuse a name that no row has: what it should keep, or be read by, would silently be another column's.

    Raises:
        DataError: there is no such column.
    """
    columns = list(there)
    for key, name in (("label", source.label), ("text", source.text), ("id", source.id)):
        if name and columns and name not in columns:
            raise DataError(
                f"There is no column '{name}'.{nearest(name, columns)}",
                where=f"{source.path}, data.{key}",
                to_do=f"Columns: {', '.join(columns)}.",
            )


def _see_nameless(source: Source, head: Sequence[Row]) -> None:
    """Refuse names of columns for rows that name theirs themselves.

    Raises:
        DataError: the first row does.
    """
    if source.header and head and tuple(head[0][1]) != source.header:
        raise DataError(
            "The rows name their columns themselves, so that data.header names none.",
            where=source.path,
            to_do=f"Remove data.header. Columns: {', '.join(head[0][1])}.",
        )


def _of_examples(source: Source, redaction: NestedRedaction, told: Told, tally: Tally) -> Iterator[dict[str, Any]]:
    """Words with tags as texts with spans, redacted."""
    for example in iterate(replace(source, label_kind="spans"), tally):
        whole = _noted(redaction, example.text, "", example.origin, told, "text")
        told.rows += 1
        told.changed += bool(whole.found)
        yield dict(example_row(_with_text(example, whole), "spans"))


def _with_text(example: Example, redacted: Redacted) -> Example:
    spans = [span for span in example.label or () if isinstance(span, Span)] if isinstance(example.label, tuple) else []
    moved = {Span(*redacted.offsets.to_redacted(span.start, span.end), span.label) for span in spans}
    return replace(example, text=redacted.text, label=tuple(sorted(moved)), words=None)


def _text_column(row: Mapping[str, Any]) -> str:
    there = {name.lower(): name for name in row}
    return next((there[name.lower()] for name in NAMES["text"] if name.lower() in there), "")


def _words_of(row: Mapping[str, Any]) -> bool:
    """Whether the row has words with tags in the place of a text."""
    there = {name.lower(): name for name in row}
    return not _text_column(row) and any(isinstance(row[there[name]], list) for name in NAMES["words"] if name in there)


def _are_spans(value: object) -> bool:
    """Whether a value holds places in a text, in one of the forms that labels may have."""
    if isinstance(value, list):
        return bool(value) and all(_are_spans(item) or _is_triple(item) for item in value)
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("answer_start"), int) and isinstance(value.get("text"), str):
        return True
    if any(isinstance(value.get(start), int) and isinstance(value.get(end), int) for start, end in _STARTS.items()):
        return True
    return bool(value) and all(isinstance(one, Mapping) and one and _are_by_text(one) for one in value.values())


def _is_triple(value: object) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [int, int, str]


def _are_by_text(value: Mapping[Any, Any]) -> bool:
    """CLUENER's form: a text with its places, of which the last character is included."""
    return all(
        isinstance(places, list) and all([type(part) for part in place] == [int, int] for place in places)
        for places in value.values()
    )


def _shifted(value: Any, redacted: Redacted) -> Any:
    """The places of a label in the redacted text, in the form that they had."""
    move = redacted.offsets.to_redacted
    if _is_triple(value):
        return [*move(value[0], value[1]), value[2]]
    if isinstance(value, list):
        return [_shifted(item, redacted) for item in value]
    if isinstance(value.get("answer_start"), int):
        start, end = move(value["answer_start"], value["answer_start"] + len(value["text"]))
        return {**value, "answer_start": start, "text": redacted.text[start:end]}
    for first, last in _STARTS.items():
        if isinstance(value.get(first), int) and isinstance(value.get(last), int):
            start, end = move(value[first], value[last])
            own = {name: redacted.text[start:end] for name in _OWN if isinstance(value.get(name), str)}
            return {**value, first: start, last: end, **own}
    moved: dict[str, dict[str, list[list[int]]]] = {}
    for kind, texts in value.items():
        for first, last in chain.from_iterable(texts.values()):
            start, end = move(first, last + 1)
            moved.setdefault(kind, {}).setdefault(redacted.text[start:end], []).append([start, end - 1])
    return moved


def _write_rows(rows: Iterator[dict[str, Any]], out: Path, told: Told) -> None:
    """Write rows as JSON lines, or as a table where the name of the file asks for it.

    Raises:
        DataError: a value has no place in a table.
    """
    suffix = out.suffix.lower()
    with written(out) as file:
        if suffix not in (".csv", ".tsv"):
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            return
        table: Any = None
        for row in rows:
            if table is None:
                mark = "\t" if suffix == ".tsv" else ","
                table = csv.DictWriter(file, list(row), delimiter=mark, lineterminator="\n")
                table.writeheader()
            if any(isinstance(value, list | dict) for value in row.values()) or set(row) - set(table.fieldnames):
                raise DataError(
                    f"Row {told.rows} holds a list, or a column that the first row has not; a table cannot.",
                    where=str(out),
                    to_do="Give --out a name that ends in .jsonl.",
                )
            table.writerow(row)
