"""Metrics of answers that are pieces of a text: exact match and F1, as SQuAD and CMRC 2018 count them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.scoring import Measure, SummedMeasure, divide, mean_measure
from tunesmith.scoring.answers import check_pairs, spans_of

Normalization = Literal["squad", "cmrc"]
"""How answers are made comparable: words without articles and signs, or Chinese characters without signs."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SIGNS = set(string.punctuation)
_CMRC_SIGNS = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CMRC_UNIT = re.compile(r"[\u4e00-\u9fa5]|[^\W\u4e00-\u9fa5]+(?:[.,'’][^\W\u4e00-\u9fa5]+)*|[^\w\s]")
"""A Chinese character, a word or a number of another script, or a sign."""
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
CHINESE = 0.3
"""A text with at least this share of Chinese characters is judged as Chinese."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How two answers are compared: by a `key` that equal ones share, and by an `overlap` in [0, 1]."""

    key: Callable[[str], str]
    overlap: Callable[[str, str], float]


def measure_questions(
    examples: Sequence[Example], predictions: Sequence[Prediction], normalization: Normalization
) -> list[Measure]:
    """Exact match and F1, each the best over the answers that are right (Rajpurkar et al. 2016, sec. 6.1).

    Without an answer to give, both are 1 for no answer and 0 for any (Rajpurkar et al. 2018, sec. 3). Where some
    questions have no answer, "answerable_f1" is the F1 of the others, and "unanswerable_accuracy" the share of these
    that got none.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a list of spans.
    """
    check_pairs(examples, predictions)
    golds = [gold_texts(example) for example in examples]
    answers = [answer_text(example, one) for example, one in zip(examples, predictions, strict=True)]
    pairs = list(zip(golds, answers, strict=True))
    exact = np.array([exact_match(gold, answer, normalization) for gold, answer in pairs], dtype=np.float64)
    overlaps = np.array([f1(gold, answer, normalization) for gold, answer in pairs], dtype=np.float64)
    measures: list[Measure] = [mean_measure("f1", overlaps), mean_measure("exact_match", exact)]
    has_answer = np.array([bool(gold) for gold in golds])
    if not has_answer.all() and has_answer.any():
        measures.append(_mean_over("answerable_f1", overlaps, has_answer))
        measures.append(_mean_over("unanswerable_accuracy", exact, ~has_answer))
    return measures


def gold_texts(example: Example) -> tuple[str, ...]:
    """The texts of the right answers, each once; none where there is no answer."""
    return tuple(dict.fromkeys(example.text[span.start : span.end] for span in sorted(spans_of(example))))


def answer_text(example: Example, prediction: Prediction) -> str:
    """The text of the answer; empty for no answer."""
    spans = [item for item in prediction.label if isinstance(item, Span)] if isinstance(prediction.label, tuple) else []
    return example.text[spans[0].start : spans[0].end] if spans else ""


def exact_match(golds: Sequence[str], answer: str, normalization: Normalization) -> bool:
    """Whether an answer is one of the right ones, but for what the normalisation takes off."""
    key = _RULES[normalization].key
    return key(answer) in {key(gold) for gold in golds or ("",)}


def f1(golds: Sequence[str], answer: str, normalization: Normalization) -> float:
    """The overlap of an answer with the right one that is most like it."""
    overlap = _RULES[normalization].overlap
    return max(overlap(gold, answer) for gold in golds or ("",))


def is_chinese(texts: Sequence[str]) -> bool:
    """Whether enough of the characters of these texts are Chinese for them to be judged as such."""
    characters = sum(len(text) for text in texts)
    return characters > 0 and sum(len(_HAN.findall(text)) for text in texts) >= CHINESE * characters


def _squad_key(text: str) -> str:
    """Small letters, no signs, no articles, single blanks (the evaluation script of SQuAD 1.1)."""
    plain = "".join(sign for sign in text.lower() if sign not in _SIGNS)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def _squad_overlap(gold: str, answer: str) -> float:
    """F1 over words as often as they occur; where one side is empty, whether both are (SQuAD 2.0's script)."""
    one, other = _squad_key(gold).split(), _squad_key(answer).split()
    if not one or not other:
        return float(one == other)
    return _f1((Counter(one) & Counter(other)).total(), len(one), len(other))


def _cmrc_key(text: str) -> str:
    """Small letters without the signs that CMRC 2018's script leaves out."""
    return "".join(sign for sign in text.lower().strip() if sign not in _CMRC_SIGNS)


def _cmrc_overlap(gold: str, answer: str) -> float:
    """F1 by the longest run of characters (words of other scripts) that both have (CMRC 2018's script).

    The script cuts other scripts with NLTK's tokenizer, which this follows for words, numbers and single signs.
    """
    one, other = _CMRC_UNIT.findall(_cmrc_key(gold)), _CMRC_UNIT.findall(_cmrc_key(answer))
    if not one or not other:
        return float(one == other)
    match = SequenceMatcher(None, one, other, autojunk=False).find_longest_match(0, len(one), 0, len(other))
    return _f1(match.size, len(one), len(other))


def _f1(shared: int, one: int, other: int) -> float:
    return 2 * shared / (one + other)


def _mean_over(name: str, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Measure:
    """The mean over some of the examples; in a resample over those that were drawn of them."""
    statistics = np.column_stack([values * chosen, chosen.astype(np.float64)])
    return SummedMeasure(name, statistics, lambda sums: divide(sums[:, 0], sums[:, 1]))


_RULES = {"squad": Rule(_squad_key, _squad_overlap), "cmrc": Rule(_cmrc_key, _cmrc_overlap)}
