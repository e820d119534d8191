"""Which texts to have labelled next by what a trained model makes of them, and their answers when they come back."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tunesmith.data.annotations import answered_rows
from tunesmith.data.duplicates import text_key
from tunesmith.data.files import Place, read_lines
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, RecipeError, nearest
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.vectors import vectors_of
from tunesmith.selection import Need, Pool, QueryStrategy
from tunesmith.writing import written

DRAWS = 10
"""Passes with dropout where a strategy asks how far the model disagrees with itself."""


@dataclass(frozen=True)
class Asked:
    """The texts to label, the most wanted first, with the model's answers; `known` texts of the pool were left out.

    `label_kind` is the form of these answers, `wanted` how many texts were asked for.
    """

    examples: tuple[Example, ...]
    predictions: tuple[Prediction, ...]
    known: int
    label_kind: str
    wanted: int


def next_batch(
    predictor: Predictor,
    texts: Sequence[Example],
    labelled: Sequence[Example],
    strategy: QueryStrategy,
    *,
    size: int,
    seed: int,
) -> Asked:
    """Choose texts of a pool; those that are labelled already, and copies within the pool, are left out.

    Raises:
        RecipeError: the strategy needs what this task's model does not give.
        DataError: no text is left.
    """
    seen = {text_key(example.content) for example in labelled}
    fresh = []
    for example in texts:
        key = text_key(example.content)
        if key not in seen:
            seen.add(key)
            fresh.append(example)
    if not fresh:
        raise DataError("Every text of the pool is labelled already.", to_do="Give a pool with new texts.")
    random = np.random.default_rng(seed)
    places = strategy.choose(pool_of(predictor, fresh, labelled, strategy.needs, seed), size, random)
    chosen = [fresh[place] for place in places]
    kind, known = predictor.task.label_kind, len(texts) - len(fresh)
    return Asked(tuple(chosen), tuple(predictor.predict(chosen)), known, kind, size)


def pool_of(
    predictor: Predictor, texts: Sequence[Example], labelled: Sequence[Example], needs: frozenset[Need], seed: int
) -> Pool:
    """What a strategy needs to know of texts.

    Raises:
        RecipeError: the task's answers have no probabilities, or the model no body that gives vectors, or no dropout.
    """
    wants_labelled = "labelled" in needs
    vectors = "vectors" in needs
    return Pool(
        len(texts),
        chances_of(predictor, texts) if "probabilities" in needs else np.zeros((0, 0)),
        drawn_chances(predictor, texts, seed) if "draws" in needs else np.zeros((0, 0, 0)),
        _vectors_of(predictor, texts) if vectors else np.zeros((0, 0)),
        _vectors_of(predictor, labelled) if vectors and wants_labelled and len(labelled) else np.zeros((0, 0)),
        chances_of(predictor, labelled) if wants_labelled and len(labelled) else np.zeros((0, 0)),
    )


def _vectors_of(predictor: Predictor, examples: Sequence[Example]) -> NDArray[np.float64]:
    return vectors_of(predictor, examples, where="--strategy", to_do="Use --strategy margin or random.")


def chances_of(predictor: Predictor, examples: Sequence[Example]) -> NDArray[np.float64]:
    """The probability of each class [N, C]; else two columns [N, 2], the more even the less sure the answer is.

    What counts is for spans the least sure word, for several labels the least sure one, for answers the best of them.

    Raises:
        RecipeError: the task's answers have no probabilities.
    """
    return _rows(predictor.predict(examples), predictor)


def _rows(predictions: Sequence[Prediction], predictor: Predictor) -> NDArray[np.float64]:
    labels, kind = predictor.task.labels, predictor.task.label_kind
    if kind == "class":
        return np.array([[one.scores[label] for label in labels] for one in predictions]).reshape(-1, len(labels))
    if kind in ("spans", "classes", "answers"):
        # 0 becomes an even row and 1 a sure one, so that margin, entropy and least confidence have the same order
        sure = np.array([_sureness(one, kind) for one in predictions])
        return np.stack([(1 + sure) / 2, (1 - sure) / 2], axis=1)
    raise RecipeError(
        "This task's answers have no probabilities to choose texts by.",
        where="--strategy",
        to_do="Use --strategy random or coreset.",
    )


def _sureness(prediction: Prediction, kind: str) -> float:
    """How sure an answer is, in [0, 1]; 1 for a text without words, of which there is nothing to ask.

    A label of several is as sure as it is likelier in than out, or out than in (Brinker 2006, sec. 3).
    """
    if kind == "classes":
        return min((abs(2 * chance - 1) for chance in prediction.scores.values()), default=1.0)
    sure = prediction.word_confidence.get("least", prediction.confidence)
    return 1.0 if math.isnan(sure) else sure


def drawn_chances(predictor: Predictor, examples: Sequence[Example], seed: int) -> NDArray[np.float64]:
    """Class probabilities of passes with dropout [T, N, C] (Gal and Ghahramani 2016).

    Raises:
        RecipeError: the model has no dropout.
    """
    layers = [module for module in predictor.model.modules() if isinstance(module, nn.Dropout) and module.p > 0]
    if not layers:
        raise RecipeError("This model has no dropout, so that its draws are all alike.", where="--strategy")
    encoded = predictor.encode(examples)
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(DRAWS):
            handles = [layer.register_forward_pre_hook(_dropping) for layer in layers]
            try:
                logits = predictor.logits(encoded)
            finally:
                for handle in handles:
                    handle.remove()
                for layer in layers:
                    layer.training = False
            found.append(_rows(predictor.decode(examples, encoded, logits), predictor))
    return np.stack(found)


def _dropping(layer: nn.Module, _inputs: object) -> None:
    layer.training = True


@dataclass(frozen=True)
class Added:
    """How many answered rows were added to a file, and how many left out, since their text stands there already.

    Attributes:
        labels: how often each label occurs in the added rows.
    """

    rows: int
    known: int
    labels: Mapping[str, int]


def add_answers(answered: Path, labelled: Path, *, new_labels: bool = False) -> Added:
    """Add answered rows to a file of labelled ones (JSON lines), which appears whole or stays as it was.

    Raises:
        DataError: no row is answered, a file cannot be read, or a label is new to the file and `new_labels` is not set.
    """
    before = list(read_lines(Place.of(str(labelled)), "utf-8")) if labelled.is_file() else []
    try:
        told = [json.loads(line) for line in before if line.strip()]
        seen = {text_key(_content(row)) for row in told}
    except json.JSONDecodeError as error:
        raise DataError(
            "The labelled file is not JSON lines.", where=str(labelled), to_do="Name a .jsonl file in --to."
        ) from error
    rows = list(answered_rows(answered))
    if not rows:
        raise DataError(
            "No row is answered.",
            where=str(answered),
            to_do='Remove "suggested" from the rows that are right, after correcting their label.',
        )
    new = []
    for row in rows:
        key = text_key(_content(row))
        if key not in seen:
            seen.add(key)
            new.append(row)
    if told and not new_labels:
        _see_labels(new, {label for row in told for label in _labels(row)}, answered)
    with written(labelled) as file:
        file.writelines(line if line.endswith("\n") else line + "\n" for line in before if line.strip())
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in new)
    return Added(len(new), len(rows) - len(new), Counter(label for row in new for label in _labels(row)))


def _labels(row: object) -> list[str]:
    """The labels of a row: of its text, or of its spans."""
    if not isinstance(row, dict):
        return []
    label, spans = row.get("label"), row.get("spans")
    held = label if isinstance(label, list) else [] if label is None or isinstance(label, float) else [label]
    return [str(one) for one in held] + [str(one.get("label", "")) for one in spans or () if isinstance(one, dict)]


def _see_labels(rows: Sequence[dict[str, object]], known: Set[str], answered: Path) -> None:
    """See that the rows have known labels alone: one that is misspelt would become a class of its own.

    Raises:
        DataError: one has another.
    """
    for row in rows:
        for label in _labels(row):
            if known and label not in known:
                raise DataError(
                    f"No text so far has the label '{label}'.{nearest(label, known)}",
                    where=f"{answered}, text {row.get('id', '')}",
                    to_do="Correct it, or give --new-labels if it is one.",
                )


def _content(row: object) -> str:
    return (
        "\n".join(str(row[name]) for name in ("text", "second", "question") if row.get(name))
        if isinstance(row, dict)
        else ""
    )
