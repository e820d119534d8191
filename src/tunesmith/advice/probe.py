"""A probe: frozen embeddings of a sample and logistic regressions out of fold, which show in minutes what ails data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example
from tunesmith.evaluation.intervals import Estimate, interval_of
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.vectors import vectors_of
from tunesmith.models.model import Model
from tunesmith.preparation import Prepared
from tunesmith.scoring.answers import class_of
from tunesmith.tasks.encoding import Encoded
from tunesmith.tasks.logistic_head import fit_logistic

TEXTS, TOKENS = 1600, 40_000
"""The most training texts of the sample, and the most tokens of these; of validation a quarter of both."""

FOLDS = 5
PENALTY = 0.3
"""Of the regressions, on vectors of length 1."""

HALVINGS = 5
"""Points of the learning curve: all that four folds have, half of it, and so on."""

Vectors = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """The probe's error against the number of examples, and the power law a * n^-b through it.

    Attributes:
        sizes: examples to learn from.
        errors: shares of wrong answers out of fold.
        exponent: b, with its interval over examples.
        doubling: by how much the error would fall with twice the labels that the recipe has, in [0, 1].
    """

    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    exponent: Estimate
    doubling: Estimate


@dataclass(frozen=True)
class Probe:
    """A sample of the training examples as a frozen model sees it.

    Attributes:
        examples, given: the sample and the numbers of its labels among `labels`.
        vectors: of length 1 [N, H].
        chances: of each class [N, C], by regressions that learnt from the other folds; copies share a fold.
        folds: the fold of each.
        held, held_given, held_vectors: the same of validation; empty without one.
        embed: texts -> vectors of length 1, by the same model.
        curve: how the error falls with more labels.
    """

    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    given: Numbers
    vectors: Vectors
    chances: NDArray[np.float64]
    folds: Numbers
    held: tuple[Example, ...]
    held_given: Numbers
    held_vectors: Vectors
    embed: Callable[[Sequence[Example]], Vectors]
    curve: Curve

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which answers out of fold are those given."""
        return np.asarray(self.chances.argmax(axis=1) == self.given)

    def answers(self, vectors: Vectors, given: Numbers, asked: Vectors) -> Numbers:
        """The likeliest classes of asked vectors, by a regression that learnt from the others."""
        return np.asarray(chances_from(vectors, given, asked, len(self.labels)).argmax(axis=1))


@dataclass(frozen=True)
class Pace:
    """Seconds of a forward pass per token, measured on parts of the sample: the mean and the extremes."""

    seconds: Estimate


def why_none(prepared: Prepared) -> str:
    """Why a project has no probe; empty where it can have one."""
    task, train = prepared.task, prepared.splits.train
    if task.label_kind != "class":
        return "the probe is for labels that are one class"
    if task.body != "encoder":
        return "the probe needs a model that gives vectors of texts (an encoder)"
    if any(example.second or example.media or example.turns for example in train[:100]):
        return "the probe reads single texts"
    if len(train) < 4 * FOLDS or len({class_of(example) for example in train}) < 2:
        return "there are too few training examples for a probe"
    return ""


def make_probe(prepared: Prepared, seed: int) -> tuple[Probe, Pace]:
    """Embed a sample and learn from it, within minutes on two cores whatever the recipe's size."""
    splits = prepared.splits
    labels = tuple(sorted({class_of(example) for example in splits.train}))
    number = {label: place for place, label in enumerate(labels)}
    predictor = Predictor(Model(prepared.backbone, prepared.task), prepared.task, prepared.encoder)
    embed = embedder(predictor)
    chosen = sample(splits.train, prepared.encoded["train"], seed, TEXTS, TOKENS)
    examples = tuple(splits.train[place] for place in chosen)
    vectors, pace = _timed(embed, examples, [prepared.encoded["train"][place].tokens for place in chosen])
    given = _numbers(examples, number)
    folds = np.array([text_key(example.content) % FOLDS for example in examples], dtype=np.int64)
    asked = [place for place, one in enumerate(splits.validation) if class_of(one) in number]
    encoded = [prepared.encoded["validation"][place] for place in asked]
    held = tuple(splits.validation[asked[place]] for place in sample(asked, encoded, seed, TEXTS // 4, TOKENS // 4))
    size = len(labels)
    chances = out_of_fold(vectors, given, folds, size)
    curve = learning_curve(vectors, given, folds, size, len(splits.train))
    return Probe(
        labels,
        examples,
        given,
        vectors,
        chances,
        folds,
        held,
        _numbers(held, number),
        embed(held) if held else vectors[:0],
        embed,
        curve,
    ), pace


def embedder(predictor: Predictor) -> Callable[[Sequence[Example]], Vectors]:
    """Examples -> vectors of length 1."""

    def embed(examples: Sequence[Example]) -> Vectors:
        found = vectors_of(predictor, examples)
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))

    return embed


