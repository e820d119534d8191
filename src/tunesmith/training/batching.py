"""Which examples a training step sees: a pure function of the seed and the step's number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.tasks.batches import cut
from tunesmith.tasks.encoding import Encoded

POOL = 64
"""Steps whose examples are sorted by length together: enough to leave little padding, few enough to stay random."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One optimiser step: its number from 0, its epoch from 0, and the examples of each micro-batch."""

    number: int
    epoch: int
    micro_batches: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class StepPlan:
    """All steps of a training run.

    A step sees `batch_size * accumulate` examples; it is cut into micro-batches of at most `batch_size` examples and
    `max_tokens` tokens. How a step is cut changes memory, not the result, unless the task's loss compares the examples
    of a micro-batch with each other.

    With `by_length` examples of like length share a step, which leaves little padding. Pairs that are made of a few
    texts are better mixed: those of like length are pairs of one text.

    With `members`, the examples' places by subgroup, an epoch shows as many examples of each subgroup as of any other:
    those of a small one several times, a part of a large one, the examples of each in turn.
    """

    encoded: Sequence[Encoded]
    epochs: int
    batch_size: int
    accumulate: int
    max_tokens: int
    seed: int
    by_length: bool = True
    members: Sequence[Sequence[int]] = ()

    @property
    def step_size(self) -> int:
        """Examples per step."""
        return self.batch_size * self.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the examples."""
        return math.ceil(len(self.encoded) / self.step_size)

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.epochs

    def steps(self, start: int = 0) -> Iterator[PlannedStep]:
        """The steps from number `start` on."""
        for epoch in range(start // self.steps_per_epoch, self.epochs):
            for index, examples in enumerate(self._epoch(epoch)):
                number = epoch * self.steps_per_epoch + index
                if number >= start:
                    micro = cut(examples, self.encoded, max_examples=self.batch_size, max_tokens=self.max_tokens)
                    yield PlannedStep(number, epoch, tuple(tuple(batch) for batch in micro))

    def _epoch(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self.seed, epoch])
        order = self._balanced(random) if self.members else random.permutation(len(self.encoded)).tolist()
        steps: list[list[int]] = []
        for start in range(0, len(order), POOL * self.step_size):
            pool = order[start : start + POOL * self.step_size]
            if self.by_length:
                pool.sort(key=lambda index: self.encoded[index].longest)
            steps += [pool[first : first + self.step_size] for first in range(0, len(pool), self.step_size)]
        # The short step that is left over comes last; the others are shuffled so that lengths do not rise and fall.
        short = [step for step in steps if len(step) < self.step_size]
        full = [step for step in steps if len(step) == self.step_size]
        random.shuffle(full)
        return full + short

    def _balanced(self, random: np.random.Generator) -> list[int]:
        size, groups = len(self.encoded), len(self.members)
        order: list[int] = []
        for number, members in enumerate(self.members):
            wanted = size // groups + (number < size % groups)
            rounds = [random.permutation(members) for _ in range(math.ceil(wanted / len(members)))]
            order += np.concatenate(rounds)[:wanted].tolist()
        return [order[place] for place in random.permutation(size)]
