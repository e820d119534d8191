"""Query strategies: each against its definition written out, and all alike in what they promise."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax
from scipy.stats import entropy as reference_entropy

from tunesmith.errors import DataError, RecipeError
from tunesmith.selection import BALD, QUERY_STRATEGIES, Badge, Contrastive, Coreset, Entropy, Margin, Need, Pool


def pool(size: int = 40, seed: int = 0, labelled: int = 6) -> Pool:
    random = np.random.default_rng(seed)
    draws = softmax(random.normal(size=(5, size, 3)) * 2, axis=2)
    return Pool(
        size,
        draws.mean(axis=0),
        draws,
        random.normal(size=(size, 4)),
        random.normal(size=(labelled, 4)),
        softmax(random.normal(size=(labelled, 3)), axis=1),
    )


@pytest.mark.parametrize("name", QUERY_STRATEGIES)
def test_places_are_different_within_the_pool_and_a_function_of_the_seed(name: str) -> None:
    strategy = QUERY_STRATEGIES[name]()
    for given in (pool(),) if name == "contrastive" else (pool(), pool(labelled=0)):
        chosen = strategy.choose(given, 12, np.random.default_rng(1))
        assert chosen == strategy.choose(given, 12, np.random.default_rng(1))
        assert len(set(chosen)) == 12
        assert all(type(place) is int and 0 <= place < given.size for place in chosen)
        assert sorted(strategy.choose(given, 100, np.random.default_rng(1))) == list(range(given.size))
        assert strategy.choose(given, 0, np.random.default_rng(1)) == []
    assert strategy.needs <= set(get_args(Need))


@pytest.mark.parametrize("name", [name for name in QUERY_STRATEGIES if name not in ("coreset", "badge")])
def test_texts_that_are_alike_are_chosen_by_chance_and_not_by_place(name: str) -> None:
    same = Pool(
        30,
        np.full((30, 2), 0.5),
        np.full((4, 30, 2), 0.5),
        np.ones((30, 3)),
        np.ones((2, 3)),
        np.full((2, 2), 0.5),
    )
    strategy = QUERY_STRATEGIES[name]()
    firsts = {strategy.choose(same, 1, np.random.default_rng(seed))[0] for seed in range(40)}
    assert len(firsts) > 10


def test_margin_and_entropy_order_as_their_formulas_do() -> None:
    given = pool()
    best = np.sort(given.probabilities, axis=1)
    margins = best[:, -1] - best[:, -2]
    assert Margin().choose(given, 40, np.random.default_rng(0)) == np.argsort(margins).tolist()
    entropies = reference_entropy(given.probabilities, axis=1)
    assert Entropy().choose(given, 40, np.random.default_rng(0)) == np.argsort(-entropies).tolist()


def test_bald_is_the_mutual_information_and_not_the_entropy() -> None:
    sure_of_the_doubt = np.full((4, 1, 2), 0.5)
    disputed = np.array([[[0.9, 0.1]], [[0.1, 0.9]], [[0.9, 0.1]], [[0.1, 0.9]]])
    given = Pool(2, draws=np.concatenate([sure_of_the_doubt, disputed], axis=1))
    assert BALD().choose(given, 2, np.random.default_rng(0)) == [1, 0]


def radius(vectors: NDArray[np.float64], centres: NDArray[np.float64]) -> float:
    return float(cdist(vectors, centres).min(axis=1).max())


@pytest.mark.parametrize("seed", range(8))
def test_the_greedy_coreset_is_at_most_twice_the_best(seed: int) -> None:
    given = pool(size=11, seed=seed, labelled=2)
    chosen = Coreset().choose(given, 3, np.random.default_rng(0))
    reached = radius(given.vectors, np.concatenate([given.labelled_vectors, given.vectors[chosen]]))
    best = min(
        radius(given.vectors, np.concatenate([given.labelled_vectors, given.vectors[list(own)]]))
        for own in combinations(range(11), 3)
    )
    assert reached <= 2 * best + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_badge_is_k_means_plus_plus_on_gradient_embeddings(seed: int) -> None:
    given = pool(seed=seed)
    errors = given.probabilities.copy()
    errors[np.arange(given.size), errors.argmax(axis=1)] -= 1
    gradients = np.einsum("nc,nh->nch", errors, given.vectors).reshape(given.size, -1)
    random = np.random.default_rng(seed)
    expected = [int((gradients**2).sum(axis=1).argmax())]
    while len(expected) < 6:
        distance = cdist(gradients, gradients[expected], "sqeuclidean").min(axis=1)
        distance[expected] = 0.0
        expected.append(int(random.choice(given.size, p=distance / distance.sum())))
    assert Badge().choose(given, 6, np.random.default_rng(seed)) == expected


def test_contrastive_scores_are_the_mean_divergence_from_the_nearest_labelled_texts() -> None:
    given = pool()
    scores = []
    for place in range(given.size):
        near = np.linalg.norm(given.labelled_vectors - given.vectors[place], axis=1).argsort()[:3]
        parts = [reference_entropy(given.labelled_probabilities[one], given.probabilities[place]) for one in near]
        scores.append(float(np.mean(parts)))
    chosen = Contrastive(neighbours=3).choose(given, 40, np.random.default_rng(0))
    assert chosen == np.argsort(-np.array(scores)).tolist()


def test_settings_and_pools_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RecipeError, match="at least 1"):
        Contrastive(neighbours=0)
    with pytest.raises(RecipeError, match="there are none"):
        Contrastive().choose(pool(labelled=0), 1, np.random.default_rng(0))
    with pytest.raises(DataError, match="3 texts and 2 rows of vectors"):
        Pool(3, vectors=np.zeros((2, 4)))
    with pytest.raises(DataError, match="2 in each draw"):
        Pool(3, draws=np.zeros((5, 2, 4)))
