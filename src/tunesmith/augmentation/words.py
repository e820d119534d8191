"""The words of a text in English and Chinese, and which of them may be changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import ModuleType

from tunesmith.augmentation.edits import Range
from tunesmith.data.checks import label_names
from tunesmith.data.records import Example, Span
from tunesmith.errors import import_extra

_HAN = "㐀-䶿一-鿿"
_WORD = re.compile(rf"[{_HAN}]+|[^\W\d_{_HAN}]+(?:['’-][^\W\d_{_HAN}]+)*")
"""A run of Chinese characters, or letters with apostrophes and hyphens between; numbers are no words."""

_NEGATIONS = (
    "no not never none nobody nothing neither nor nowhere cannot without hardly barely scarcely rarely seldom "
    "cant wont dont doesnt didnt isnt arent wasnt werent couldnt wouldnt shouldnt hasnt havent hadnt aint "
    "但 但是 不 不是 不会 不能 不要 不可 不该 不再 不太 不曾 没 没有 没能 无 非 未 未能 未曾 别 莫 勿 否 毫不 毫无 "
    "从不 从没 从未 并非 并不 并未 并无 绝不 绝非 决不"
)
NEGATIONS = frozenset(_NEGATIONS.split())
"""Words that turn a meaning round, beside those that end in "n't"; no edit of words touches them."""


def is_negation(word: str) -> bool:
    """Whether a word turns a meaning round; its apostrophe may be straight or curled."""
    word = word.casefold().replace("’", "'")
    return word in NEGATIONS or word.endswith("n't")


def words_of(text: str) -> Iterator[Range]:
    """The words of a text; runs of Chinese are parted by jieba (extra "chinese").

    Raises:
        MissingExtraError: there is Chinese, and jieba is not installed.
    """
    for found in _WORD.finditer(text):
        start, run = found.start(), found.group()
        if not "㐀" <= run[0] <= "鿿":
            yield found.span()
            continue
        for word in _segmenter().cut(run):
            yield start, start + len(word)
            start += len(word)


@cache
def _segmenter() -> ModuleType:
    """jieba, without its messages on the way to its dictionary."""
    jieba = import_extra("jieba", "chinese")
    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba


def is_word(text: str) -> bool:
    """Whether a text is one word, or a run of Chinese."""
    return _WORD.fullmatch(text) is not None


def knows_word(word: str) -> bool:
    """Whether jieba's dictionary has a Chinese word."""
    return bool(_segmenter().dt.FREQ.get(word, 0))


def free_words(example: Example, protected: Iterable[str] = ()) -> list[Range]:
    """The words of an example that may be changed: neither negations, nor protected, nor of a span or a mark.

    Data that comes in words keeps to these, as far as they are letters.
    """
    kept = {word.casefold() for word in protected}
    held = [*example.marks, *(item for item in labels_of_places(example))]
    given = words_of(example.text) if example.words is None else _given_words(example)
    return [
        (start, end)
        for start, end in given
        if example.text[start:end].casefold() not in kept
        and not is_negation(example.text[start:end])
        and not any(span.start < end and start < span.end for span in held)
    ]


def with_label_words(protected: Sequence[str], examples: Iterable[Example]) -> tuple[str, ...]:
    """Protected words, and with them those of the labels' names: a text may say what its label is.

    Names of labels that are not parted by blanks, such as "news_sports", are taken for words parted by signs.
    """
    names = {name for example in examples for name in label_names(example)}
    return tuple(sorted({*protected, *(name[start:end] for name in names for start, end in words_of(name))}))


def labels_of_places(example: Example) -> Sequence[Span]:
    """The spans of the label, if it has such."""
    return [item for item in example.label if isinstance(item, Span)] if isinstance(example.label, tuple) else []


def _given_words(example: Example) -> Iterator[Range]:
    assert example.words is not None, "the data comes in words"
    return (word for word in example.words if _WORD.fullmatch(example.text[slice(*word)]))
