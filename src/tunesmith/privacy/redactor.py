"""Redactor: what is found in a text, and the text without it."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Protocol

from tunesmith.errors import RecipeError
from tunesmith.privacy.actions import Action, Mask, Pseudonymise, tokens
from tunesmith.privacy.keys import RedactionKey
from tunesmith.privacy.offsets import Offsets
from tunesmith.privacy.refusing import PersonalDataError
from tunesmith.privacy.surface import Found, Surface

TOKEN = "TOKEN"
"""The kind of a pseudonym that stands in a text already. It is sealed once more, so that nobody can have a token that
he read elsewhere opened by sending it in, and so that `restore` gives back exactly what was given."""


class Recogniser(Protocol):
    """A way to find one kind of personal data, or a few."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that it can find."""

    def find(self, text: Surface) -> Iterable[Found]:
        """What it finds, at its places in the original text, in any order; time in proportion to the text."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without the personal data that was found.

    Attributes:
        text: what may be shown.
        counts: how many values of each kind were replaced.
        found: these values' places in the original.
        offsets: the way between places in the original and in `text`.
    """

    text: str
    counts: Mapping[str, int]
    found: tuple[Found, ...]
    offsets: Offsets


@dataclass(frozen=True)
class Redactor:
    """Finds personal data and replaces it.

    Attributes:
        recognisers: what looks for it; the earlier wins where two are alike sure of the same place.
        action: what is done with a value.
        actions: what is done instead with values of these kinds.
        kinds: only these kinds count; empty for all.
        key: needed where an action hashes or pseudonymises.
    """

    recognisers: tuple[Recogniser, ...]
    action: Action = field(default_factory=Mask)
    actions: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    kinds: tuple[str, ...] = ()
    key: RedactionKey | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.key is None and any(action.needs_key for action in (self.action, *self.actions.values())):
            raise RecipeError("Hashes and pseudonyms need a key.", where="actions", to_do="Give a key.")

    def find(self, text: str, *, before: str = "") -> tuple[Found, ...]:
        """The personal data of a text, in its order, none over another.

        Args:
            text: the text.
            before: words that stand before it elsewhere, such as the name of its column, by which values may be told.
        """
        surface = Surface.of(before + text if before else text)
        every = chain.from_iterable(recogniser.find(surface) for recogniser in self.recognisers)
        kept = [one for one in every if not self.kinds or one.kind in self.kinds]
        if before:
            shift = len(before)
            inside = (one for one in kept if one.start >= shift)
            kept = [Found(one.start - shift, one.end - shift, one.kind, one.certain) for one in inside]
        return resolved([*self._tokens(text), *kept])

    def apply(self, text: str, *, before: str = "") -> Redacted:
        """The text with each value replaced as its kind's action says.

        Raises:
            PersonalDataError: it holds a kind that is refused; the error has kinds and counts, nothing of the text.
        """
        found = self.find(text, before=before)
        refused = Counter(one.kind for one in found if self._action(one.kind).refuses)
        if refused:
            raise PersonalDataError(refused)
        return self._replaced(text, found)

    def _replaced(self, text: str, found: tuple[Found, ...]) -> Redacted:
        values = [self._action(one.kind).replacement(text[one.start : one.end], one.kind, self.key) for one in found]
        return replaced(text, found, values)

    def _action(self, kind: str) -> Action:
        return Pseudonymise() if kind == TOKEN else self.actions.get(kind, self.action)

    def _tokens(self, text: str) -> list[Found]:
        if self.key is None or "<" not in text:
            return []
        return [Found(start, end, TOKEN, certain=True) for start, end, _, _ in tokens(text, self.key)]


def replaced(text: str, found: tuple[Found, ...], values: Sequence[str]) -> Redacted:
    """The text with a value in the place of each thing that was found, these in their order."""
    parts, pieces, place, length = [], [], 0, 0
    for one, value in zip(found, values, strict=True):
        kept = text[place : one.start]
        begin = length + len(kept)
        length, place = begin + len(value), one.end
        pieces.append(((one.start, one.end), (begin, length)))
        parts += [kept, value]
    counts = Counter(one.kind for one in found)
    return Redacted("".join([*parts, text[place:]]), dict(counts), found, Offsets(tuple(pieces)))


def restore(text: str, key: RedactionKey) -> Redacted:
    """The text with its pseudonyms turned back into values; those of other keys stay as they are.

    What this gives is not redacted: `found` are the pseudonyms, `text` holds the values.
    """
    opened = list(tokens(text, key))
    found = tuple(Found(start, end, kind, certain=True) for start, end, kind, _ in opened)
    return replaced(text, found, [value for _, _, _, value in opened])


def resolved(found: Iterable[Found]) -> tuple[Found, ...]:
    """The values of which none lies over another: the certain first, then the longer, then the one named earlier.

    A pseudonym comes before everything, since it is no text.
    """
    taken: list[tuple[int, int]] = []
    kept = []
    for one in sorted(found, key=lambda one: (one.kind != TOKEN, not one.certain, -one.length)):
        place = bisect_right(taken, (one.start, one.end))
        is_free = (place == 0 or taken[place - 1][1] <= one.start) and (
            place == len(taken) or taken[place][0] >= one.end
        )
        if is_free and one.length > 0:
            insort(taken, (one.start, one.end))
            kept.append(one)
    return tuple(sorted(kept, key=lambda one: one.start))
