"""Metrics of order: the area under the ROC curve, and Spearman's correlation, quick to compute again on resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from tunesmith.scoring import SummedMeasure, divide, mean_measure


def auc_measure(scores: NDArray[np.float64], gold: NDArray[np.intp]) -> SummedMeasure:
    """The mean area under the ROC curve, each class against the rest; ties count half (Hanley and McNeil 1982).

    `scores` is [N, C]; `gold` [N] holds 0 ... C-1, or C for an example of none of the classes. Classes that gold
    lacks, or that all examples have, are left out; nan when none is left, or when a score is nan.
    """
    size, classes = scores.shape
    present = [number for number in range(classes) if (gold == number).any()]
    if np.isnan(scores).any() or not present:
        return mean_measure("roc_auc", np.full(size, np.nan))
    # Per class the line of scores is cut at its positives: it only matters how many examples lie on and between them.
    everyone: list[NDArray[np.intp]] = []
    steps: list[NDArray[np.float64]] = []
    width = 0
    for number in present:
        steps.append(np.unique(scores[gold == number, number]))
        low, high = (np.searchsorted(steps[-1], scores[:, number], side=side) for side in ("left", "right"))
        everyone.append(width + low + high)
        width += 2 * len(steps[-1]) + 1
    lengths = np.array([len(one) for one in steps])
    starts = np.cumsum(lengths) - lengths
    owners = np.repeat(np.arange(len(present)), lengths)
    places = 2 * np.arange(lengths.sum()) + 1 + owners
    positives = [np.flatnonzero(gold == number) for number in present]
    # A positive lies on a step: its cell there is odd, and counts a second time, as a positive.
    owned = [np.searchsorted(places, cells[rows]) for cells, rows in zip(everyone, positives, strict=True)]
    rows = np.concatenate([np.tile(np.arange(size), len(present)), *positives])
    columns = np.concatenate([*everyone, *(width + one for one in owned)])
    shape = (size, width + int(lengths.sum()))
    statistics = coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    return SummedMeasure("roc_auc", statistics, _MeanArea(places, owners, starts))


@dataclass(frozen=True, eq=False)
class _MeanArea:
    """Counts on and between the steps of all classes, then positives per step: [B, cells + steps] -> B mean areas.

    `places` says which cell is each step, `owners` which class it belongs to, `starts` where each class's steps begin.
    """

    places: NDArray[np.intp]
    owners: NDArray[np.intp]
    starts: NDArray[np.intp]

    def __call__(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        cells, positives = np.split(sums, [sums.shape[1] - len(self.places)], axis=1)
        size = cells.sum(axis=1, keepdims=True) / len(self.starts)
        # Examples below a step and half of those on it; the running sum has passed all examples once per earlier class.
        beaten = np.cumsum(cells, axis=1)[:, self.places] - cells[:, self.places] / 2 - size * self.owners
        total = np.add.reduceat(positives, self.starts, axis=1)
        pairs = np.add.reduceat(positives * beaten, self.starts, axis=1)
        # Positives beat each other in half of their pairs, which must not count.
        areas = divide(pairs - total**2 / 2, total * (size - total))
        defined = ~np.isnan(areas)
        return divide(np.where(defined, areas, 0.0).sum(axis=1), defined.sum(axis=1))


def dense_ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number the distinct values from 0 in rising order: [N] -> [N]; nan gets -1."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.intp)
    return np.where(np.isnan(values), -1, ranks)


def spearman(rows: NDArray[np.intp]) -> float:
    """Spearman's rank correlation of two columns of dense ranks, ties on their mean rank; nan if one is constant."""
    if len(rows) == 0 or rows.min() < 0:
        return float("nan")
    one, other = _mean_ranks(rows[:, 0]), _mean_ranks(rows[:, 1])
    spread = float(np.sqrt((one @ one) * (other @ other)))
    return float(np.clip(one @ other / spread, -1, 1)) if spread > 0 else float("nan")


def _mean_ranks(ranks: NDArray[np.intp]) -> NDArray[np.float64]:
    """Centred ranks among these rows, equal values sharing their mean."""
    counts = np.bincount(ranks)
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(middle[ranks] - len(ranks) / 2)
