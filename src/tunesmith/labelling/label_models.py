"""From votes to probabilities: by counting, by agreement with a hidden truth, or by agreement in threes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from tunesmith.errors import RecipeError

ABSTAINED = -1
"""The vote of a function that says nothing."""

_LEAST, _MOST = 0.01, 0.99
"""Between these an accuracy by moments is kept: one vote must not decide against all others."""

_FAR = 3
"""A class with so many times more or fewer texts than expected is warned of; half of that is common for a rare one."""


@dataclass(frozen=True)
class Judged:
    """What votes say.

    Attributes:
        probabilities: of each class [N, C]; where no function spoke, the class shares.
        accuracies: how often each function that spoke is right, by the model [M]; nan where it never spoke.
        trace: the model's log-likelihood after each pass, where it has one.
        shares: of the classes among all texts, where these were given [C].
    """

    probabilities: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    trace: tuple[float, ...] = ()
    shares: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class MajorityVote:
    """Each function that speaks has one vote; the classes with votes share the probability."""

    def judge(self, votes: NDArray[np.int64], classes: int, labels: Sequence[str] = ()) -> Judged:
        """The shares of the votes, and how often each function agrees with the class that has most."""
        shares = _shares(votes, classes)
        spoke = votes != ABSTAINED
        agrees = np.take_along_axis(shares, np.clip(votes, 0, None), axis=1) * spoke
        return Judged(shares, _over(agrees.sum(axis=0), spoke.sum(axis=0)))


@dataclass(frozen=True)
class DawidSkene:
    """Functions err by confusion matrices of their own, found by EM (Dawid and Skene 1979, sec. 3).

    Silence is one of a function's answers: words of praise are silent on most texts, but more so on those that blame.
    Of functions that give one label only this is all that the agreement of others can tell. Rows of the matrices and
    the class shares have a Dirichlet prior that adds `smoothing` of a count to each cell, and one count more to the
    diagonal: functions are taken to be better than chance until they show otherwise, which also fixes which class is
    which. Each pass raises the posterior.

    Attributes:
        passes: at most so many; it ends earlier once nothing changes.
        smoothing: counts that are added to each cell.
        estimate_shares: find the class shares too, as Dawid and Skene do; else the classes are taken to be even. Where
            few functions speak on a text, all of them can be explained by one class, and the shares run away to it.
        shares: the share of each class among all texts, where these are known, such as {spam: 0.02, ham: 0.98}. Where a
            class is rare and nothing is said of it, half of the texts may be taken for it.
    """

    passes: int = 200
    smoothing: float = 0.01
    estimate_shares: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.passes < 1 or self.smoothing <= 0:
            raise RecipeError("passes and smoothing must be positive.", where="dawid_skene")
        if self.shares and self.estimate_shares:
            raise RecipeError("Shares are known or estimated.", where="dawid_skene", to_do="Leave one of both out.")
        if self.shares and (min(self.shares.values()) <= 0 or abs(sum(self.shares.values()) - 1) > 1e-3):
            raise RecipeError("The shares must be positive and sum to 1.", where="dawid_skene.shares")

    def judge(self, votes: NDArray[np.int64], classes: int, labels: Sequence[str] = ()) -> Judged:
        """Class probabilities by the functions' confusion matrices.

        Raises:
            RecipeError: the classes with shares are others than those that the functions give.
        """
        known = self._known(labels)
        answers = [*range(classes), ABSTAINED]
        said = np.stack([votes == answer for answer in answers], axis=2).astype(np.float64)  # [N, M, C + 1]
        belief = _shares(votes, classes)
        if known is not None:
            belief = np.where((votes != ABSTAINED).any(axis=1, keepdims=True), belief, known)
        trace: list[float] = []
        for _ in range(self.passes):
            prior, confusion = self._matrices(said, belief)
            prior = prior if known is None else known
            scores = np.log(prior) + np.einsum("nmc,mkc->nk", said, np.log(confusion))
            trace.append(self._posterior(scores, prior, confusion))
            belief = softmax(scores, axis=1)
            if len(trace) > 1 and trace[-1] - trace[-2] < 1e-9 * abs(trace[-1]):
                break
        # Of a function that is right the class is what it said.
        right = np.einsum("nk,nmk->m", belief, said[:, :, :classes])
        return Judged(belief, _over(right, said[:, :, :classes].sum(axis=(0, 2))), tuple(trace), known)

    def _known(self, labels: Sequence[str]) -> NDArray[np.float64] | None:
        """The shares that are given, in the order of the classes."""
        if not self.shares:
            return None
        if set(self.shares) != set(labels):
            raise RecipeError(
                f"There are shares of {', '.join(sorted(self.shares))}, and the functions give "
                f"{', '.join(labels) or 'classes without a name'}.",
                where="dawid_skene.shares",
                to_do="Give a share of each class that a function gives, and a function for each class.",
            )
        return np.array([self.shares[label] for label in labels])

    def _matrices(
        self, said: NDArray[np.float64], belief: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Class shares [C], and for each function the probability [M, C, C + 1] of each answer, given the class."""
        prior = belief.sum(axis=0) + self.smoothing if self.estimate_shares else np.ones(belief.shape[1])
        confusion = np.einsum("nk,nmc->mkc", belief, said) + self._added(belief.shape[1])
        return prior / prior.sum(), confusion / confusion.sum(axis=2, keepdims=True)

    def _posterior(
        self, scores: NDArray[np.float64], prior: NDArray[np.float64], confusion: NDArray[np.float64]
    ) -> float:
        """The log of the votes' likelihood and of the priors, but for a constant."""
        likelihood = float(logsumexp(scores, axis=1).sum())
        return likelihood + float(
            self.smoothing * np.log(prior).sum() + (self._added(len(prior)) * np.log(confusion)).sum()
        )

    def _added(self, classes: int) -> NDArray[np.float64]:
        """What the prior adds to the counts of each function [C, C + 1]."""
        return self.smoothing + np.eye(classes, classes + 1)


