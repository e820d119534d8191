"""Texts in which two entities are marked, and files of such texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tunesmith.data.files import keyless, read_lines
from tunesmith.data.labels import is_missing
from tunesmith.data.records import Example, Span
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

ROLES = ("e1", "e2")
_FORMS = {
    "e1": ((r"<e1>", r"</e1>"), (r"\[\[ ?", r" ?\]\]")),
    "e2": ((r"<e2>", r"</e2>"), (r"<< ?", r" ?>>")),
}
"""How each role is marked: as SemEval does, and as SciERC's sentences are written."""
_STARTS, _ENDS = ("start", "begin"), ("end",)
_NUMBERED = re.compile(r"^(\d+)\t(.*)$")


def unmarked(text: str, where: str) -> tuple[str, tuple[Span, ...]]:
    """A text without its marks, and the places of the two entities in it.

    The marks are <e1>..</e1> and <e2>..</e2>, or [[ .. ]] for the first and << .. >> for the second entity.

    Raises:
        DataError: an entity is not marked, or twice, or is empty.
    """
    found: list[tuple[int, int, str]] = []  # start and end of a mark in the text, and what it is
    for role in ROLES:
        for opening, closing in _FORMS[role]:
            starts, ends = list(re.finditer(opening, text)), list(re.finditer(closing, text))
            if not starts and not ends:
                continue
            if len(starts) != 1 or len(ends) != 1 or ends[0].start() <= starts[0].end():
                raise DataError(
                    f"The entity {role} is not marked once, with a beginning before its end.",
                    where=where,
                    to_do="Write <e1>the first</e1> and <e2>the second</e2> entity once each.",
                )
            found += [(*starts[0].span(), f"{role} start"), (*ends[0].span(), f"{role} end")]
            break
        else:
            raise DataError(
                f"The text marks no entity {role}.",
                where=where,
                to_do="Write <e1>the first</e1> and <e2>the second</e2> entity, or give columns e1 and e2.",
            )
    parts, places, at, length = [], {}, 0, 0
    for start, end, what in sorted(found):
        parts.append(text[at:start])
        length += len(parts[-1])
        places[what], at = length, end
    plain = "".join([*parts, text[at:]])
    return plain, tuple(Span(places[f"{role} start"], places[f"{role} end"], role) for role in ROLES)


def with_marks(example: Example, row: Mapping[str, Any], where: str, tally: Tally) -> Example:
    """The example with its two entities: from the row's columns e1 and e2, or from marks in its text.

    An entity that is given by its own text stands where that occurs first; if it occurs again, that is counted.

    Raises:
        DataError: they are in neither, or do not lie in the text.
    """
    if not all(role in row for role in ROLES):
        text, marks = unmarked(example.text, where)
        return replace(example, text=text, marks=marks)
    marks = tuple(_mark(row[role], role, example.text, where) for role in ROLES)
    for role in ROLES:
        if isinstance(row[role], str) and example.text.count(row[role]) > 1:
            message = "{count} entities are given by a text that occurs several times; its first place was taken."
            tally.add("repeated_entities", "warning", message, f"{where}: {row[role]}")
    return replace(example, marks=marks)


def _mark(value: Any, role: str, text: str, where: str) -> Span:
    start = end = None
    if isinstance(value, Mapping):
        start = next((value[name] for name in _STARTS if name in value), None)
        end = next((value[name] for name in _ENDS if name in value), None)
    elif isinstance(value, list) and len(value) == 2:
        start, end = value
    elif isinstance(value, str) and value and value in text:
        start = text.index(value)
        end = start + len(value)
    is_whole = all(isinstance(border, int) and not isinstance(border, bool) for border in (start, end))
    if not is_whole or not 0 <= start < end <= len(text):  # type: ignore[operator]
        raise DataError(
            f"The entity {role} is {str(value)[:60]!r}, which is no place in the text.",
            where=where,
            to_do='Give {"start": 0, "end": 5} in characters, the end not included, or the text of the entity.',
        )
    return Span(start, end, role)  # type: ignore[arg-type]


def semeval_examples(source: Source, tally: Tally) -> Iterator[Example]:
    """The sentences of SemEval-2010 task 8: a numbered sentence in quotes, its relation, a comment, an empty line.

    Raises:
        DataError: a line is not as the format has it, or marks no two entities.
    """
    place = keyless(source.path, "semeval")
    if source.label_kind not in ("class", ""):
        raise DataError(
            "The file has a relation per sentence.", where=str(place), to_do="Use task relation_classification."
        )
    waiting: Example | None = None
    for number, raw in enumerate(read_lines(place, source.encoding), 1):
        line = raw.strip()
        numbered = _NUMBERED.match(line)
        if numbered:
            if waiting:
                yield _unrelated(waiting, source)
            where = f"{source.path}:{number}"
            text, marks = unmarked(numbered.group(2).strip().removeprefix('"').removesuffix('"'), where)
            waiting = Example(numbered.group(1), text, origin=where, marks=marks)
        elif not line or line.lower().startswith("comment"):
            continue
        elif waiting and not is_missing(line):
            yield replace(waiting, label=line) if source.label_kind else waiting
            waiting = None
        else:
            raise DataError(
                f"The line is neither a numbered sentence nor a comment: {line[:50]!r}.",
                where=f"{source.path}:{number}",
                to_do="Give the number, a tab and the sentence in quotes, then its relation on a line of its own.",
            )
    if waiting:
        yield _unrelated(waiting, source)
    tally.add("marks", "note", "The entities are marked by <e1> and <e2> in the text.")


def _unrelated(example: Example, source: Source) -> Example:
    if source.label_kind:
        raise DataError(
            "The sentence has no relation.", where=example.origin, to_do="Give one on the line after the sentence."
        )
    return example
