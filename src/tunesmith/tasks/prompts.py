"""Templates that put a text and the word for its label into one sentence, and their tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.errors import RecipeError
from tunesmith.tasks.encoding import Tokens

SLOTS = ("text", "second", "label")
"""What a template can have a place for."""

_SLOT = re.compile(r"(\{[^{}]*\})")


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled template: its text, and the characters [start, end) of each slot."""

    text: str
    slots: Mapping[str, tuple[int, int]]

    def after(self, before: str) -> Filled:
        """The same with another text in front."""
        shift = len(before)
        return Filled(before + self.text, {name: (a + shift, b + shift) for name, (a, b) in self.slots.items()})

    def until(self, slot: str) -> Filled:
        """The same without what follows a slot."""
        return Filled(self.text[: self.slots[slot][1]], self.slots)


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with slots, such as "{text} It was {label}."."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, written: str) -> Template:
        """Read a template.

        Raises:
            RecipeError: it has an unknown slot, a slot twice, or none for the text or the label.
        """
        parts = tuple(part for part in _SLOT.split(written) if part)
        names = [part[1:-1] for part in parts if _SLOT.fullmatch(part)]
        wrong = [name for name in names if name not in SLOTS or names.count(name) > 1]
        if wrong or not {"text", "label"} <= set(names):
            what = f"The template has a wrong slot '{{{wrong[0]}}}'." if wrong else "The template lacks a slot."
            raise RecipeError(
                what, where="task.template", to_do="Name {text} and {label} once each, and {second} for pairs of texts."
            )
        return cls(parts)

    def has(self, slot: str) -> bool:
        """Whether there is such a slot."""
        return f"{{{slot}}}" in self.parts

    def before(self, slot: str) -> str:
        """What stands before a slot, other slots left out."""
        return "".join(part for part in self.parts[: self.parts.index(f"{{{slot}}}")] if not _SLOT.fullmatch(part))

    def fill(self, values: Mapping[str, str]) -> Filled:
        """The text with each slot's value in its place."""
        text = ""
        slots = {}
        for part in self.parts:
            name = part[1:-1] if _SLOT.fullmatch(part) else ""
            added = values[name] if name else part
            if name:
                slots[name] = (len(text), len(text) + len(added))
            text += added
        return Filled(text, slots)


def answer_places(filled: Filled, tokens: Tokens) -> list[int]:
    """Which tokens belong to the label's words, the blank before them included.

    Text and label are tokenised as one: the word after a blank is another token than the word alone.
    """
    start, end = filled.slots["label"]
    blank = len(filled.text[:start]) - len(filled.text[:start].rstrip())
    return [n for n, (a, b) in enumerate(tokens.offsets) if b > start - blank and a < end and b > a]


def text_tokens(filled: Filled, tokens: Tokens) -> int:
    """How many tokens are of the texts themselves."""
    return sum(len(_inside(tokens.offsets, filled.slots[name])) for name in ("text", "second") if name in filled.slots)


def shortened(filled: Filled, tokens: Tokens, surplus: int) -> list[int]:
    """The numbers of the tokens that stay when `surplus` tokens are taken from the end of the texts, the longer first.

    Raises:
        RecipeError: the texts do not have so many; template, label and demonstrations are never cut.
    """
    held = {name: _inside(tokens.offsets, filled.slots[name]) for name in ("text", "second") if name in filled.slots}
    for _ in range(surplus):
        longest = max(held.values(), key=len)
        if len(longest) <= 1:
            raise RecipeError(
                "The template, its label words and its demonstrations leave no room for the text in the window.",
                where="task.max_length",
                to_do="Raise max_length, shorten the template, or lower demonstration_tokens.",
            )
        longest.pop()
    slots = [place for name in held for place in _inside(tokens.offsets, filled.slots[name])]
    dropped = set(slots) - {place for kept in held.values() for place in kept}
    return [place for place in range(len(tokens.ids)) if place not in dropped]


def _inside(offsets: Sequence[tuple[int, int]], slot: tuple[int, int]) -> list[int]:
    return [place for place, (start, end) in enumerate(offsets) if start >= slot[0] and end <= slot[1] and end > start]
