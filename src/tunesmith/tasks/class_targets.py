"""What is learnt of an example's classes: how much each counts, and their probabilities where these are uncertain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.data.records import Example
from tunesmith.errors import LabelError, RecipeError, nearest
from tunesmith.tasks.encoding import Encoded

Chances = NDArray[np.float64]


def class_weights(
    given: Literal["balanced"] | Mapping[str, float] | None,
    labels: Sequence[str],
    counts: Mapping[str, int],
    size: int,
    *,
    several: bool,
) -> dict[str, float] | None:
    """The weight of each label: as given, or inverse to how many of `size` examples have it; None for none.

    Raises:
        RecipeError: a weight is given for a label that there is not.
    """
    if given is None:
        return None
    if given == "balanced":
        # For several labels the weight is negatives per positive, as pos_weight wants it.
        if several:
            return {label: (size - counts[label]) / max(counts[label], 1) for label in labels}
        return {label: size / (len(labels) * max(counts[label], 1)) for label in labels}
    for label in given:
        if label not in labels:
            raise RecipeError(
                f"class_weights names the unknown label '{label}'.{nearest(label, labels)}",
                where="task.class_weights",
            )
    return {label: given.get(label, 1.0) for label in labels}


def possible_labels(examples: Iterable[Example]) -> set[str]:
    """All that is said to be possible in the chances of examples."""
    every = (chances for example in examples for chances in example.chances)
    return {label for chances in every for label, chance in chances.items() if chance > 0}


def possible_types(examples: Iterable[Example]) -> set[str]:
    """The entity types of the tags that are said to be possible."""
    return {tag[2:] for tag in possible_labels(examples) if tag[:2] in ("B-", "I-")}


def chance_row(chances: Mapping[str, float], labels: Sequence[str], example: Example) -> Chances:
    """The chances [C] of the task's labels.

    Raises:
        LabelError: one that is possible is not among these.
    """
    for label, chance in chances.items():
        if label not in labels and chance > 0:
            raise LabelError(
                f"The chances name the unknown label '{label}'.{nearest(label, labels)}",
                where=example.origin or example.id,
                to_do=f"Known labels: {', '.join(labels[:8])}. Correct the row or add the label to task.labels.",
            )
    return np.array([chances.get(label, 0.0) for label in labels])


def tag_chances(
    example: Example, units: Sequence[tuple[int, int]], kept: Iterable[tuple[int, int]], tags: Sequence[str]
) -> Chances:
    """The chances [U, K] of the tags of the units that are kept.

    Raises:
        LabelError: there are not as many chances as words, or one names a tag that the task has not.
    """
    if len(example.chances) != len(units):
        raise LabelError(
            f"The row has {len(example.chances)} chances for {len(units)} words.",
            where=example.origin or example.id,
            to_do="Give one object per word (per character of Chinese running text) in data.chances.",
        )
    rows = dict(zip(units, example.chances, strict=True))
    return np.array([chance_row(rows[unit], tags, example) for unit in kept]).reshape(-1, len(tags))


def padded_rows(rows: Sequence[Chances]) -> Tensor:
    """Chances [U, K] of unequal length, stacked and filled up with zeros: [rows, longest, K]."""
    table = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), dtype=np.float32)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return torch.from_numpy(table)


def total_weight(encoded: Sequence[Encoded]) -> float:
    """The labels that a loss averages over, each times its example's weight: one per text."""
    return float(sum(item.weight for item in encoded))


def likeliest_classes(targets: Tensor, size: int) -> Tensor:
    """The class of each of `size` examples [E], of uncertain ones the likeliest."""
    if not targets.is_floating_point():
        return targets.view(size)
    return targets.argmax(-1) if targets.ndim == 2 and targets.shape[1] > 1 else targets.view(size).round()
