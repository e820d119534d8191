"""Texts without labels as a training step sees them: which ones, and changed copies of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.augmentation import Augmenter, Learning
from tunesmith.data.records import Example
from tunesmith.tasks.encoding import TextEncoder

_ORDER = 7
"""Tells the order of these texts from that of the labelled ones, which comes from the same seed."""


@dataclass(frozen=True)
class Texts:
    """Texts without labels beside the steps of a run.

    Attributes:
        examples: the texts.
        augmenters: those of the recipe.
        labelled: the labelled training examples, of which some augmenters must know.
        encoder: the tokenizer with its window.
        step_size: labelled examples per step.
        batch_size, max_tokens: limits of a micro-batch.
        seed: the source of all randomness.
    """

    examples: Sequence[Example]
    augmenters: tuple[Augmenter, ...]
    labelled: Sequence[Example]
    encoder: TextEncoder
    step_size: int
    batch_size: int
    max_tokens: int
    seed: int

    def of_step(self, step: int, size: int) -> list[tuple[int, Example]]:
        """The `size` texts of a step, each with the number of its pass: they are gone through in ever new orders."""
        found: list[tuple[int, Example]] = []
        place, end = step * size, (step + 1) * size
        while place < end:
            number, within = divmod(place, len(self.examples))
            order = np.random.default_rng([self.seed, _ORDER, number]).permutation(len(self.examples))
            chosen = order[within : within + end - place].tolist()
            found += [(number, self.examples[one]) for one in chosen]
            place += len(chosen)
        return found

    def fitted(self, augmenters: Sequence[Augmenter]) -> tuple[Augmenter, ...]:
        """The augmenters, those that must know the labelled examples fitted to them."""
        return tuple(one.fitted(self.labelled) if isinstance(one, Learning) else one for one in augmenters)


def changed(example: Example, augmenters: Sequence[Augmenter], key: str) -> Example:
    """The example as the first of the augmenters, in an order drawn by `key`, changes it; as it is where none does."""
    rng = random.Random(key)
    for augmenter in rng.sample(list(augmenters), len(augmenters)):
        found = augmenter.augment(example, rng)
        if found is not None:
            return found
    return example
