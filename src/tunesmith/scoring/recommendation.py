"""Ranking metrics of recommendations over all items, and the simple rankers that a model must beat.

The ranks are among all items that the user does not have yet: metrics on a sample of the items can order two rankers
the other way round (Krichene and Rendle 2020).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, mean_measure
from tunesmith.scoring.answers import check_pairs
from tunesmith.scoring.calibration import fit_temperature

MODEL, POPULARITY, ITEM_KNN = "model", "popularity", "item_knn"
"""The ways of ranking that `Prediction.ranks` may hold."""

CUTS = (5, 10, 20)
"""The lengths of list for which hit rate and NDCG are given."""

_NEVER = -1e4
"""The score of what cannot be recommended, while a temperature is fitted."""

Scores = NDArray[np.float64]
Numbers = NDArray[np.int64]


def rank_of(scores: Scores, wanted: int, taken: Collection[int]) -> int:
    """The place of item `wanted` by falling score [N] among the items that are not `taken`, 1 the best.

    Equal scores stand in the order of the items' numbers. A taken item has no place: 0. A score that is no number is
    the worst there is.
    """
    if wanted in taken:
        return 0
    own = scores[wanted]
    if np.isnan(own):
        return len(scores) - len(set(taken))
    before = scores > own
    before[:wanted] |= scores[:wanted] == own
    before[list(taken)] = False
    return 1 + int(before.sum())


def measure_ranks(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
    """NDCG@k, HR@k and MRR of the model, and how far its NDCG@10 is above that of each other ranker.

    With one right item at rank r, HR@k is 1 if r <= k, NDCG@k is 1 / log2(1 + r) if r <= k, and MRR is 1 / r; all are
    0 where the item has no rank. "ndcg@10_over_x" is the mean difference per user, so its interval is that of a paired
    comparison.
    """
    check_pairs(examples, predictions)
    ranks = {
        name: np.array([prediction.ranks.get(name, 0) for prediction in predictions], dtype=np.float64)
        for name in (MODEL, POPULARITY, ITEM_KNN)
    }
    own = ranks[MODEL]
    found: list[Measure] = [mean_measure(f"ndcg@{cut}", gains(own, cut)) for cut in CUTS]
    found += [mean_measure(f"hr@{cut}", ((own > 0) & (own <= cut)).astype(np.float64)) for cut in CUTS]
    found.append(mean_measure("mrr", np.divide(1.0, own, out=np.zeros(len(own)), where=own > 0)))
    for name in (POPULARITY, ITEM_KNN):
        if any(name in prediction.ranks for prediction in predictions):
            other = gains(ranks[name], 10)
            found.append(mean_measure(f"ndcg@10_{name}", other))
            found.append(mean_measure(f"ndcg@10_over_{name}", gains(own, 10) - other))
    return found


def gains(ranks: Scores, cut: int) -> Scores:
    """NDCG@cut of one right item at these ranks [N] (Järvelin and Kekäläinen 2002): the ideal gain is 1."""
    return np.where((ranks > 0) & (ranks <= cut), 1 / np.log2(1 + np.maximum(ranks, 1)), 0.0)


def fit_to_ranked(rows: Sequence[Scores], sequences: Sequence[Sequence[int]]) -> float:
    """The temperature that fits scores of all items [N] to the last item of each sequence, its others left out."""
    if not rows:
        return 1.0
    scores = np.stack(rows)
    for row, (*history, wanted) in zip(scores, sequences, strict=True):
        row[[number for number in history if number != wanted]] = _NEVER
    return fit_temperature(scores, np.array([sequence[-1] for sequence in sequences]))


def neighbours(sequences: Sequence[Sequence[int]], items: int, most: int) -> tuple[Numbers, Scores]:
    """The `most` nearest items of each by the cosine of who has them, and the cosines [N, most]; 0 where there is none.

    cos(i, j) = |users of both| / sqrt(|users of i| |users of j|) (Sarwar et al. 2001, sec. 3.1.1, on what is had and
    not on ratings). `sequences` are the users' items.
    """
    rows = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences])
    columns = np.array([item for one in sequences for item in one], dtype=np.int64)
    has = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sequences), items))
    has.data[:] = 1.0  # a repeated item counts once
    lengths = np.sqrt(np.asarray(has.sum(axis=0)).ravel())
    shared = csr_array(has.T @ has)
    places = np.zeros((items, most), dtype=np.int64)
    cosines = np.zeros((items, most))
    for item in range(items):
        start, end = shared.indptr[item], shared.indptr[item + 1]
        others = shared.indices[start:end]
        near = shared.data[start:end] / (lengths[item] * np.maximum(lengths[others], 1))
        near[others == item] = 0
        order = np.lexsort((others, -near))[:most]
        places[item, : len(order)], cosines[item, : len(order)] = others[order], near[order]
    return places, cosines


def knn_scores(history: Sequence[int], places: Numbers, cosines: Scores) -> Scores:
    """The sum of an item's cosines to the items of a history, over the neighbours that each of these has [N]."""
    chosen = np.asarray(history, dtype=np.int64)
    found: Scores = np.bincount(places[chosen].ravel(), weights=cosines[chosen].ravel(), minlength=len(places))  # type: ignore[assignment]
    return found
