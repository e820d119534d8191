"""Precision, recall and F1 per class and averaged, from counts that can be summed over examples.

Three counts per class are kept: items found and right, items found, items there (gold). The sums of all classes lie
side by side in one row of 3 C numbers. A class enters the macro average when it occurs in gold or prediction, as in
scikit-learn when it is given no list of labels; 0/0 within a class counts as 0; with no item at all an average is nan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from tunesmith.scoring import SummedMeasure, divide
from tunesmith.scoring.tables import ClassRow


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and F1, as arrays of one shape."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    def each(self, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Scores:
        """Change each of the three arrays in the same way."""
        return Scores(change(self.precision), change(self.recall), change(self.f1))


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
    return _scores(*parts(sums))


def micro(sums: NDArray[np.float64]) -> Scores:
    """The scores of all items taken together."""
    right, found, gold = (part.sum(axis=1) for part in parts(sums))
    return _scores(right, found, gold).each(lambda score: np.where(found + gold > 0, score, np.nan))


def macro(sums: NDArray[np.float64]) -> Scores:
    """The plain mean over the classes that occur in gold or prediction."""
    _, found, gold = parts(sums)
    occurring = np.count_nonzero(found + gold, axis=1).astype(np.float64)
    # A class that does not occur scores 0 everywhere, so the sum may run over all classes.
    return per_class(sums).each(lambda score: divide(score.sum(axis=1), occurring))


def weighted(sums: NDArray[np.float64]) -> Scores:
    """The mean over classes, each with the weight of its gold items."""
    _, _, gold = parts(sums)
    return per_class(sums).each(lambda score: divide((score * gold).sum(axis=1), gold.sum(axis=1)))


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
    scores = per_class(sums).each(lambda score: score[0])
    rows = [_row(label, scores, n, gold[n]) for n, label in enumerate(labels) if found[n] + gold[n] > 0]
    averages = [_row(f"{name} avg", average(sums), 0, gold.sum()) for name, average in AVERAGES.items()]
    return (*rows, *averages)


def _row(label: str, scores: Scores, place: int, support: float) -> ClassRow:
    precision, recall, f1 = (float(score[place]) for score in (scores.precision, scores.recall, scores.f1))
    return ClassRow(label, precision, recall, f1, int(support))


def _scores(right: NDArray[np.float64], found: NDArray[np.float64], gold: NDArray[np.float64]) -> Scores:
    return Scores(divide(right, found, 0.0), divide(right, gold, 0.0), divide(2 * right, found + gold, 0.0))


def parts(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Items right, found and gold: [B, 3 C] -> three arrays [B, C]."""
    right, found, gold = np.split(sums, 3, axis=1)
    return right, found, gold
