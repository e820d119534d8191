"""Metrics of labelled spans: over entities (exact borders and type) and over words (the tag of each word)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

import numpy as np
from scipy.sparse import csr_array

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.data.scripts import MARKS, UNSPACED
from tunesmith.scoring import Measure, SummedMeasure, divide
from tunesmith.scoring.answers import all_labels, check_pairs, spans_of
from tunesmith.scoring.averages import average_measures, class_rows, count_items
from tunesmith.scoring.tables import ClassRow

_WORD = re.compile(f"[{UNSPACED}]|(?:[^\\W_{UNSPACED}]|[{MARKS}])+|\\S")


def word_ranges(text: str) -> list[tuple[int, int]]:
    """The character range of each word of a running text.

    A word is a run of letters and digits; each character of Chinese, Japanese or Korean, and each sign, stands alone,
    so that a span can begin and end at any of them.
    """
    return [match.span() for match in _WORD.finditer(text)]


def spans_to_tags(spans: Collection[Span], words: Sequence[tuple[int, int]]) -> list[str]:
    """The IOB2 tag of each word; a span marks the words it touches, and where two overlap the earlier one wins."""
    tags = ["O"] * len(words)
    starts = [start for start, _ in words]
    ends = [end for _, end in words]
    for span in sorted(spans, key=lambda span: (span.start, -span.end, span.label)):
        touched = range(bisect_right(ends, span.start), bisect_left(starts, span.end))
        free = [word for word in touched if tags[word] == "O"]
        for word in free:
            tags[word] = f"{'B' if word == free[0] else 'I'}-{span.label}"
    return tags


def measure_entities(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> list[Measure]:
    """Precision, recall and F1 over all entities, macro-F1 over types, and the accuracy over words.

    An entity is right if its borders and its type are. Types of the macro average are those in gold or prediction.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a list of spans.
    """
    _, statistics = _entity_counts(examples, predictions, labels)
    measures: list[Measure] = list(average_measures(statistics, "micro"))
    measures += [measure for measure in average_measures(statistics, "macro", "macro_") if measure.name == "macro_f1"]
    words = np.zeros((len(examples), 2))
    for row, (gold, answers) in enumerate(_word_tags(examples, predictions)):
        words[row] = sum(one == other for one, other in zip(gold, answers, strict=True)), len(gold)
    measures.append(SummedMeasure("word_accuracy", words, lambda sums: divide(sums[:, 0], sums[:, 1])))
    return measures


def entity_table(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[ClassRow, ...]:
    """A row per entity type that occurs, then "micro avg", "macro avg" and "weighted avg".

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a list of spans.
    """
    types, statistics = _entity_counts(examples, predictions, labels)
    return class_rows(types, statistics)


def word_table(examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[ClassRow, ...]:
    """The word-level report: a row per IOB2 tag (B-LOC, I-LOC, ..., O), then the averages over all tags, O included.

    Words are those of the example where it has any, else those of `word_ranges`. The support of "micro avg" is the
    number of words scored; its three scores are the word accuracy.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a list of spans.
    """
    pairs = _word_tags(examples, predictions)
    seen = {tag for pair in pairs for tags in pair for tag in tags}
    order = sorted(seen, key=lambda tag: (tag == "O", tag[2:], tag[:1]))
    number = {tag: index for index, tag in enumerate(order)}
    gold = [[number[tag] for tag in tags] for tags, _ in pairs]
    found = [[number[tag] for tag in tags] for _, tags in pairs]
    right = [[a for a, b in zip(one, other, strict=True) if a == b] for one, other in zip(gold, found, strict=True)]
    return class_rows(order, count_items(right, found, gold, len(order)))


def count_words(examples: Sequence[Example]) -> int:
    """The number of words that word-level results score."""
    return sum(len(_words(example)) for example in examples)


def _words(example: Example) -> Sequence[tuple[int, int]]:
    return example.words if example.words is not None else word_ranges(example.text)


def _word_tags(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[tuple[list[str], list[str]]]:
    """Gold and predicted tags of each example's words."""
    check_pairs(examples, predictions)
    pairs = []
    for example, prediction in zip(examples, predictions, strict=True):
        words = _words(example)
        pairs.append((spans_to_tags(spans_of(example), words), spans_to_tags(spans_of(prediction), words)))
    return pairs


def _entity_counts(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[tuple[str, ...], csr_array]:
    check_pairs(examples, predictions)
    gold = [spans_of(example) for example in examples]
    found = [spans_of(prediction) for prediction in predictions]
    types = all_labels(labels, (span.label for spans in (*gold, *found) for span in spans))
    number = {label: index for index, label in enumerate(types)}
    right = [one & other for one, other in zip(gold, found, strict=True)]
    sides = [[[number[span.label] for span in spans] for spans in side] for side in (right, found, gold)]
    return types, count_items(sides[0], sides[1], sides[2], len(types))