def out_of_fold(vectors: Vectors, given: Numbers, folds: Numbers, classes: int) -> NDArray[np.float64]:
    """Class probabilities [N, C] of each vector, by a regression of the other folds."""
    chances = np.zeros((len(vectors), classes))
    for fold in np.unique(folds):
        rest = folds != fold
        chances[~rest] = chances_from(vectors[rest], given[rest], vectors[~rest], classes)
    return chances


def sample(examples: Sequence[object], encoded: Sequence[Encoded], seed: int, texts: int, tokens: int) -> list[int]:
    """Places drawn by the seed until either budget is spent."""
    order = np.random.default_rng([seed, len(examples)]).permutation(len(examples))[:texts]
    spent = np.cumsum([encoded[place].tokens for place in order])
    return sorted(int(place) for place in order[: max(1, int((spent <= tokens).sum()))]) if len(order) else []


def chances_from(vectors: Vectors, given: Numbers, asked: Vectors, classes: int) -> NDArray[np.float64]:
    """Class probabilities [A, C] of asked vectors, by a logistic regression of the others."""
    weight, bias = fit_logistic(torch.from_numpy(vectors), torch.from_numpy(given), classes, PENALTY)
    logits = torch.from_numpy(asked) @ weight.T + bias
    return np.asarray(torch.softmax(logits, dim=1).numpy())


def learning_curve(vectors: Vectors, given: Numbers, folds: Numbers, classes: int, total: int) -> Curve:
    """Errors out of fold when learning from ever fewer examples, and the power law through them.

    The law is fitted by least squares on logarithms (Cortes et al. 1994, sec. 2, without an asymptote); its interval is
    over resampled examples.
    """
    learning = len(given) * (FOLDS - 1) // FOLDS
    sizes = [learning >> step for step in range(HALVINGS) if learning >> step >= max(16, 2 * classes)] or [learning]
    wrong = np.zeros((len(sizes), len(given)))
    order = np.random.default_rng(0).permutation(len(given))
    for fold in np.unique(folds):
        rest = order[folds[order] != fold]
        asked = np.flatnonzero(folds == fold)
        for row, size in enumerate(sizes):
            part = rest[:size]
            wrong[row, asked] = (
                chances_from(vectors[part], given[part], vectors[asked], classes).argmax(1) != given[asked]
            )
    resampled = np.random.default_rng(1).integers(len(given), size=(500, len(given)))
    drawn = np.array([_law(sizes, wrong[:, indices].mean(axis=1), total) for indices in resampled])
    exponent, doubling = _law(sizes, wrong.mean(axis=1), total)
    return Curve(
        tuple(sizes),
        tuple(float(value) for value in wrong.mean(axis=1)),
        interval_of(exponent, drawn[:, 0], 0.95),
        interval_of(doubling, drawn[:, 1], 0.95),
    )


def _law(sizes: Sequence[int], errors: NDArray[np.float64], total: int) -> tuple[float, float]:
    """The exponent b, and the fall of the error from `total` examples to twice as many."""
    if len(sizes) < 2:
        return float("nan"), float("nan")
    slope, level = np.polyfit(np.log(sizes), np.log(np.maximum(errors, 1e-4)), 1)
    now = float(np.exp(level + slope * np.log(total)))
    return float(-slope), now - now * float(2**slope)


def _timed(
    embed: Callable[[Sequence[Example]], Vectors], examples: Sequence[Example], tokens: Sequence[int]
) -> tuple[Vectors, Pace]:
    """The vectors, made in four parts whose speeds are compared."""
    found, rates = [], []
    for part in np.array_split(np.arange(len(examples)), 4):
        began = time.monotonic()
        found.append(embed([examples[place] for place in part]))
        rates.append((time.monotonic() - began) / max(1, sum(tokens[place] for place in part)))
    return np.concatenate(found), Pace(Estimate(float(np.mean(rates)), min(rates), max(rates)))


def _numbers(examples: Sequence[Example], number: dict[str, int]) -> Numbers:
    return np.array([number[class_of(example)] for example in examples], dtype=np.int64)
