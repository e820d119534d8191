"""Label values as they stand in files, read as the kind of label that a task needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.data.conll import join_words
from tunesmith.data.records import Label, Span
from tunesmith.data.tags import Tag, lenient_spans, parse_tag
from tunesmith.errors import LabelError, RecipeError

_MISSING = {"", "nan"}
_STARTS = ("start", "start_offset", "begin", "start_idx")
_ENDS = ("end", "end_offset", "end_idx")
_TYPES = ("label", "type", "entity", "entity_group", "tag")


def is_missing(value: object) -> bool:
    """Whether a value stands for no label: null, NaN, or blank."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and value.strip().lower() in _MISSING)
    )


def read_label(value: object, kind: str, text: str, separator: str, where: str) -> Label:
    """Turn a value into a label of a kind: "class", "number", "classes", "spans", "text" or "item".

    Raises:
        LabelError: the value cannot be read as that kind.
    """
    if kind in ("class", "item"):
        return read_class(value, where)
    if kind == "text":
        return read_text(value, where)
    if kind == "number":
        return read_number(value, where)
    if kind == "classes":
        return read_classes(value, separator, where)
    if kind == "spans":
        return tuple(sorted(set(read_spans(value, text, where))))
    raise RecipeError(f"Unknown kind of label '{kind}'.", to_do="Use class, number, classes, spans, text or item.")


def read_class(value: object, where: str) -> str:
    """One class, without blanks around it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list) and len(value) == 1:
        return read_class(value[0], where)
    if isinstance(value, str | int | float) and not is_missing(value):
        return str(value).strip()
    raise LabelError(
        f"The label {_short(value)} is not one class.",
        where=where,
        to_do="Give one label per text, or use problem: multi_label.",
    )


def read_text(value: object, where: str) -> str:
    """A written answer, as it stands."""
    if isinstance(value, str | int | float) and not is_missing(value):
        return str(value)
    raise LabelError(
        f"The answer {_short(value)} is not a text.", where=where, to_do="Give one written answer per text."
    )


def read_number(value: object, where: str) -> float:
    """A finite number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelError(
            f"The label {_short(value)} is not a number.",
            where=where,
            to_do="Give numbers, or another problem than regression.",
        ) from error
    if not math.isfinite(number):
        raise LabelError(
            f"The label {_short(value)} is not a finite number.", where=where, to_do="Remove the row or give a number."
        )
    return number


def read_classes(value: object, separator: str, where: str) -> tuple[str, ...]:
    """Several classes, from a list or from a text with a separator; none is a valid answer."""
    if is_missing(value):
        return ()
    parts = value if isinstance(value, list) else value.split(separator) if isinstance(value, str) else [value]
    return tuple(sorted({read_class(part, where) for part in parts if str(part).strip()}))


def read_spans(value: object, text: str, where: str) -> Iterator[Span]:
    """Spans in any of the usual JSON forms.

    A list of objects with start, end and label; a list of [start, end, label]; or CLUENER's object from type to text to
    [first, last] with the last character included. Where the entity's own text is given it must match.

    Raises:
        LabelError: the form is another, a border lies outside of the text, or the text does not match.
    """
    if isinstance(value, Mapping):
        yield from _by_type(value, text, where)
        return
    if not isinstance(value, list):
        raise LabelError(
            f"The label {_short(value)} is not a list of spans.",
            where=where,
            to_do='Give [{"start": 0, "end": 5, "label": "PER"}].',
        )
    for item in value:
        if isinstance(item, Mapping):
            start, end, kind = (_pick(item, names, where) for names in (_STARTS, _ENDS, _TYPES))
            yield checked(start, end, kind, item.get("text", item.get("word")), text, where)
        elif isinstance(item, list) and len(item) == 3:
            yield checked(item[0], item[1], item[2], None, text, where)
        else:
            raise LabelError(
                f"{_short(item)} is not a span.", where=where, to_do='Give {"start": 0, "end": 5, "label": "PER"}.'
            )


def checked(start: Any, end: Any, kind: Any, own: Any, text: str, where: str) -> Span:
    """A span after a look at its borders and, where it is given, its text."""
    are_whole = all(isinstance(border, int) and not isinstance(border, bool) for border in (start, end))
    if not are_whole or not isinstance(kind, str) or not kind.strip():
        raise LabelError(
            f"A span needs whole numbers and a type, not {_short(start)}, {_short(end)}, {_short(kind)}.",
            where=where,
            to_do="Give start, end (characters) and label.",
        )
    if not 0 <= start < end <= len(text):
        raise LabelError(
            f"The span {start} to {end} does not lie in the text of {len(text)} characters.",
            where=where,
            to_do="Count characters from 0; the end is not included.",
        )
    if isinstance(own, str) and own != text[start:end]:
        more = " The last character seems to be included in 'end'." if own == text[start : end + 1] else ""
        raise LabelError(
            f"The span {start} to {end} says {own!r}, the text there is {text[start:end]!r}.{more}",
            where=where,
            to_do="Correct the offsets.",
        )
    return Span(start, end, kind.strip())


