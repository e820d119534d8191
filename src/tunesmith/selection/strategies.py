"""By chance, by what the model is least sure of, by what covers the pool, and by both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from tunesmith.errors import RecipeError
from tunesmith.selection.pool import Need, Pool

_TINY = 1e-12


@dataclass(frozen=True)
class Random:
    """Every text with the same chance: what all others must beat."""

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing."""
        return frozenset()

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """Texts by chance."""
        return [int(place) for place in random.permutation(pool.size)[:size]]


@dataclass(frozen=True)
class LeastConfidence:
    """The texts whose likeliest class is least likely (Lewis and Gale 1994, sec. 2)."""

    @property
    def needs(self) -> frozenset[Need]:
        """Probabilities."""
        return frozenset({"probabilities"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The least sure ones, ties by chance."""
        return highest(1 - pool.probabilities.max(axis=1), size, random)


@dataclass(frozen=True)
class Margin:
    """The texts whose two likeliest classes are nearest to each other (Scheffer et al. 2001, sec. 4)."""

    @property
    def needs(self) -> frozenset[Need]:
        """Probabilities."""
        return frozenset({"probabilities"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The smallest margins, ties by chance."""
        best = np.sort(pool.probabilities, axis=1)
        return highest(best[:, -2] - best[:, -1] if best.shape[1] > 1 else -best[:, -1], size, random)


@dataclass(frozen=True)
class Entropy:
    """The texts whose probabilities have the highest entropy (Settles 2009, sec. 3.1)."""

    @property
    def needs(self) -> frozenset[Need]:
        """Probabilities."""
        return frozenset({"probabilities"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The highest entropies, ties by chance."""
        return highest(entropy(pool.probabilities), size, random)


@dataclass(frozen=True)
class BALD:
    """The texts on which draws of the model disagree most (Houlsby et al. 2011, eq. 2; Gal et al. 2017, sec. 4.1).

    The mutual information of the answer and the weights: the entropy of the mean less the mean of the entropies.
    """

    @property
    def needs(self) -> frozenset[Need]:
        """Draws with dropout."""
        return frozenset({"draws"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The most disputed ones, ties by chance."""
        return highest(entropy(pool.draws.mean(axis=0)) - entropy(pool.draws).mean(axis=0), size, random)


@dataclass(frozen=True)
class Coreset:
    """The texts that leave none of the pool far from a chosen or labelled one (Sener and Savarese 2018, alg. 1).

    The greedy choice of the farthest text, whose largest distance is at most twice the least possible.
    """

    @property
    def needs(self) -> frozenset[Need]:
        """Vectors, and those of labelled texts."""
        return frozenset({"vectors", "labelled"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The farthest text each time; with nothing labelled the first is drawn by chance."""
        chosen: list[int] = []
        nearest = np.full(pool.size, np.inf)
        if len(pool.labelled_vectors):
            nearest = cdist(pool.vectors, pool.labelled_vectors).min(axis=1)
        for _ in range(min(size, pool.size)):
            place = int(nearest.argmax()) if np.isfinite(nearest).all() else int(random.integers(pool.size))
            chosen.append(place)
            nearest = np.minimum(nearest, cdist(pool.vectors, pool.vectors[place : place + 1])[:, 0])
            nearest[chosen] = -1.0
        return chosen


@dataclass(frozen=True)
class Badge:
    """Texts that are unsure and unlike each other (Ash et al. 2020, alg. 1).

    k-means++ on the gradients that the last layer would have if the likeliest class were right: (p - onehot) x vector.
    Distances are computed from the two factors, so that no matrix of N x CH is made.
    """

    @property
    def needs(self) -> frozenset[Need]:
        """Probabilities and vectors."""
        return frozenset({"probabilities", "vectors"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The longest gradient first, then each with a chance by its squared distance from those before."""
        errors = pool.probabilities - np.eye(pool.probabilities.shape[1])[pool.probabilities.argmax(axis=1)]
        lengths = (errors**2).sum(axis=1) * (pool.vectors**2).sum(axis=1)
        chosen = [int(lengths.argmax())] if pool.size and size else []
        nearest = np.full(pool.size, np.inf)
        while len(chosen) < min(size, pool.size):
            last = chosen[-1]
            product = (errors @ errors[last]) * (pool.vectors @ pool.vectors[last])
            nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * product, 0))
            nearest[chosen] = 0.0
            total = nearest.sum()
            free = np.setdiff1d(np.arange(pool.size), chosen)
            chances = nearest / total if total > _TINY else np.isin(np.arange(pool.size), free) / len(free)
            chosen.append(int(random.choice(pool.size, p=chances)))
        return chosen


@dataclass(frozen=True)
class Contrastive:
    """The texts that the model judges unlike labelled texts that lie near them (CAL, Margatina et al. 2021, alg. 1).

    The score is the mean over the nearest labelled texts of KL(their probabilities || the text's).

    Attributes:
        neighbours: how many labelled texts are looked at.
    """

    neighbours: int = 10

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise RecipeError("neighbours must be at least 1.", where="strategy.neighbours")

    @property
    def needs(self) -> frozenset[Need]:
        """Probabilities, vectors, and both of labelled texts."""
        return frozenset({"probabilities", "vectors", "labelled"})

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The highest scores, ties by chance.

        Raises:
            RecipeError: nothing is labelled.
        """
        if not len(pool.labelled_vectors):
            raise RecipeError(
                "This strategy compares texts with labelled ones, and there are none.",
                where="--strategy contrastive",
                to_do="Name them in --labelled, or use --strategy margin.",
            )
        near = cdist(pool.vectors, pool.labelled_vectors).argsort(axis=1)[:, : self.neighbours]
        theirs = pool.labelled_probabilities[near]  # [N, k, C]
        ratio = np.log(np.maximum(theirs, _TINY)) - np.log(np.maximum(pool.probabilities, _TINY))[:, None, :]
        return highest((theirs * ratio).sum(axis=2).mean(axis=1), size, random)


def highest(scores: NDArray[np.float64], size: int, random: np.random.Generator) -> list[int]:
    """The places of the highest scores, equal ones in an order by chance."""
    order = np.lexsort((random.permutation(len(scores)), -scores))
    return [int(place) for place in order[:size]]


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The entropy over the last axis, in nats."""
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, _TINY))).sum(axis=-1))