@dataclass(frozen=True)
class Moments:
    """Functions' accuracies in closed form, from how three of them agree (Fu et al. 2020, sec. 3, alg. 1).

    For a class against all others, with votes and truth as +1 and -1 and functions that err independently,
    E[u v] = a_u a_v, so that a_u^2 = E[u v] E[u w] / E[v w]; the median over all pairs v, w is taken, and functions are
    held to be better than chance. Each class is asked about in turn, and the answers are brought to a sum of 1.
    Fewer than three functions that speak on the same texts say nothing: these keep an even accuracy of 0.7, and so do
    those that only ever vote for a class, or only against it: their agreement is none about the truth.

    Needs: three functions that give several labels each; words and patterns give one.
    """

    def judge(self, votes: NDArray[np.int64], classes: int, labels: Sequence[str] = ()) -> Judged:
        """Class probabilities by the functions' accuracies for and against each class.

        Raises:
            RecipeError: fewer than three functions give more than one label.
        """
        given = [len(np.unique(column[column != ABSTAINED])) for column in votes.T]
        if (able := sum(count > 1 for count in given)) < 3:
            raise RecipeError(
                f"Moments learn from functions that may say one label or another, and only {able} of these "
                f"{len(given)} do: of the others every agreement is certain, right or wrong.",
                where="--model moments",
                to_do="Use --model dawid_skene, which learns from when such functions are silent, or majority.",
            )
        shares = _shares(np.append(votes, np.full((1, votes.shape[1]), ABSTAINED), axis=0), classes)[-1]
        spoke = votes != ABSTAINED
        scores = np.zeros((len(votes), classes))
        each = []
        for label in range(classes):
            signs = np.where(spoke, np.where(votes == label, 1.0, -1.0), 0.0)
            accuracy = (1 + _by_threes(signs)) / 2
            each.append(accuracy)
            share = np.clip(shares[label], _LEAST, _MOST)
            scores[:, label] = np.log(share / (1 - share)) + signs @ np.log(accuracy / (1 - accuracy))
        chances = 1 / (1 + np.exp(-scores))
        probabilities = chances / chances.sum(axis=1, keepdims=True)
        probabilities[~spoke.any(axis=1)] = shares
        agrees = np.take_along_axis(probabilities, np.clip(votes, 0, None), axis=1) * spoke
        return Judged(probabilities, _over(agrees.sum(axis=0), spoke.sum(axis=0)))


def ran_away(votes: NDArray[np.int64], judged: Judged, labels: Sequence[str]) -> list[str]:
    """A sentence for each class that far more or far fewer texts were given than votes, or given shares, let expect.

    Of the texts on which a function spoke; by a factor of `_FAR` and more.
    """
    spoke = (votes != ABSTAINED).any(axis=1)
    if not spoke.any():
        return []
    given, most = (
        np.bincount(rows[spoke].argmax(axis=1), minlength=len(labels)) / spoke.sum()
        for rows in (judged.probabilities, _shares(votes, len(labels)))
    )
    expected, by = (most, "by most votes") if judged.shares is None else (judged.shares, "as its given share")
    return [
        f"'{label}' became the label of {100 * is_now:.1f} % of the texts, and has {100 * was:.1f} % {by}: "
        "the label model may have run away. Give the shares of the classes that you know of (--model "
        "'dawid_skene:shares={...}'), or label some texts and use --judge."
        for label, is_now, was in zip(labels, given, expected, strict=True)
        if is_now * _FAR < was or is_now > _FAR * was
    ]


def _by_threes(signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """E[vote * truth] of each function [M], from the agreement of pairs where both speak."""
    both = (signs != 0).astype(np.float64).T @ (signs != 0).astype(np.float64)
    agreement = np.divide(signs.T @ signs, both, out=np.zeros_like(both), where=both > 0)
    found = np.full(signs.shape[1], 0.4)
    both_ways = [place for place, column in enumerate(signs.T) if {-1.0, 1.0} <= set(column)]
    for function in both_ways:
        others = [other for other in both_ways if other != function]
        guesses = [
            abs(agreement[function, one] * agreement[function, two] / agreement[one, two])
            for one, two in combinations(others, 2)
            if abs(agreement[one, two]) > 1e-6
        ]
        if guesses:
            found[function] = np.sqrt(np.median(guesses))
    return np.asarray(np.clip(found, 2 * _LEAST - 1, 2 * _MOST - 1))


def _shares(votes: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """The share of each class in each row's votes [N, C]; the shares over all rows where there is none."""
    counts = np.stack([(votes == label).sum(axis=1) for label in range(classes)], axis=1).astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    all_votes = counts.sum()
    overall = counts.sum(axis=0) / all_votes if all_votes else np.full(classes, 1 / classes)
    return np.asarray(np.where(total > 0, counts / np.maximum(total, 1), overall))


def _over(part: NDArray[np.float64], whole: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Part / whole, nan where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))
