"""What guards must be told, asked of the models: the one module here that computes with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.vectors import logits_and_vectors
from tunesmith.tasks import Distributing
from tunesmith.tasks.encoding import Encoded


def answered(
    predictor: Predictor, examples: Sequence[Example], needs: frozenset[Need]
) -> tuple[list[Prediction], list[Evidence]]:
    """The model's answers, and the evidence that came out of the same pass.

    Raises:
        RecipeError: the model gives no vectors, or its task no logits of classes.
    """
    encoded = predictor.encode(examples)
    told = [Evidence(tokens=tokens_of(one)) for one in encoded]
    if "vector" in needs:
        logits, vectors = logits_and_vectors(predictor, encoded)
        rows = (tuple(row.tolist()) for row in vectors.astype(np.float32))
        told = [replace(one, vector=row) for one, row in zip(told, rows, strict=True)]
    else:
        logits = predictor.logits(encoded)
    if "energy" in needs:
        told = [replace(one, energy=value) for one, value in zip(told, _energies(predictor, logits), strict=True)]
    return predictor.decode(examples, encoded, logits), told


def tokens_of(encoded: Encoded) -> int:
    """The tokens of an example, those that two windows share counted once, and those that were cut off too."""
    return sum(len(piece.input_ids) for piece in encoded.pieces) - encoded.repeated + encoded.dropped


def _energies(predictor: Predictor, logits: Sequence[torch.Tensor]) -> list[float]:
    """Minus the log of the summed exponentials of each text's class logits (Liu et al. 2020, eq. 4).

    Of several models that answer as one, it is the mean.
    """
    task = predictor.task
    if not isinstance(task, Distributing) or task.label_kind != "class":
        raise RecipeError(
            "Only a task with one class per text has an energy.",
            where="out_of_distribution.score",
            to_do="Use score: mahalanobis or max_softmax.",
        )
    scores = (task.class_logits(row.float()) for row in logits)
    return [float(-_centred(row).logsumexp(dim=-1).mean()) for row in scores]


def _centred(scores: torch.Tensor) -> torch.Tensor:
    """Two classes' logits around zero: with "no" fixed at zero, a sure "no" would have the energy of an unsure text."""
    return scores - scores.mean(dim=-1, keepdim=True) if scores.shape[-1] == 2 else scores


@dataclass(frozen=True)
class Guarded:
    """A predictor behind guards, with the further models that these ask."""

    predictor: Predictor
    guards: Guards
    further: Mapping[str, Predictor]

    @classmethod
    def of(cls, predictor: Predictor, guards: Guards) -> Self:
        """Load the further models.

        Raises:
            ArtifactError: one cannot be loaded.
        """
        return cls(predictor, guards, {folder: Predictor.load(Path(folder)) for folder in guards.models})

    def predict(self, examples: Sequence[Example]) -> list[After]:
        """The answer, or the objection, for each example, in the order given."""
        found: list[After | None] = []
        asked: list[Example] = []
        for one in self.before(examples):
            found.append(one if isinstance(one, Verdict) else None)
            if not isinstance(one, Verdict):
                asked.append(one)
        answers = iter(self.answer(asked)) if asked else iter(())
        return [next(answers) if one is None else one for one in found]

    def before(self, examples: Sequence[Example]) -> list[Before]:
        """What the guards say before the model is asked."""
        tokens = [0] * len(examples)
        if "tokens" in self.guards.needs:
            tokens = [tokens_of(one) for one in self.predictor.encode(examples)]
        others = self._others("before", examples)
        told = [Evidence(tokens=count, answers=row) for count, row in zip(tokens, others, strict=True)]
        return self.guards.before_many(examples, told)

    def answer(self, examples: Sequence[Example]) -> list[After]:
        """Ask the model, and the guards what they say of its answers."""
        predictions, told = answered(self.predictor, examples, self.guards.needs)
        others = self._others("after", written(examples, predictions))
        told = [replace(one, answers=row) for one, row in zip(told, others, strict=True)]
        return self.guards.after_many(examples, predictions, told)

    def _others(self, moment: str, examples: Sequence[Example]) -> list[dict[str, Prediction]]:
        """By example the answers of the further models that are asked at that moment."""
        rows: list[dict[str, Prediction]] = [{} for _ in examples]
        for folder, moments in self.guards.models.items():
            if moment in moments and examples:
                plain = [Example(one.id, one.text) for one in examples]
                for row, answer in zip(rows, self.further[folder].predict(plain), strict=True):
                    row[folder] = answer
        return rows


def written(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Example]:
    """The answers as texts to be judged; where an answer is no text, the example."""
    return [
        replace(one, text=answer.label) if isinstance(answer.label, str) else one
        for one, answer in zip(examples, predictions, strict=True)
    ]
