"""How well passages are ranked for queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, mean_measure
from tunesmith.scoring.answers import check_pairs, number_of

DEPTH = 10
"""How many of the first places NDCG looks at."""


def measure_rankings(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
    """NDCG@10, mean reciprocal rank and mean average precision over queries; resampling draws queries, not passages.

    The passages of a query are the examples of one group, or else of one first text. NDCG has gains 2^relevance - 1 and
    discounts log2(1 + place) (Jarvelin and Kekalainen 2002); the two others take every relevance above 0 as relevant.
    Ties are broken against the model: a relevant passage stands behind an irrelevant one of the same score. Queries
    without a relevant passage are left out.
    """
    check_pairs(examples, predictions)
    queries: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for example, prediction in zip(examples, predictions, strict=True):
        queries[example.group or example.text].append((number_of(prediction), number_of(example)))
    judged = [
        sorted(rows, key=lambda row: (-row[0], row[1])) for rows in queries.values() if max(r for _, r in rows) > 0
    ]
    relevance = [np.array([gain for _, gain in rows]) for rows in judged]
    return [
        mean_measure(f"ndcg@{DEPTH}", np.array([ndcg(one) for one in relevance])),
        mean_measure("mrr", np.array([1 / (1 + np.flatnonzero(one > 0)[0]) for one in relevance])),
        mean_measure("map", np.array([average_precision(one) for one in relevance])),
    ]


def ndcg(relevance: NDArray[np.float64]) -> float:
    """NDCG@10 of one query's relevances in the order of the ranking."""
    discounts = 1 / np.log2(2 + np.arange(min(DEPTH, len(relevance))))
    gains = 2**relevance - 1
    best = np.sort(gains)[::-1][:DEPTH] @ discounts
    return float(gains[:DEPTH] @ discounts / best)


def average_precision(relevance: NDArray[np.float64]) -> float:
    """The mean precision at the places of the relevant passages."""
    hit = relevance > 0
    return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())
