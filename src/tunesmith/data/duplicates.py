"""Texts that occur again, exactly or nearly: MinHash over character 5-grams, verified by their Jaccard similarity."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]

GRAM = 5
"""Characters per n-gram."""

SIMILAR = 0.8
"""The Jaccard similarity of 5-grams from which two texts are near duplicates."""

_BANDS, _ROWS = 10, 4
_CROWDED = 50
"""A bucket with more texts than this holds boilerplate; its texts are compared with the bucket's first only."""


def normalised(text: str) -> str:
    """The text without regard to case, width and blanks, for saying that two are the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_key(text: str) -> int:
    """A 63-bit number that stands for the normalised text."""
    return int.from_bytes(hashlib.blake2b(normalised(text).encode(), digest_size=8).digest(), "big") >> 1


def near_duplicates(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places (first, later) of texts that are similar and not the same.

    Each later text is paired with one earlier text at most. Texts shorter than twenty characters are left out: one
    changed character makes them different enough.
    """
    rows, signatures = _signed(texts)
    return _verified(texts, _candidates(signatures, rows)) if rows else []


def near_copies(texts: Sequence[str], others: Sequence[str]) -> list[int]:
    """The places of the texts that are similar to any of the others and not the same; short ones are left out."""
    rows, signatures = _signed(others)
    known: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for place, row in zip(rows, signatures, strict=True):
        for band in _bands(row):
            if len(known[band]) < _CROWDED:
                known[band].append(place)
    found = []
    rows, signatures = _signed(texts)
    for place, row in zip(rows, signatures, strict=True):
        candidates = dict.fromkeys(other for band in _bands(row) for other in known.get(band, ()))
        if any(is_similar(texts[place], others[other]) for other in candidates):
            found.append(place)
    return found


def near_groups(texts: Sequence[str], largest: int) -> list[list[int]]:
    """Places of texts that are near copies of each other, also by way of further ones; no group is above `largest`.

    A pair that would join too many is left apart: texts of one form would all be one group.
    """
    groups = {place: [place] for place in range(len(texts))}
    for first, later in near_duplicates(texts):
        one, other = groups[first], groups[later]
        if one is not other and len(one) + len(other) <= largest:
            one += other
            groups |= dict.fromkeys(other, one)
    return [group for place, group in groups.items() if group[0] == place and len(group) > 1]


def _bands(signature: Codes) -> list[tuple[int, bytes]]:
    return [(band, signature[band * _ROWS : (band + 1) * _ROWS].tobytes()) for band in range(_BANDS)]


def _signed(texts: Sequence[str]) -> tuple[list[int], Codes]:
    """The places of the texts that are long enough, and the least code of each under each factor."""
    rows: list[int] = []
    signatures: list[Codes] = []
    generator = np.random.default_rng(0)
    factors = generator.integers(1, 1 << 63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    for place, text in enumerate(texts):
        grams = gram_codes(normalised(text))
        if len(grams) > 15:
            rows.append(place)
            signatures.append((grams[:, None] * factors).min(axis=0))
    return rows, np.stack(signatures) if rows else np.zeros((0, _BANDS * _ROWS), dtype=np.uint64)


def gram_codes(text: str) -> Codes:
    """A number for each distinct 5-gram of a text."""
    letters = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    if len(letters) < GRAM:
        return np.zeros(0, dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(letters, GRAM)
    powers = np.array([1, 1_000_003, 998_244_353, 1_000_000_007, 2_147_483_647], dtype=np.uint64)
    codes = (windows * powers).sum(axis=1, dtype=np.uint64)
    # Mixed, so that the minimum of a multiple is a fair draw (the finaliser of splitmix64).
    codes = (codes ^ (codes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    codes = (codes ^ (codes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.unique(codes ^ (codes >> np.uint64(31)))


def _candidates(signatures: Codes, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    for band in range(_BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for row, place in zip(signatures, rows, strict=True):
            buckets[row[band * _ROWS : (band + 1) * _ROWS].tobytes()].append(place)
        for places in buckets.values():
            if len(places) > _CROWDED:
                yield from ((places[0], other) for other in places[1:])
            else:
                yield from combinations(places, 2)


def _verified(texts: Sequence[str], candidates: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    partner: dict[int, int] = {}
    for first, later in candidates:
        if later not in partner and is_similar(texts[first], texts[later]):
            partner[later] = first
    return sorted((first, later) for later, first in partner.items())


def is_similar(one: str, other: str) -> bool:
    """Whether two texts share most of their 5-grams without being the same."""
    if normalised(one) == normalised(other):
        return False
    left, right = gram_codes(normalised(one)), gram_codes(normalised(other))
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared >= SIMILAR * (len(left) + len(right) - shared)
