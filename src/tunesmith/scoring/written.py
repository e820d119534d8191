"""How like the given texts the written ones are: BLEU, chrF, ROUGE, exact match."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import LabelError
from tunesmith.scoring import Measure, SummedMeasure, divide, mean_measure

BleuTokenizer = Literal["13a", "zh", "char"]
"""How sacreBLEU takes texts apart: as English and its kin, with each Chinese character apart, or by characters."""

Pairs = Sequence[tuple[str, str]]
"""The given and the written text of each example."""

_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W_぀-ヿ㐀-鿿]+")
"""A Chinese or Japanese character, or a run of other letters and digits."""
_CHINESE, _UNSPACED = re.compile(r"[㐀-鿿]"), re.compile(r"[぀-ヿ฀-๿]")
_ORDERS, _LETTERS, _BETA = 4, 6, 2
"""The longest n-grams of BLEU and chrF, and how much more recall weighs than precision in chrF."""


def measure_written(
    examples: Sequence[Example], predictions: Sequence[Prediction], tokenizer: str = "auto"
) -> list[Measure]:
    """BLEU, chrF, ROUGE-1, -2 and -L, and exact match of written texts.

    BLEU and chrF lie between 0 and 100 and are sacreBLEU's (Post 2018), of the sums over all texts; the others are
    means over the texts, from 0 to 1. `tokenizer` is sacreBLEU's for BLEU: "13a", "zh" or "char"; "auto" goes by the
    given texts.

    Raises:
        LabelError: an example has no given text.
    """
    pairs = [(_text(example), str(prediction.label)) for example, prediction in zip(examples, predictions, strict=True)]
    words = [(_words(gold), _words(written)) for gold, written in pairs]
    same = np.array([gold.split() == written.split() for gold, written in pairs], dtype=np.float64)
    chosen = bleu_tokenizer(gold for gold, _ in pairs) if tokenizer == "auto" else tokenizer
    return [
        SummedMeasure("bleu", bleu_statistics(pairs, chosen), bleu),
        SummedMeasure("chrf", chrf_statistics(pairs), chrf),
        mean_measure("rouge_1", np.array([rouge_n(*one, 1) for one in words])),
        mean_measure("rouge_2", np.array([rouge_n(*one, 2) for one in words])),
        mean_measure("rouge_l", np.array([rouge_l(*one) for one in words])),
        mean_measure("exact_match", same),
    ]


def bleu_tokenizer(texts: Iterable[str]) -> BleuTokenizer:
    """The tokenizer by which BLEU takes texts apart: "zh" for Chinese, "char" for other scripts without blanks."""
    joined = "".join(text for text, _ in zip(texts, range(1000), strict=False))
    chinese, unspaced = len(_CHINESE.findall(joined)), len(_UNSPACED.findall(joined))
    if unspaced > 0.1 * len(joined):
        return "char"
    return "zh" if chinese > 0.1 * len(joined) else "13a"


def bleu_statistics(pairs: Pairs, tokenizer: str) -> NDArray[np.float64]:
    """Of each pair the n-grams that are right, all written ones (n = 1 to 4), and both lengths in tokens [N, 10]."""
    metric = BLEU(tokenize=tokenizer, effective_order=True)
    found = [metric.sentence_score(written, [gold]) for gold, written in pairs]
    rows = [[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found]
    return np.array(rows, dtype=np.float64).reshape(-1, 2 * _ORDERS + 2)


def bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums [B, 10] -> BLEU [B] (Papineni et al. 2002, sec. 2.3), smoothed as mteval-v13a does.

    The k-th n-gram precision of zero is replaced by 1 / (2^k total) (Chen and Cherry 2014, method 3).
    """
    right, every = sums[:, :_ORDERS], sums[:, _ORDERS : 2 * _ORDERS]
    written, given = sums[:, -2], sums[:, -1]
    halvings = np.cumsum((right == 0) & (every > 0), axis=1)
    precisions = divide(np.where(right == 0, 0.5**halvings, right), every, otherwise=0.0)
    with np.errstate(divide="ignore"):
        means = np.exp(np.log(precisions).mean(axis=1))
    brevity = np.exp(np.minimum(1 - divide(given, written, otherwise=np.inf), 0.0))
    return np.where(right.any(axis=1), 100 * brevity * means, 0.0)


def chrf_statistics(pairs: Pairs) -> NDArray[np.float64]:
    """Of each pair the written, given and common character n-grams, n = 1 to 6 [N, 18]; blanks do not count."""
    rows = []
    for gold, written in pairs:
        one, other = "".join(gold.split()), "".join(written.split())
        row: list[int] = []
        for size in range(1, _LETTERS + 1):
            given, made = _grams(one, size), _grams(other, size)
            row += [made.total() if given else 0, given.total(), (given & made).total()]
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, 3 * _LETTERS)


def chrf(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums [B, 18] -> chrF [B] (Popović 2015): F-beta of the mean precision and recall over the sizes that occur."""
    made, given, common = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    occur = (made > 0) & (given > 0)
    count = occur.sum(axis=1)
    precision = divide(np.where(occur, divide(common, made, otherwise=0.0), 0.0).sum(axis=1), count, otherwise=0.0)
    recall = divide(np.where(occur, divide(common, given, otherwise=0.0), 0.0).sum(axis=1), count, otherwise=0.0)
    return 100 * divide((1 + _BETA**2) * precision * recall, _BETA**2 * precision + recall, otherwise=0.0)


def rouge_n(gold: Sequence[str], written: Sequence[str], size: int) -> float:
    """F1 of the common n-grams of words (Lin 2004, sec. 2)."""
    one, other = _grams(tuple(gold), size), _grams(tuple(written), size)
    every = one.total() + other.total()
    return 2 * (one & other).total() / every if every else float(list(gold) == list(written))


def rouge_l(gold: Sequence[str], written: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, sec. 3, with beta = 1)."""
    every = len(gold) + len(written)
    return 2 * longest_common(gold, written) / every if every else 1.0


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


def _grams(units: str | tuple[str, ...], size: int) -> Counter[str | tuple[str, ...]]:
    return Counter(units[start : start + size] for start in range(len(units) - size + 1))


def _words(text: str) -> list[str]:
    """The words without regard to capitals; a Chinese or Japanese character is a word."""
    return _WORD.findall(text.lower())


def _text(example: Example) -> str:
    if isinstance(example.label, str):
        return example.label
    raise LabelError(
        "An example without a given text cannot be scored.",
        where=example.origin or example.id,
        to_do="Give the right text, or leave it out of the evaluation.",
    )
