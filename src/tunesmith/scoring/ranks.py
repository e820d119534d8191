"""Rank statistics on dense ranks: sorted once for all examples, only counted again for each resample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.scoring import divide


def dense_ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number the distinct values from 0 in rising order: [N] -> [N]; nan gets -1, and makes every statistic nan."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.intp)
    return np.where(np.isnan(values), -1, ranks)


def macro_auc(rows: NDArray[np.intp]) -> float:
    """The mean area under the ROC curve, each class against the rest; ties count half (Hanley and McNeil 1982).

    The first column is the gold class 0 ... C-1 (C for none of them), column c + 1 the dense rank of the score of
    class c. Classes that gold lacks, or that all examples have, are left out; nan when none is left.
    """
    size, classes = len(rows), rows.shape[1] - 1
    if size == 0 or rows.min() < 0:
        return float("nan")
    gold, ranks = rows[:, 0], rows[:, 1:]
    width = int(ranks.max()) + 1
    cells = ranks + np.arange(classes) * width
    counts = np.bincount(cells.ravel(), minlength=classes * width)
    # Examples below a rank, plus half of those on it; each earlier class has added `size` to the running sum.
    below = np.cumsum(counts) - counts / 2
    own = np.flatnonzero(gold < classes)
    owner = gold[own]
    beaten = np.bincount(owner, weights=below[cells[own, owner]] - size * owner, minlength=classes)
    positives = np.bincount(owner, minlength=classes).astype(np.float64)
    # Positives beat each other in half of their pairs, which must not count.
    areas = divide(beaten - positives**2 / 2, positives * (size - positives))
    defined = areas[np.isfinite(areas)]
    return float(defined.mean()) if len(defined) else float("nan")


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
