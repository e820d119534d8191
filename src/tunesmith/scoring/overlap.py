"""How like the given answers the written ones are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, mean_measure

_WORD = re.compile(r"[一-鿿぀-ヿ]|[^\W一-鿿぀-ヿ]+")
"""A Chinese or Japanese character, or a run of other letters and digits."""


def measure_overlap(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
    """The share of answers that are the given one, and the mean ROUGE-L."""
    pairs = [(str(e.label).strip(), str(p.label).strip()) for e, p in zip(examples, predictions, strict=True)]
    same = np.array([gold == given for gold, given in pairs], dtype=np.float64)
    return [
        mean_measure("exact_match", same),
        mean_measure("rouge_l", np.array([rouge_l(given, gold) for gold, given in pairs])),
    ]


def rouge_l(answer: str, gold: str) -> float:
    """F1 of the longest common subsequence of words, capitals ignored (Lin 2004, sec. 3, with beta = 1)."""
    words, wanted = (_WORD.findall(text.lower()) for text in (answer, gold))
    if not words or not wanted:
        return float(words == wanted)
    return 2 * longest_common(words, wanted) / (len(words) + len(wanted))


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time as bits (Hyyrö 2004, sec. 3)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        common = row & places.get(word, 0)
        row = ((row + common) | (row - common)) & every
    return len(one) - row.bit_count()
