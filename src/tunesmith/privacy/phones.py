"""Telephone numbers in the forms of many countries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tunesmith.privacy.surface import Found, Surface, words_of

_LEAST, _MOST = 6, 15
"""Digits of a number (ITU-T E.164 allows 15)."""
_GROUPS = 7

_RUN = re.compile(r"[0-9]+(?:[ .()/-]{1,3}[0-9]+)*")
_GROUP = re.compile("[0-9]+")
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_DATE = re.compile(r"(?:[0-9]{1,2}([./-])[0-9]{1,2}\1(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}([./-])[0-9]{1,2}\2[0-9]{1,2})")
_NORTH_AMERICAN = re.compile(r"(?:1[ .-])?(?:\([0-9]{3}\)[ .-]?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}")
_ABROAD = re.compile(r"\+\(?[1-9]")
_DIALLED = re.compile(r"00[1-9]?[ .-]?[(1-9]")
_TRUNK = re.compile(r"\(?0[1-9]")
_WORDS = words_of(
    (
        *("phone", "phones", "telephone", "tel", "call", "calling", "called", "mobile", "cell", "cellphone", "fax"),
        *("desk", "office", "home", "work", "reach", "contact", "dial", "ring", "answering", "message", "messages"),
        *("hotline", "whatsapp", "sms", "电话", "手机", "联系", "致电", "拨打", "传真", "座机", "来电"),
    )
)


@dataclass(frozen=True)
class Phone:
    """A telephone number: by its form alone, or by a word such as "call" or "fax" beside it.

    International numbers, North American ones and national ones with a leading 0 have such a form; other groups of 7 to
    13 digits need the word.
    """

    kinds: ClassVar[tuple[str, ...]] = ("PHONE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text, with their extension; in each run of groups the longest that is one."""
        for run in _RUN.finditer(text.folded):
            groups = [match.span() for match in _GROUP.finditer(text.folded, run.start(), run.end())]
            first = 0
            while first < len(groups):
                taken = _longest(text, groups, first)
                if taken:
                    start, last = taken
                    end = groups[last][1]
                    extension = _EXTENSION.match(text.folded, end)
                    yield text.found(start, extension.end() if extension else end, "PHONE")
                    first = last
                first += 1


def _longest(text: Surface, groups: list[tuple[int, int]], first: int) -> tuple[int, int] | None:
    """Where the longest number that begins with a group starts, and its last group; None where there is none."""
    folded, start = text.folded, groups[first][0]
    if start and folded[start - 1] == "(":
        start -= 1
    if start and folded[start - 1] == "+":
        start -= 1
    if not _is_open(folded, start):
        return None
    size, found = 0, None
    for last in range(first, min(len(groups), first + _GROUPS)):
        begin, end = groups[last]
        size += end - begin
        if size > _MOST + 2:
            break
        is_ended = not _continues(folded, end) or _EXTENSION.match(folded, end)
        if size >= _LEAST and is_ended and _is_number(text, start, groups[first : last + 1], size):
            found = (start, last)
    return found


def _is_open(text: str, start: int) -> bool:
    """Whether a number may begin here: not within a word, an amount or a decimal fraction."""
    before = text[start - 1 : start]
    if before.isascii() and before.isalnum():
        return False
    return not (
        before in (".", ",", "$", "€", "£", "¥") and (before not in ".," or text[start - 2 : start - 1].isdigit())
    )


def _continues(text: str, end: int) -> bool:
    behind = text[end : end + 1]
    return behind.isascii() and behind.isalnum()


def _is_number(text: Surface, start: int, groups: list[tuple[int, int]], size: int) -> bool:
    """Whether groups of digits make a number, by their form or by a word beside them."""
    end = groups[-1][1]
    value = text.folded[start:end]
    sizes = [stop - begin for begin, stop in groups]
    if value.count("(") != value.count(")") or _DATE.match(value):
        return False
    if _ABROAD.match(value):
        return size >= 8
    if _NORTH_AMERICAN.fullmatch(value):
        return True
    if _DIALLED.match(value) and len(groups) > 1:
        return 10 <= size <= 17
    if _TRUNK.match(value) and len(groups) > 1 and 9 <= size <= 12 and min(sizes) >= 2:
        return True
    is_likely = 7 <= size <= 13 or (size == _LEAST and len(groups) == 3)
    return is_likely and min(sizes[1:] or sizes) >= 2 and text.near(_WORDS, start, end, before=32, after=12)
