"""Precision, recall and F1 per class and averaged, from counts that can be summed over examples.

Three counts per class are kept: items found and right, items found, items there (gold). The sums of all classes lie
side by side in one row of 3 C numbers. A class enters the macro average when it occurs in gold or prediction, as in
scikit-learn when it is given no list of labels; 0/0 within a class counts as 0; with no item at all an average is nan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from tunesmith.scoring import SummedMeasure, divide
from tunesmith.scoring.tables import ClassRow


class Scores(NamedTuple):
    """Precision, recall and F1, as arrays of one shape."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


Average = Callable[[NDArray[np.float64]], Scores]
"""Sums [B, 3 C] -> three arrays [B]."""


def count_items(
    right: Sequence[Sequence[int]], found: Sequence[Sequence[int]], gold: Sequence[Sequence[int]], classes: int
) -> csr_array:
    """Count items by class: for each example the class numbers of the items right, found and there -> [N, 3 C]."""
    rows: list[int] = []
    columns: list[int] = []
    for block, items in enumerate((right, found, gold)):
        for example, numbers in enumerate(items):
            rows += [example] * len(numbers)
            columns += [block * classes + number for number in numbers]
    cells = (np.ones(len(rows)), (np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64)))
    return coo_array(cells, shape=(len(gold), 3 * classes)).tocsr()


def per_class(sums: NDArray[np.float64]) -> Scores:
    """The scores of each class: [B, 3 C] -> three arrays [B, C]."""
    right, found, gold = parts(sums)
    return Scores(divide(right, found, 0.0), divide(right, gold, 0.0), divide(2 * right, found + gold, 0.0))


def micro(sums: NDArray[np.float64]) -> Scores:
    """The scores of all items taken together."""
    right, found, gold = (part.sum(axis=1) for part in parts(sums))
    something = found + gold > 0
    pooled = (divide(right, found, 0.0), divide(right, gold, 0.0), divide(2 * right, found + gold, 0.0))
    return Scores(*(np.where(something, score, np.nan) for score in pooled))


def macro(sums: NDArray[np.float64]) -> Scores:
    """The plain mean over the classes that occur in gold or prediction."""
    _, found, gold = parts(sums)
    occurs = found + gold > 0
    # A class that does not occur scores 0 everywhere, so the sum may run over all classes.
    return Scores(*(divide(score.sum(axis=1), occurs.sum(axis=1)) for score in per_class(sums)))


def weighted(sums: NDArray[np.float64]) -> Scores:
    """The mean over classes, each with the weight of its gold items."""
    _, _, gold = parts(sums)
    return Scores(*(divide((score * gold).sum(axis=1), gold.sum(axis=1)) for score in per_class(sums)))


AVERAGES: Mapping[str, Average] = {"micro": micro, "macro": macro, "weighted": weighted}


def average_measures(statistics: csr_array, average: str, prefix: str = "") -> list[SummedMeasure]:
    """The measures `<prefix>precision`, `<prefix>recall` and `<prefix>f1` of one average."""
    score = AVERAGES[average]
    return [
        SummedMeasure(f"{prefix}precision", statistics, lambda sums: score(sums).precision),
        SummedMeasure(f"{prefix}recall", statistics, lambda sums: score(sums).recall),
        SummedMeasure(f"{prefix}f1", statistics, lambda sums: score(sums).f1),
    ]


def class_rows(labels: Sequence[str], statistics: csr_array) -> tuple[ClassRow, ...]:
    """A row for each class that occurs in gold or prediction, then the micro, macro and weighted averages."""
    sums = np.asarray(statistics.sum(axis=0), dtype=np.float64).reshape(1, -1)
    _, found, gold = (part[0] for part in parts(sums))
    scores = per_class(sums)
    rows = [
        _row(label, [score[0, number] for score in scores], gold[number])
        for number, label in enumerate(labels)
        if found[number] + gold[number] > 0
    ]
    averages = [
        _row(f"{name} avg", [score[0] for score in average(sums)], gold.sum()) for name, average in AVERAGES.items()
    ]
    return (*rows, *averages)


def _row(label: str, scores: Sequence[float], support: float) -> ClassRow:
    precision, recall, f1 = (float(score) for score in scores)
    return ClassRow(label, precision, recall, f1, int(support))


def parts(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Items right, found and gold: [B, 3 C] -> three arrays [B, C]."""
    right, found, gold = np.split(sums, 3, axis=1)
    return right, found, gold
