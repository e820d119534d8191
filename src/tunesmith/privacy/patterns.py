"""Recognisers of the user's own: a pattern, or a function that finds names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import re2

from tunesmith.data.records import Span
from tunesmith.errors import RecipeError, nearest
from tunesmith.privacy.check_digits import CHECKS
from tunesmith.privacy.surface import Found, Surface, words_of

LONGEST = 1024
"""The most characters of a value that an own pattern finds."""
_WINDOW = 4 * LONGEST
_KIND = re.compile(r"[A-Z][A-Z0-9_]{0,31}")


@dataclass(frozen=True)
class Pattern:
    r"""What matches a regular expression of RE2, which takes linear time and knows no look-around.

    It sees digits and letters in plain forms (a full-width \uff11 is 1). Texts are read in overlapping windows, so that
    even a pattern that looks far ahead at each place takes time in proportion to the text; a value has at most 1,024
    characters.

    Attributes:
        kind: what it finds, in capitals, such as EMPLOYEE_NUMBER.
        pattern: the regular expression; where it has a group, the first group is the value.
        context: words of which one must stand shortly before the value or behind it; none for no such condition.
        check: what the letters and digits must pass: luhn, id_card, credit_code or mod_97; empty for nothing.
        whole: a letter or digit of ASCII must not touch the value.
        ignore_case: capitals do not matter.
    """

    kind: str
    pattern: str
    context: tuple[str, ...] = ()
    check: str = ""
    whole: bool = True
    ignore_case: bool = False

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise RecipeError(
                f"A kind is written in capitals, digits and '_', not '{self.kind}'.", to_do="Write EMPLOYEE_NUMBER."
            )
        if self.check and self.check not in CHECKS:
            raise RecipeError(
                f"Unknown check '{self.check}'.{nearest(self.check, CHECKS)}",
                where=self.kind,
                to_do=f"Use one of {', '.join(CHECKS)}.",
            )
        try:
            matches_nothing = re2.compile(self.pattern, _options(self.ignore_case)).fullmatch("") is not None
        except re2.error as error:
            said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            raise RecipeError(
                f"The pattern is no regular expression of RE2: {said}.",
                where=self.kind,
                to_do="Correct it; look-around and back-references are not there.",
            ) from error
        if matches_nothing:
            raise RecipeError("The pattern matches the empty text.", where=self.kind, to_do="Make it match something.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it finds."""
        return (self.kind,)

    def find(self, text: Surface) -> Iterator[Found]:
        """What matches in the text."""
        words = words_of(self.context) if self.context else None
        for start, end in self._matches(text.folded):
            value = "".join(filter(str.isalnum, text.folded[start:end]))
            is_near = words is None or text.near(words, start, end)
            if end > start and is_near and (not self.check or CHECKS[self.check](value.upper())):
                yield text.found(start, end, self.kind, certain=bool(self.check))

    def _matches(self, text: str) -> Iterator[tuple[int, int]]:
        compiled = re2.compile(self.pattern, _options(self.ignore_case))
        step = _WINDOW - LONGEST
        for begin in range(0, max(1, len(text)), step):
            first = max(0, begin - 1)
            for match in compiled.finditer(text[first : begin + _WINDOW]):
                start, end = (first + place for place in match.span(1 if compiled.groups else 0))
                if begin <= start < begin + step and (not self.whole or _is_whole(text, start, end)):
                    yield start, end


def _options(ignore_case: bool) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    return options


def _is_whole(text: str, start: int, end: int) -> bool:
    return not (_joins(text, start - 1) and _joins(text, start)) and not (_joins(text, end - 1) and _joins(text, end))


def _joins(text: str, place: int) -> bool:
    character = text[place : place + 1] if place >= 0 else ""
    return character.isascii() and character.isalnum()


@dataclass(frozen=True)
class Names:
    """Names that a function finds, for example the spans of a tagger that Tunesmith trained.

    Attributes:
        tagger: gives the labelled spans of a text.
        meanings: the kind of personal data that each label means; labels that are not there are left.
    """

    tagger: Callable[[str], Iterable[Span]]
    meanings: Mapping[str, str] = field(default_factory=lambda: TAGGED_KINDS)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it finds."""
        return tuple(dict.fromkeys(self.meanings.values()))

    def find(self, text: Surface) -> Iterator[Found]:
        """The names in the original text."""
        for span in self.tagger(text.original):
            kind = kind_of(span.label, self.meanings)
            if kind and span.end > span.start:
                yield Found(span.start, span.end, kind)


TAGGED_KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("PER", "PERSON", "NAME", "人名", "NR"), "PERSON"),
        **dict.fromkeys(("ADDRESS", "STREET_ADDRESS", "地址"), "ADDRESS"),
        **dict.fromkeys(("LOC", "GPE", "LOCATION", "SCENE", "地名", "NS"), "PLACE"),
    }
)
"""The usual labels of taggers for people and places; an organisation is no person."""


def kind_of(label: str, meanings: Mapping[str, str] = TAGGED_KINDS) -> str:
    """The kind of personal data that a tagger's label means; empty for none."""
    return meanings.get(label) or meanings.get(label.upper(), "")
