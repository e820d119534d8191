"""Terms swapped for their counterparts: what should not change the answer, changed."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tunesmith.augmentation.edits import Edit, edited
from tunesmith.augmentation.word_edits import is_han, like
from tunesmith.augmentation.words import labels_of_places, words_of
from tunesmith.data.files import Place, read_lines
from tunesmith.data.records import Example
from tunesmith.errors import DataError

GENDER = (
    "he she|him her|his her|himself herself|man woman|men women|boy girl|boys girls|father mother|fathers mothers|"
    "son daughter|sons daughters|brother sister|brothers sisters|husband wife|husbands wives|uncle aunt|"
    "king queen|prince princess|actor actress|actors actresses|mr mrs|sir madam|gentleman lady|gentlemen ladies|"
    "male female|males females|guy gal|dad mom|grandfather grandmother|nephew niece|waiter waitress|hero heroine|"
    "他 她|他们 她们|男 女|男人 女人|男士 女士|先生 女士|男孩 女孩|男生 女生|爸爸 妈妈|父亲 母亲|爷爷 奶奶|"
    "哥哥 姐姐|弟弟 妹妹|儿子 女儿|丈夫 妻子|男友 女友|男朋友 女朋友|叔叔 阿姨|王子 公主|男演员 女演员"
)
"""Pairs of words for men and women."""


@dataclass(frozen=True)
class TermSwap:
    """Swap every term of a table for its counterpart (Lu et al. 2020, sec. 3: counterfactual data augmentation).

    A term with several counterparts ("her" for "him" and "his") gets "his" before a word and "him" elsewhere, or else
    one by chance. Longer terms go first. A Chinese term must begin and end where a word does (jieba, extra "chinese"):
    the 他 of 其他 is no pronoun. Terms that reach over the border of a span stay.

    Attributes:
        table: "gender", or a file with two terms on each line, parted by a tab: names, places, products.
    """

    table: str = "gender"

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with every term swapped; None if it has none."""
        spans = [*labels_of_places(example), *example.marks]
        edits = []
        borders = _Borders(example.text)
        for found in self._pattern.finditer(example.text):
            start, end = found.span()
            others = self._pairs.get(found.group().casefold())
            if others is None or (is_han(found.group()[0]) and not borders.part(start, end)):
                continue
            if any(start < border < end for span in spans for border in (span.start, span.end)):
                continue
            before_word = bool(re.match(r" [^\W\d_]", example.text[end:]))
            fitting = [other for other in others if other == ("his" if before_word else "him")]
            edits.append(Edit(start, end, like(found.group(), rng.choice(fitting or list(others)))))
        return edited(example, edits) if edits else None

    @cached_property
    def _pairs(self) -> Mapping[str, tuple[str, ...]]:
        pairs: dict[str, tuple[str, ...]] = {}
        for one, other in _table(self.table):
            for term, counterpart in ((one, other), (other, one)):
                pairs[term.casefold()] = (*pairs.get(term.casefold(), ()), counterpart)
        return pairs

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Any term; one of letters stands alone."""
        terms = sorted(self._pairs, key=len, reverse=True)
        forms = (re.escape(term) if is_han(term[0]) else rf"\b{re.escape(term)}\b" for term in terms)
        return re.compile("|".join(forms), re.IGNORECASE)


class _Borders:
    """Where the words of a text begin and end; it is parted when that is first asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    def part(self, start: int, end: int) -> bool:
        """Whether a word begins at the start, and one ends at the end."""
        return start in self._ends[0] and end in self._ends[1]

    @cached_property
    def _ends(self) -> tuple[frozenset[int], frozenset[int]]:
        words = list(words_of(self._text))
        return frozenset(start for start, _ in words), frozenset(end for _, end in words)


def _table(name: str) -> list[tuple[str, str]]:
    if name == "gender":
        return [(one, other) for one, other in (pair.split() for pair in GENDER.split("|"))]
    rows = []
    place = Place.of(name)
    for number, line in enumerate(read_lines(place, "utf-8"), 1):
        if not line.strip():
            continue
        terms = [term.strip() for term in line.split("\t")]
        if len(terms) != 2 or not all(terms):
            raise DataError(
                f"The line has {len(terms)} terms.", where=f"{name}:{number}", to_do="Write two terms parted by a tab."
            )
        rows.append((terms[0], terms[1]))
    if not rows:
        raise DataError("The table has no terms.", where=name, to_do="Write two terms parted by a tab on each line.")
    return rows
