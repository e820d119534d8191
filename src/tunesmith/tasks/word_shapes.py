"""Word shapes: what an uncased tokenizer throws away, as six classes."""

from __future__ import annotations

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


def is_uncased(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer gives a capital the same token as its small letter."""
    return bool(tokenizer.tokenize("A") == tokenizer.tokenize("a"))
