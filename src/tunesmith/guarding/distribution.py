"""A guard against texts unlike those that the model has learnt: distances, energy, or plain confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.covariance import ledoit_wolf

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.guarding.fitting import Material, Seen, not_fitted
from tunesmith.guarding.thresholds import alarm_limit, auroc, fpr_at
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict

Score = Literal["mahalanobis", "energy", "max_softmax"]
SCORES: tuple[Score, ...] = ("mahalanobis", "energy", "max_softmax")


@dataclass(frozen=True)
class Gaussians:
    """A normal distribution per class, all of one covariance (Lee et al. 2018, eq. 1).

    Attributes:
        centres: the mean of each class [C, H], whitened.
        whitening: a matrix [H, H] that gives vectors a covariance of one: its product with its transpose is the inverse
            of the covariance, which is shrunk as Ledoit and Wolf (2004) have it.
    """

    centres: tuple[tuple[float, ...], ...]
    whitening: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, vectors: NDArray[np.float64], classes: Sequence[str]) -> Gaussians:
        """Those of vectors [N, H] with their classes."""
        names = sorted(set(classes))
        owners = np.array([names.index(one) for one in classes])
        means = np.stack([vectors[owners == place].mean(axis=0) for place in range(len(names))])
        covariance, _ = ledoit_wolf(vectors - means[owners], assume_centered=True)
        whitening = np.linalg.cholesky(np.linalg.inv(covariance))
        return cls(_plain(means @ whitening), _plain(whitening))

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self.centres), np.array(self.whitening)

    def distances(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """The squared Mahalanobis distance of each vector [N, H] to the nearest class [N] (Lee et al. 2018, eq. 2)."""
        centres, whitening = self._arrays
        white = vectors @ whitening
        squares = (white**2).sum(1)[:, None] - 2 * white @ centres.T + (centres**2).sum(1)
        return np.asarray(np.maximum(squares.min(axis=1), 0.0))


@dataclass(frozen=True)
class OutOfDistribution:
    """Answer "I don't know" to texts unlike those that the model has learnt.

    Three scores: the distance of the text's vector to the nearest class (Lee et al. 2018), the energy of its logits
    (Liu et al. 2020), and one minus the highest probability (Hendrycks and Gimpel 2017). With "auto" the one that best
    tells the validation texts from texts of another kind is taken; give texts like those that you fear.

    Attributes:
        score: mahalanobis, energy, max_softmax; or auto, which needs texts of another kind (--outside).
        alarm_rate: the share of texts of the model's own kind that may be refused; it sets the limit.
        limit: the score above which a text is refused; fitted.
        gaussians: of the classes' vectors; fitted, where the score needs them.
    """

    score: Literal["auto", "mahalanobis", "energy", "max_softmax"] = "mahalanobis"
    alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    limit: float | None = None
    gaussians: Gaussians | None = field(default=None, repr=False)

    @property
    def needs(self) -> frozenset[Need]:
        """The text's vector or its energy; while no score is chosen, both."""
        wanted: dict[str, tuple[Need, ...]] = {
            "auto": ("vector", "energy"),
            "mahalanobis": ("vector",),
            "energy": ("energy",),
            "max_softmax": (),
        }
        return frozenset(wanted[self.score])

    @property
    def is_fitted(self) -> bool:
        """Whether it has a limit."""
        return self.limit is not None

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Pass."""
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Withhold the answer to a text whose score is above the limit."""
        if self.limit is None or self.score == "auto":
            raise not_fitted("out_of_distribution")
        (value,) = self.scores(self.score, Seen((example,), (prediction,), (), (evidence,)))
        if value > self.limit:
            return Verdict("unknown", "out_of_distribution", {"limit": self.limit, "value": value})
        return prediction

    def scores(self, score: Score, seen: Seen) -> list[float]:
        """The score of each example; the higher, the less like what was learnt.

        Raises:
            RecipeError: the evidence is not there.
        """
        if score == "max_softmax":
            return [1 - one.confidence for one in seen.predictions]
        if score == "energy":
            found = [one.energy for one in seen.evidence]
            if any(map(math.isnan, found)):
                raise _lacking(score, "energy")
            return found
        if self.gaussians is None:
            raise not_fitted("out_of_distribution")
        if any(not one.vector for one in seen.evidence):
            raise _lacking(score, "vector")
        return [float(one) for one in self.gaussians.distances(_vectors(seen))]

    def fitted(self, material: Material) -> OutOfDistribution:
        """A copy with a score, the classes' distributions where it needs them, and a limit.

        Raises:
            RecipeError: the score is to be chosen and there are no texts of another kind, or too few examples.
        """
        if self.score == "auto" and not material.outside.examples:
            raise RecipeError(
                "No score can be chosen without texts of another kind.",
                where="out_of_distribution.score",
                to_do="Give --outside FILE, or name a score: mahalanobis, energy or max_softmax.",
            )
        tried = self._with_gaussians(material)
        chosen: Score = self.score if self.score != "auto" else max(SCORES, key=lambda one: tried._auroc(one, material))
        kept = tried if chosen == "mahalanobis" else replace(tried, gaussians=None)
        limit = alarm_limit(tried.scores(chosen, material.held_out), self.alarm_rate)
        return replace(kept, score=chosen, limit=limit)

    def _with_gaussians(self, material: Material) -> OutOfDistribution:
        if self.score not in ("auto", "mahalanobis"):
            return self
        learnt = material.learnt
        classes = [str(e.label) if isinstance(e.label, str) else "" for e in learnt.examples]
        return replace(self, gaussians=Gaussians.of(_vectors(learnt), classes))

    def _auroc(self, score: Score, material: Material) -> float:
        return auroc(self.scores(score, material.held_out), self.scores(score, material.outside))

    def figures(self, material: Material) -> Mapping[str, float]:
        """AUROC and FPR95 of each score against the texts of another kind; the chosen one's limit."""
        shown: dict[str, float] = {"limit": self.limit or math.nan}
        if not material.outside.examples:
            return shown
        tried = self if self.gaussians is not None else replace(self, score="auto")._with_gaussians(material)
        for score in SCORES:
            try:
                inside, outside = tried.scores(score, material.held_out), tried.scores(score, material.outside)
            except RecipeError:  # the evidence for this score was not asked for
                continue
            shown |= {f"{score} AUROC": auroc(inside, outside), f"{score} FPR95": fpr_at(inside, outside)}
        return shown


def _vectors(seen: Seen) -> NDArray[np.float64]:
    return np.array([one.vector for one in seen.evidence], dtype=np.float64)


def _plain(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """A matrix as numbers of seven digits, which a JSON file holds as they are."""
    return tuple(tuple(float(f"{value:.7g}") for value in row) for row in matrix)


def _lacking(score: str, what: str) -> RecipeError:
    return RecipeError(
        f"The score {score} needs the {what} of each text, and there is none.",
        where="out_of_distribution",
        to_do="Ask guards with the evidence that they need (Guards.needs), or choose max_softmax.",
    )
