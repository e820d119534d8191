"""A text as recognisers read it: other forms of digits, letters and marks folded, and places told in the original."""

from __future__ import annotations

import re
import sys
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

BEFORE = 48
"""Characters before a value in which a word that tells its kind may stand."""
AFTER = 16
"""Characters behind it."""

_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d\ufe63"
_BLANKS = "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t"
_MARKS = {"＠": "@", "﹫": "@", "．": ".", "／": "/", "＋": "+", "（": "(", "）": ")", "＿": "_", "＃": "#"}


def _table() -> Mapping[int, str]:
    """What is folded, one character to one: digits of any script, full-width letters, dashes, blanks, a few marks."""
    digits = {
        code: str(unicodedata.decimal(chr(code)))
        for code in range(128, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) == "Nd"
    }
    letters = {code: chr(code - 0xFEE0) for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
    marks = {ord(mark): plain for mark, plain in _MARKS.items()}
    halves = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
    return (
        digits
        | letters
        | marks
        | halves
        | dict.fromkeys(map(ord, _DASHES), "-")
        | dict.fromkeys(map(ord, _BLANKS), " ")
    )


_FOLDED = _table()


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data in a text: code points `start` to `end`, the end not included.

    `certain` is said of a value that proves itself: by a check digit, or by a syntax that nothing else has.
    """

    start: int
    end: int
    kind: str
    certain: bool = False

    @property
    def length(self) -> int:
        """The number of code points."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Surface:
    """A text and its folded form.

    Attributes:
        original: the text as it was given.
        folded: the same with plain digits, letters, dashes and blanks, and without invisible characters, which people
            and attackers put between digits.
        places: for each character of the folded form, and for its end, where it stands in the original; None where
            both have the same places.
        seen: by the pattern of words that were asked for, where these begin and end.
    """

    original: str
    folded: str
    places: tuple[int, ...] | None = None
    seen: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> Surface:
        """The surface of a text; a text in ASCII is its own."""
        if text.isascii():
            return cls(text, text.replace("\t", " ") if "\t" in text else text)
        if _INVISIBLE.search(text) is None:
            return cls(text, text.translate(_FOLDED))
        places = [place for place, character in enumerate(text) if not _INVISIBLE.match(character)]
        return cls(text, "".join(text[place] for place in places).translate(_FOLDED), (*places, len(text)))

    def found(self, start: int, end: int, kind: str, *, certain: bool = False) -> Found:
        """What stands at these places of the folded form, at its places in the original."""
        if self.places is None:
            return Found(start, end, kind, certain)
        return Found(self.places[start], self.places[end - 1] + 1, kind, certain)

    def near(self, words: re.Pattern[str], start: int, end: int, *, before: int = BEFORE, after: int = AFTER) -> bool:
        """Whether a word that tells a kind stands shortly before these places or behind them.

        The words of a pattern are looked for once in a text, when they are first asked for.
        """
        if words.pattern not in self.seen:
            places = [match.span() for match in words.finditer(self.folded)]
            self.seen[words.pattern] = ([begin for begin, _ in places], [stop for _, stop in places])
        begins, stops = self.seen[words.pattern]
        last = bisect_right(stops, start) - 1
        first = bisect_left(begins, end)
        return (last >= 0 and begins[last] >= start - before) or (first < len(stops) and stops[first] <= end + after)


def words_of(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern of words whose capitals do not matter; one of ASCII letters must not stand within a longer one."""
    forms = [
        rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])" if word.isascii() else re.escape(word)
        for word in sorted(words, key=len, reverse=True)
    ]
    return re.compile("|".join(forms), re.IGNORECASE)


_GROUP = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class Number:
    """Digits in one group or several, and where they stand in the folded form."""

    start: int
    end: int
    digits: str
    groups: tuple[int, ...]


def numbers(text: str, least: int, most: int) -> Iterator[Number]:
    """Every number of `least` to `most` digits in whole groups, which a single blank or dash may part.

    A group touches no letter of ASCII and is no part of a decimal fraction. Each group begins at most `most` numbers.
    """
    groups = [match.span() for match in _GROUP.finditer(text)]
    for first, (start, _) in enumerate(groups):
        if start and not _is_free(text, start - 1, -1):
            continue
        digits, sizes = "", []
        for place in range(first, min(len(groups), first + most)):
            begin, end = groups[place]
            parted = place > first and (begin - groups[place - 1][1] != 1 or text[begin - 1] not in " -")
            if parted or len(digits) + end - begin > most:
                break
            digits += text[begin:end]
            sizes.append(end - begin)
            if len(digits) >= least and (end == len(text) or _is_free(text, end, 1)):
                yield Number(start, end, digits, tuple(sizes))


def _is_free(text: str, place: int, step: int) -> bool:
    """Whether the character beside a group leaves it whole: no letter, and no point or comma with a digit behind."""
    character = text[place]
    if character.isascii() and character.isalpha():
        return False
    beyond = place + step
    return not (character == "." and 0 <= beyond < len(text) and text[beyond].isascii() and text[beyond].isdigit())
