"""Answers to questions, as files give them, found in the passage: each is checked against its offset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunesmith.data.records import Span
from tunesmith.data.tally import Tally, shorten
from tunesmith.errors import LabelError

ANSWER = "answer"
"""The label of an answer's span."""


def find_answers(value: object, text: str, separator: str, where: str, tally: Tally) -> tuple[Span, ...] | None:
    """The places of a question's answers, in the file's order; none (an empty tuple) means that it has no answer.

    An answer is a text, or an object with `text` and maybe `answer_start`; there may be a list of them, one text with
    a separator between them, or one object of two lists. An answer that repeats counts as often as it is given, for
    annotators who agree. An offset at which another text stands is not trusted: the nearest occurrence of the
    answer is taken and counted. An answer that the passage does not contain is left out and counted; None means
    that this leaves no answer of some.

    Raises:
        LabelError: the answers have another form.
    """
    given = [(answer, start) for answer, start in _given(value, separator, where) if answer.strip()]
    found = []
    for answer, start in given:
        place, is_trusted = _place(answer, start, text)
        if place < 0:
            tally.add(
                "answers_not_in_text",
                "warning",
                "{count} answers do not stand in their passage and were left out.",
                f"{shorten(answer, 60)} ({where})",
            )
            continue
        if start is None and text.count(answer) > 1:
            message = "{count} answers come without an offset and stand in several places; the first was taken."
            tally.add("answers_in_several_places", "warning", message, f"{shorten(answer, 60)} ({where})")
        elif start is not None and not is_trusted:
            message = "{count} answers do not stand where their offset says; the nearest place was taken."
            tally.add("moved_answers", "warning", message, f"{shorten(answer, 60)}: {start} -> {place} ({where})")
        kept = answer if text.startswith(answer, place) else answer.strip()
        found.append(Span(place, place + len(kept), ANSWER))
    if given and not found:
        message = "{count} questions were left out: none of their answers stands in the passage."
        tally.add("unplaced_questions", "warning", message, where)
        return None
    if not given:
        tally.add("questions_without_answer", "note", "{count} questions have no answer in their passage.", where)
    return tuple(found)


def _place(answer: str, start: int | None, text: str) -> tuple[int, bool]:
    """Where an answer stands (-1 for nowhere), and whether that is what its offset says."""
    if start is not None and start >= 0 and text.startswith(answer, start):
        return start, True
    for wanted in dict.fromkeys((answer, answer.strip())):
        places = list(_occurrences(wanted, text))
        if places:
            return min(places, key=lambda place: abs(place - max(start or 0, 0))), False
    return -1, False


def _occurrences(answer: str, text: str) -> Iterator[int]:
    place = text.find(answer)
    while place >= 0:
        yield place
        place = text.find(answer, place + 1)


def _given(value: object, separator: str, where: str) -> Iterator[tuple[str, int | None]]:
    """Each answer's text, and its offset where one is given."""
    if isinstance(value, str):
        yield from ((part.strip(), None) for part in value.split(separator))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield item, None
            else:
                yield _object(item, where)
    elif isinstance(value, Mapping) and isinstance(value.get("text"), list):
        starts = value.get("answer_start", [None] * len(value["text"]))
        if not isinstance(starts, list) or len(starts) != len(value["text"]):
            raise _wrong(value, where)
        for answer, start in zip(value["text"], starts, strict=True):
            yield _object({"text": answer, "answer_start": start}, where)
    else:
        yield _object(value, where)


def _object(item: object, where: str) -> tuple[str, int | None]:
    if not isinstance(item, Mapping):
        raise _wrong(item, where)
    answer, start = item.get("text"), item.get("answer_start")
    if not isinstance(answer, str) or not (start is None or (isinstance(start, int) and not isinstance(start, bool))):
        raise _wrong(item, where)
    return answer, start


def _wrong(value: object, where: str) -> LabelError:
    return LabelError(
        f"{shorten(repr(value), 60)} is not an answer.",
        where=where,
        to_do='Give [{"text": "Rome", "answer_start": 17}], ["Rome"], or [] where there is no answer.',
    )
