"""Word shapes: what an uncased tokenizer throws away, as six classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

SHAPES = ("lower", "Title", "UPPER", "single letter", "mixed", "digit")
"""The classes, numbered from 1; 0 is a word without letters or digits, or of a script without case."""


def word_shape(word: str) -> int:
    """The number of the word's class: how its letters are cased, or that it holds digits and no letters."""
    cased = [character for character in word if character.isupper() or character.islower()]
    if not cased:
        return 6 if any(character.isdigit() for character in word) else 0
    if len(word) == 1:
        return 4 if word.isupper() else 1
    if all(character.islower() for character in cased):
        return 1
    if all(character.isupper() for character in cased):
        return 3
    if cased[0].isupper() and all(character.islower() for character in cased[1:]):
        return 2
    return 5


def token_shapes(text: str, units: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """The shape of the word that each token belongs to, 0 where it belongs to none of the units."""
    kinds = np.zeros(len(offsets), dtype=np.int64)
    unit = 0
    for token, (start, end) in enumerate(offsets):
        while unit < len(units) and units[unit][1] <= start:
            unit += 1
        if unit < len(units) and units[unit][0] < end:
            kinds[token] = word_shape(text[slice(*units[unit])])
    return kinds


def is_uncased(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer gives a capital the same token as its small letter."""
    return bool(tokenizer.tokenize("A") == tokenizer.tokenize("a"))
