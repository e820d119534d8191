"""Ranks among all items and what is measured of them, against references of a few lines."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring.recommendation import (
    CUTS,
    ITEM_KNN,
    MODEL,
    POPULARITY,
    fit_to_ranked,
    knn_scores,
    measure_ranks,
    neighbours,
    rank_of,
)


def answered(rows: list[dict[str, int]]) -> dict[str, float]:
    examples = [Example(str(n), "x", "1", history=("2",)) for n in range(len(rows))]
    predictions = [Prediction(str(n), "1", 0.5, ranks=ranks) for n, ranks in enumerate(rows)]
    return {measure.name: measure.value() for measure in measure_ranks(examples, predictions)}


def test_metrics_of_ranks_are_those_of_their_definitions() -> None:
    draw = random.Random(0)
    ranks = [draw.choice([0, 1, 2, 5, 6, 10, 11, 20, 21, 900]) for _ in range(50)]
    expected = {"mrr": sum(1 / rank for rank in ranks if rank) / len(ranks)}
    for cut in CUTS:
        hits = [rank for rank in ranks if 1 <= rank <= cut]
        expected[f"hr@{cut}"] = len(hits) / len(ranks)
        expected[f"ndcg@{cut}"] = sum(1 / math.log2(1 + rank) for rank in hits) / len(ranks)
    assert answered([{MODEL: rank} for rank in ranks]) == pytest.approx(expected)


def test_other_rankers_are_compared_with_user_by_user() -> None:
    found = answered([{MODEL: 1, POPULARITY: 3, ITEM_KNN: 11}, {MODEL: 10, POPULARITY: 1, ITEM_KNN: 0}])
    last = 1 / math.log2(11)
    assert found["ndcg@10_popularity"] == pytest.approx((0.5 + 1) / 2)
    assert found["ndcg@10_over_popularity"] == pytest.approx((1 - 0.5 + last - 1) / 2)
    assert found["ndcg@10_item_knn"] == 0
    assert found["ndcg@10_over_item_knn"] == pytest.approx((1 + last) / 2)


def test_a_rank_counts_what_is_better_and_is_not_taken() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        scores = draw.integers(0, 5, 12).astype(np.float64)
        taken = set(draw.choice(12, 4, replace=False).tolist())
        ranked = sorted(set(range(12)) - taken, key=lambda item: (-scores[item], item))
        assert [rank_of(scores, item, taken) for item in ranked] == list(range(1, 9))
        assert {rank_of(scores, item, taken) for item in taken} == {0}


def test_equal_scores_are_no_gift_to_the_target() -> None:
    assert [rank_of(np.zeros(5), item, [1]) for item in (0, 2, 3, 4)] == [1, 2, 3, 4]


def test_a_score_that_is_no_number_is_the_worst() -> None:
    assert rank_of(np.full(5, np.nan), 0, [1, 1, 2]) == 3
    assert rank_of(np.array([0.0, np.nan, -9.0]), 1, ()) == 3
    assert rank_of(np.array([np.nan, 0.0, 1.0]), 1, ()) == 2


def test_neighbours_are_the_nearest_by_the_cosine_of_users() -> None:
    draw = random.Random(3)
    sequences = [[draw.randrange(9) for _ in range(draw.randrange(1, 6))] for _ in range(20)]  # item 9 is no one's
    has = np.zeros((20, 10))
    for user, sequence in enumerate(sequences):
        has[user, sequence] = 1
    lengths = np.maximum(np.linalg.norm(has, axis=0), 1e-9)
    cosine = has.T @ has / np.outer(lengths, lengths)
    np.fill_diagonal(cosine, 0)
    places, found = neighbours(sequences, 10, 3)
    for item in range(10):
        nearest = np.argsort(-cosine[item].round(9), kind="stable")[:3]
        assert found[item] == pytest.approx(cosine[item, nearest])
        assert [place for place, near in zip(places[item], found[item], strict=True) if near] == [
            other for other in nearest if cosine[item, other]
        ]
    kept = np.zeros((10, 10))
    np.put_along_axis(kept, places, found, 1)
    history = [0, 4, 7]
    assert knn_scores(history, places, found) == pytest.approx(kept[history].sum(0), abs=1e-12)


def test_without_training_histories_no_item_has_neighbours() -> None:
    places, cosines = neighbours([], 3, 2)
    assert not places.any()
    assert not cosines.any()
    assert knn_scores([0, 2], places, cosines).tolist() == [0, 0, 0]


def test_the_temperature_fits_the_items_that_are_not_taken() -> None:
    draw = np.random.default_rng(1)
    rows = [3 * draw.normal(size=8) for _ in range(60)]
    for row in rows:
        row[0] = 50.0  # all have it: left in, it would be the answer to everything
    sequences = [[0, int(draw.choice(np.arange(1, 8), p=np.exp(log_softmax(row[1:] / 2))))] for row in rows]

    def loss(temperature: float) -> float:
        return -sum(log_softmax(row[1:] / temperature)[end - 1] for row, (_, end) in zip(rows, sequences, strict=True))

    best = minimize_scalar(loss, bounds=(0.1, 20), method="bounded").x
    assert fit_to_ranked(rows, sequences) == pytest.approx(best, rel=0.02)
    assert rows[0][0] == 50.0
    assert fit_to_ranked([], []) == 1.0
