"""From one score per class to an answer, and the temperature that makes its probabilities honest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring.calibration import fit_temperature
from tunesmith.tasks.encoding import Encoded
from tunesmith.tasks.label_rules import Rules


def likeliest(example: Example, labels: Sequence[str], scores: Tensor) -> Prediction:
    """The class with the highest of the scores [C], which are divided by the temperature already, and all chances."""
    chances = dict(zip(labels, scores.softmax(-1).tolist(), strict=True))
    best = max(chances, key=chances.__getitem__)
    return Prediction(example.id, best, chances[best], chances)


def yes_or_no(example: Example, labels: tuple[str, str], yes: float, threshold: float) -> Prediction:
    """The second of two classes where its probability reaches the threshold, else the first."""
    scores = {labels[0]: 1 - yes, labels[1]: yes}
    best = labels[1] if yes >= threshold else labels[0]
    return Prediction(example.id, best, scores[best], scores)


def several(example: Example, labels: Sequence[str], scores: Tensor, threshold: float, rules: Rules) -> Prediction:
    """The labels whose probability reaches the threshold, of scores [C]; with rules the likeliest set they allow."""
    chances = dict(zip(labels, scores.sigmoid().tolist(), strict=True))
    if rules.rules:
        chosen, sure = rules.best(scores, math.log(threshold / (1 - threshold)))
        kept = tuple(label for label, is_in in zip(labels, chosen.tolist(), strict=True) if is_in)
        return Prediction(example.id, kept, sure, chances)
    given = tuple(label for label in labels if chances[label] >= threshold)
    sure = math.prod(p if p >= threshold else 1 - p for p in chances.values())
    return Prediction(example.id, given, sure, chances)


def fitted_temperature(encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> float:
    """The temperature that fits the examples with a target (Guo et al. 2017, sec. 4.2); 1 where none has one.

    `logits` holds a row [C] for each example; a target is a class's number, or [C] zeros and ones.
    """
    pairs = [(item.target, row) for item, row in zip(encoded, logits, strict=True) if item.target is not None]
    if not pairs:
        return 1.0
    rows = torch.stack([row for _, row in pairs]).numpy().astype(np.float64)
    return fit_temperature(rows, np.stack([target for target, _ in pairs]).astype(np.int64))
