"""Neighbouring texts joined into full windows, for tasks that learn from raw text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding
from tunesmith.data.stored import keep
from tunesmith.errors import RecipeError

_FILLED = 0.95
"""Texts are joined up to this share of a window, for their tokens are estimated."""

_LOOKED_AT = 500
"""Texts by which the number of tokens per character is found."""


def check_window(max_length: int, *, join: bool) -> None:
    """See that the window has a sense, and is named where texts are joined up to it.

    Raises:
        RecipeError: otherwise.
    """
    if max_length < 0:
        raise RecipeError("max_length must not be negative.", where="task.max_length")
    if join and not max_length:
        raise RecipeError(
            "join: true needs max_length, up to which texts are joined.",
            where="task.max_length",
            to_do="Set it, for example to 256.",
        )


def tokens_per_character(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> float:
    """The tokens per character of some of the examples."""
    few = [examples[place] for place in range(0, len(examples), max(1, len(examples) // _LOOKED_AT))]
    tokens = sum(len(tokenizer.tokenize(example.text)) for example in few)
    return tokens / max(1, sum(len(example.text) for example in few))


def joined(examples: Sequence[Example], separator: str, room: float) -> Sequence[Example]:
    """Neighbouring texts of a group put together, with a separator between them, up to about `room` characters.

    Nothing is cut: a text that is longer alone stays as it is. Each joined text has the id and origin of its first.
    """
    return keep(_joined(examples, separator, room * _FILLED))


def joined_findings(examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
    """Into how many windows the texts were joined; nothing where they were not."""
    if not len(learning) or learning is examples:
        return []
    message = f"The {len(examples):,} training texts are joined into {len(learning):,}, up to task.max_length each."
    return [Finding("arranged", "note", message, len(learning))]


def _joined(examples: Sequence[Example], separator: str, room: float) -> Iterator[Example]:
    held: list[Example] = []
    size = 0
    for example in examples:
        fits = size + len(separator) + len(example.text) <= room
        if held and not (fits and example.group == held[0].group):
            yield _as_one(held, separator)
            held, size = [], 0
        size += len(example.text) + (len(separator) if held else 0)
        held.append(example)
    if held:
        yield _as_one(held, separator)


def _as_one(held: Sequence[Example], separator: str) -> Example:
    if len(held) == 1:
        return held[0]
    first = held[0]
    text = separator.join(example.text for example in held)
    return Example(first.id, text, group=first.group, origin=first.origin)