def read_ranges(value: object, text: str, where: str) -> tuple[tuple[int, int], ...] | None:
    """The characters of each word of a text, from a list of [start, end]; None where the row tells none.

    Raises:
        LabelError: it is no such list, or the words do not follow each other within the text.
    """
    if is_missing(value):
        return None
    ranges = [tuple(item) for item in value if _is_range(item)] if isinstance(value, list) else []
    borders = [border for item in ranges for border in item]
    follow = all(start < end for start, end in ranges) and borders == sorted(borders) and borders[-1:] <= [len(text)]
    if not isinstance(value, list) or len(ranges) != len(value) or borders[:1] < [0] * bool(borders) or not follow:
        raise LabelError(
            f"The places of words are {_short(value)}.",
            where=where,
            to_do="Give [[0, 4], [5, 9]]: characters from 0, the end not included, one word after the other.",
        )
    return tuple((start, end) for start, end in ranges)


def _is_range(item: object) -> bool:
    return isinstance(item, list) and [type(border) for border in item] == [int, int]


def tagged_words(words: object, tags: object, where: str) -> tuple[str, tuple[tuple[int, int], ...], tuple[Span, ...]]:
    """Text, word ranges and spans of a row that holds words and a tag for each; without `tags` there are no spans.

    Raises:
        LabelError: the lists do not fit each other, a word is empty or no text, or a tag is none.
    """
    if not isinstance(words, list):
        raise LabelError(
            f"The words are {_short(words)}, not a list.", where=where, to_do='Give ["one", "text", "per", "word"].'
        )
    for number, word in enumerate(words, 1):
        fault = "" if isinstance(word, str | int | float) else "empty" if word is None else "no text"
        if fault or not str(word).strip():
            raise LabelError(
                f"Word {number} of {len(words)} is {fault or 'empty'}.",
                where=where,
                to_do="Remove it together with its tag.",
            )
    text, ranges = join_words([str(word) for word in words])
    spans = () if tags is None else lenient_spans(_parsed(tags, len(words), where))
    return (
        text,
        ranges,
        tuple(Span(ranges[first][0], ranges[end - 1][1], kind or "entity") for first, end, kind in spans),
    )


def _parsed(tags: object, words: int, where: str) -> list[Tag]:
    if not isinstance(tags, list) or len(tags) != words:
        raise LabelError(
            "The row does not have one tag per word.", where=where, to_do="Give two lists of the same length."
        )
    missing = [number for number, tag in enumerate(tags, 1) if is_missing(tag)]
    if missing:
        raise LabelError(
            f"Word {missing[0]} of {words} has no tag.",
            where=where,
            to_do="Tag it (O for no entity), or remove the row.",
        )
    if any(isinstance(tag, int) for tag in tags):
        raise LabelError("The tags are numbers without names.", where=where, to_do="Write tags such as B-PER.")
    try:
        return [parse_tag(str(tag)) for tag in tags]
    except LabelError as error:
        raise LabelError(error.what, where=where, to_do=error.to_do) from error


def _by_type(value: Mapping[str, Any], text: str, where: str) -> Iterator[Span]:
    for kind, mentions in value.items():
        if not isinstance(mentions, Mapping):
            raise LabelError(
                f"The entities of type '{kind}' are {_short(mentions)}.",
                where=where,
                to_do='Give {"type": {"text": [[first, last]]}}.',
            )
        for own, places in mentions.items():
            for place in places if isinstance(places, list) else [places]:
                if not (isinstance(place, list) and len(place) == 2 and all(isinstance(item, int) for item in place)):
                    raise LabelError(
                        f"The place {_short(place)} of {_short(own)} is not two whole numbers.",
                        where=where,
                        to_do='Give {"type": {"text": [[first, last]]}}, the last character included.',
                    )
                yield checked(place[0], place[1] + 1, kind, own, text, where)


def _pick(item: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    for name in names:
        if name in item:
            return item[name]
    raise LabelError(
        f"A span has no '{names[0]}'.",
        where=where,
        to_do=f"Its keys are {', '.join(map(str, item))}; needed are start, end and label.",
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
