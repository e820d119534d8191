"""CoNLL columns: a word per line with its tag in the last column, an empty line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tunesmith.data.files import Place, keyless, read_lines
from tunesmith.data.records import Example, Span
from tunesmith.data.source import Source
from tunesmith.data.tags import SchemeWatch, lenient_spans, parse_tag
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, LabelError

_TAG = re.compile(r"O|[BIESM]-\S+")
_UNSPACED = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
"""Kana, Han and full-width signs, between which no blank is written."""
_SHARED = "\u00b7\u2014\u2018\u2019\u201c\u201d\u2026"
"""Dots, dashes and quotes that Chinese shares with other scripts: they belong to the script beside them."""
_DOCUMENT = "-DOCSTART-"

_Row = tuple[int, list[str]]


def looks_like_conll(lines: Sequence[str]) -> bool:
    """Whether every line that is not empty ends in a column with a tag."""
    rows = [_columns(line) for line in lines if line.strip() and not line.startswith(_DOCUMENT)]
    return len(rows) > 1 and all(len(row) > 1 and _TAG.fullmatch(row[-1]) for row in rows)


def conll_examples(source: Source, tally: Tally) -> Iterator[Example]:
    """The sentences of a source.

    Raises:
        DataError: the task needs no spans, or the file is not as `read_conll` wants it.
    """
    place = keyless(source.path, "conll")
    if source.label_kind not in ("spans", ""):
        raise DataError(
            "The file has a tag per word, but the task needs a label per text.",
            where=str(place),
            to_do="Use task token_classification, or give another file.",
        )
    return read_conll(place, source.encoding, tally, labelled=bool(source.label_kind))


def read_conll(place: Place, encoding: str, tally: Tally, *, labelled: bool) -> Iterator[Example]:
    """Yield a sentence per example: words joined by blanks (none between Chinese characters), entities as spans.

    The scheme (IOB1, IOB2, BIOES, BMES) is recognised from all tags and noted. `-DOCSTART-` lines are counted, and
    number the documents, which become the examples' groups.

    Raises:
        DataError: a line has fewer or more columns than the first, or a tag that no scheme knows.
    """
    watch = SchemeWatch()
    document = 0
    for rows in _sentences(place, encoding):
        line = rows[0][0]
        if rows[0][1][0] == _DOCUMENT:
            document += 1
            tally.add(
                "document_lines", "note", "{count} document lines (-DOCSTART-) mark the documents of the sentences."
            )
            rows = rows[1:]
        if not rows:
            continue
        text, ranges = join_words([columns[0] for _, columns in rows])
        spans: tuple[Span, ...] | None = None
        if labelled:
            tags = [_parse(columns[-1], number, place) for number, columns in rows]
            watch.see([columns[-1] for _, columns in rows], tags)
            spans = tuple(
                Span(ranges[first][0], ranges[end - 1][1], kind or "entity") for first, end, kind in lenient_spans(tags)
            )
        group = f"document-{document}" if document else ""
        yield Example(f"{place.file.name}-{line}", text, spans, ranges, group, f"{place}:{line}")
    if labelled:
        _announce(watch, tally)


def join_words(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Join words into a text and say which characters each covers; Chinese and Japanese signs get no blank."""
    text = ""
    ranges = []
    for place, word in enumerate(words):
        if text and not _is_unspaced(text, words, place):
            text += " "
        ranges.append((len(text), len(text) + len(word)))
        text += word
    return text, tuple(ranges)


def _is_unspaced(before: str, words: Sequence[str], place: int) -> bool:
    """Whether no blank is written between a text and the word at a place, which follows it."""
    left, right = before[-1], words[place][0]
    if left in _SHARED and right in _SHARED:
        # Neither tells the script; the nearest other characters do.
        nearest = before.rstrip(_SHARED + " ")[-1:], "".join(words[place:]).lstrip(_SHARED)[:1]
        return any(_UNSPACED.match(sign) for sign in nearest)
    return all(sign in _SHARED or _UNSPACED.match(sign) for sign in (left, right))


def _columns(line: str) -> list[str]:
    """The fields of a line, parted by tabs or else by blanks; a no-break space is part of a word."""
    parts = line.split("\t") if "\t" in line else re.split(" +", line.strip(" \r\n"))
    return [part.strip() for part in parts]


def _sentences(place: Place, encoding: str) -> Iterator[list[_Row]]:
    rows: list[_Row] = []
    width = 0
    for number, line in enumerate(read_lines(place, encoding), 1):
        columns = _columns(line)
        if columns[0] == _DOCUMENT or not any(columns):
            if rows:
                yield rows
            rows = [(number, columns)] if any(columns) else []
            continue
        width = width or len(columns)
        if not columns[0]:
            raise DataError(
                f"Line {number} has no word before its tag.",
                where=f"{place}:{number}",
                to_do="Remove the line, or write its word.",
            )
        if len(columns) != width or width < 2:
            raise DataError(
                f"Line {number} has {len(columns)} columns, the first line has {width}; a word and a tag are needed.",
                where=f"{place}:{number}",
                to_do="Correct the line, or name another format in data.format.",
            )
        rows.append((number, columns))
    if rows:
        yield rows


def _parse(tag: str, line: int, place: Place) -> tuple[str, str]:
    try:
        return parse_tag(tag)
    except LabelError as error:
        raise LabelError(error.what, where=f"{place}:{line}", to_do=error.to_do) from error


def _announce(watch: SchemeWatch, tally: Tally) -> None:
    tally.add("tag_scheme", "note", f"The tags are read as {watch.scheme}.")
    if watch.odd:
        message = (
            f"{watch.odd} entities begin with a tag that {watch.scheme} does not allow there; each is read as one."
        )
        tally.put("odd_tags", "warning", message, watch.odd)
