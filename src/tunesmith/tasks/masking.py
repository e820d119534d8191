"""Whole words hidden from a masked language model, each time the same for the same salt and tokens."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.tasks.encoding import Integers

Places = NDArray[np.intp]

UNTOUCHED = -1
"""The word number of a token that is never hidden."""

_HIDDEN, _REPLACED = 0.8, 0.1
"""Of the chosen tokens so many become the mask, so many a random token; the others stay (Devlin et al. 2019, 3.1)."""


@dataclass(frozen=True)
class Masking:
    """What is put in the place of hidden words.

    Attributes:
        share: how much of a piece's tokens is chosen.
        mask_id: the mask token.
        vocabulary: how many tokens there are.
        special_ids: the tokens that never stand for a word, rising.
    """

    share: float
    mask_id: int
    vocabulary: int
    special_ids: tuple[int, ...]

    def hide(self, ids: Integers, words: Integers, salt: int) -> tuple[Integers, Places]:
        """Hide whole words of one piece, until `share` of its tokens is chosen; one word at least.

        Words are taken in a random order and passed over where they are longer than what is left to choose, as in BERT
        with whole-word masking (Cui et al. 2021, sec. 3.1). What is drawn depends on the salt and the tokens alone.

        Args:
            ids: the tokens [T].
            words: the number of each token's word, `UNTOUCHED` for tokens that stay [T].
            salt: decides what is drawn.

        Returns:
            the tokens as they are shown [T], and the places of the chosen ones, rising [U].
        """
        random = np.random.default_rng([salt, zlib.crc32(np.asarray(ids, dtype=np.int64).tobytes())])
        chosen = self._chosen(words, random)
        shown = np.array(ids)
        fate = random.random(len(chosen))
        others = random.integers(self.vocabulary - len(self.special_ids), size=len(chosen))
        for special in self.special_ids:
            others += others >= special
        shown[chosen[fate < _HIDDEN]] = self.mask_id
        is_replaced = (fate >= _HIDDEN) & (fate < _HIDDEN + _REPLACED)
        shown[chosen[is_replaced]] = others[is_replaced]
        return shown, chosen

    def _chosen(self, words: Integers, random: np.random.Generator) -> Places:
        places = np.flatnonzero(words != UNTOUCHED)
        names, own = np.unique(words[places], return_inverse=True)
        sizes = np.bincount(own, minlength=len(names))
        left = max(1, round(self.share * len(places)))
        taken = np.zeros(len(names), dtype=bool)
        order = random.permutation(len(names))
        for word in order:
            if sizes[word] <= left:
                taken[word] = True
                left -= int(sizes[word])
        if len(order) and not taken.any():
            taken[order[0]] = True
        return places[taken[own]]


def word_numbers(offsets: Sequence[tuple[int, int]], words: Sequence[tuple[int, int]]) -> list[int]:
    """The number of the word that each token (the end of a token) belongs to; `UNTOUCHED` for blanks alone."""
    starts = [start for start, _ in words]
    found = []
    for start, end in offsets:
        last = bisect_left(starts, end) - 1
        found.append(last if start < end and last >= 0 and words[last][1] > start else UNTOUCHED)
    return found
