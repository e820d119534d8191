"""Texts as the policy keeps them, and answers that stay true to a text whose length has changed by masking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.remembered.records import Mask, Policy

Edit = tuple[int, int, int, int]
"""What was replaced: its first and last border in the text as it came, and in the stored one."""

WRITTEN = ("answer", "answers", "texts", "comment")
"""Keys of an answer under which written text stands, which is kept like the text that was asked."""
OWN_TEXT = ("text", "word")
"""Keys of a span under which its own words stand."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """A policy for texts: how each text, and each answer to it, is stored."""

    policy: str
    mask: Mask | None

    @classmethod
    def of(cls, policy: Policy) -> Keeper:
        """What a policy says of texts."""
        return cls(policy.text, policy.mask)

    def kept(self, text: str) -> tuple[str | None, tuple[Edit, ...]]:
        """A text as it is stored (None for not at all), and what was replaced in it."""
        text = storable(text)
        if self.policy == "raw":
            return text, ()
        # A masked row is kept masked by a policy that has no mask any more: nothing is stored then.
        return replaced(text, self.mask(text)) if self.policy == "masked" and self.mask else (None, ())

    def kept_value(self, value: object) -> object:
        """A nested value with each text of it as it is stored."""
        if isinstance(value, str):
            return self.kept(value)[0]
        if isinstance(value, Mapping):
            return {storable(str(key)): self.kept_value(item) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self.kept_value(item) for item in value]
        return value

    def kept_answer(self, answer: Mapping[str, object], text: str | None, edits: Sequence[Edit]) -> dict[str, object]:
        """An answer with its spans on the stored text, and its written texts as they are stored.

        Scores of written answers are left out, for their keys are these answers.
        """
        is_written = any(key in answer for key in WRITTEN)
        kept: dict[str, object] = {}
        for key, value in answer.items():
            if key in WRITTEN:
                kept[key] = self._written(value, text, edits)
            elif not (is_written and isinstance(value, Mapping)):
                kept[key] = self._moved(value, text, edits)
        return kept

    def _written(self, value: object, text: str | None, edits: Sequence[Edit]) -> object:
        if isinstance(value, Mapping) and _borders(value):
            return self._moved(value, text, edits)
        if isinstance(value, Mapping):
            return {storable(str(key)): self._written(item, text, edits) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self._written(item, text, edits) for item in value]
        return self.kept_value(value)

    def _moved(self, value: object, text: str | None, edits: Sequence[Edit]) -> object:
        if isinstance(value, str):
            return storable(value)
        if isinstance(value, Mapping):
            inner = {storable(str(key)): self._moved(item, text, edits) for key, item in value.items()}
            borders = _borders(value)
            return inner | _span_on(moved(*borders, edits), value, text) if borders else inner
        if isinstance(value, Sequence):
            return [self._moved(item, text, edits) for item in value]
        return value


def storable(text: str) -> str:
    """A text that both databases take: a NUL and half a surrogate pair become the replacement character.

    PostgreSQL takes no NUL, and neither can encode halves of pairs. The length stays, and so do spans.
    """
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return "".join("\ufffd" if letter == "\0" or "\ud800" <= letter <= "\udfff" else letter for letter in text)


def replaced(text: str, replacements: Sequence[tuple[int, int, str]]) -> tuple[str, tuple[Edit, ...]]:
    """A text after its replacements, and where they stand.

    Raises:
        ValueError: they overlap, are not sorted, or do not lie in the text.
    """
    parts, edits, done, length = [], [], 0, 0
    for start, end, instead in replacements:
        if not done <= start <= end <= len(text):
            raise ValueError("replacements must be sorted, must not overlap and must lie in the text")
        parts += [text[done:start], instead]
        length += start - done
        edits.append((start, end, length, length + len(instead)))
        length += len(instead)
        done = end
    return "".join((*parts, text[done:])), tuple(edits)


def moved(start: int, end: int, edits: Sequence[Sequence[int]]) -> tuple[int, int]:
    """A span of the text as it came on the stored text; one that cuts through a replacement covers it whole."""
    first, last = start, end
    for old_start, old_end, new_start, new_end in edits:
        if old_end <= start:
            first = start + new_end - old_end
        elif old_start <= start:
            first = new_start
        if old_end <= end:
            last = end + new_end - old_end
        elif old_start < end:
            last = new_end
    return first, last


def _borders(value: Mapping[str, object]) -> tuple[int, int] | None:
    """The characters of a span: {"start", "end"}, or as SQuAD has it {"answer_start", "text"}; None for no span."""
    start, end, own = value.get("start", value.get("answer_start")), value.get("end"), value.get("text")
    if isinstance(start, bool) or not isinstance(start, int):
        return None
    if isinstance(end, int) and not isinstance(end, bool):
        return start, end
    return (start, start + len(own)) if "answer_start" in value and isinstance(own, str) else None


def _span_on(borders: tuple[int, int], value: Mapping[str, object], text: str | None) -> dict[str, object]:
    """A span with other borders, and its own text as it stands there."""
    places = {"start": borders[0], "answer_start": borders[0], "end": borders[1]}
    own = None if text is None else text[slice(*borders)]
    moved_ones: dict[str, object] = {key: place for key, place in places.items() if key in value}
    return moved_ones | dict.fromkeys((key for key in OWN_TEXT if key in value), own)
