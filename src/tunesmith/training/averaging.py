"""Averages of the weights over the steps of a run, which are validated, saved and served in the place of the last ones.

An average lies beside the weights that the optimiser moves and never touches them, so that a run with one learns the
same as a run without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tunesmith.errors import RecipeError


class Averaging(Protocol):
    """How much the weights of each step count in the average."""

    def first(self, total: int) -> int | None:
        """The first step (from 1, of `total`) whose weights are averaged with earlier ones; None for never."""

    def share(self, step: int, total: int) -> float:
        """The share of the weights after step `step` in the average, which has the rest; 1 puts them in its place."""


@dataclass(frozen=True)
class NoAveraging:
    """Keep the weights as the optimiser leaves them."""

    def first(self, total: int) -> int | None:
        """Never."""
        return None

    def share(self, step: int, total: int) -> float:
        """All of it."""
        return 1.0


@dataclass(frozen=True)
class EMA:
    """Average all steps, recent ones more: a = d * a + (1 - d) * w after each step (Polyak and Juditsky 1992, for SGD).

    The average begins at the weights before the first step, and d rises to `decay` as min(decay, (1 + t) / (10 + t)) at
    step t (the moving averages of TensorFlow), so that a run of some hundred steps is not held at its start. A decay of
    0.999 looks back about 1,000 steps, which should be well below the number of all. Low-rank factors are averaged each
    by itself, as they belong to one run.

    Needs: weights that learn. Costs a copy of these.

    Attributes:
        decay: the share that the average keeps at each step once it is warm, above 0 and below 1.
        warmup: whether the decay rises from below.
    """

    decay: float = 0.999
    warmup: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise RecipeError(
                "decay must lie above 0 and below 1.",
                where="averaging.decay",
                to_do="0.99 fits some hundreds of steps, 0.999 some thousands.",
            )

    def first(self, total: int) -> int | None:
        """From the first step on."""
        return 1

    def share(self, step: int, total: int) -> float:
        """1 - d."""
        return 1 - (min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay)


@dataclass(frozen=True)
class SWA:
    """Take the mean of the weights after each of the last steps (Izmailov et al. 2018, algorithm 1, with c = 1).

    Before that the weights are taken as they are. The paper's learning rate stays high while it averages: with
    training.schedule: constant the mean covers more than with a rate that falls to zero. The models here have no batch
    norms, whose statistics the paper computes anew.

    Needs: weights that learn. Costs a copy of these.

    Attributes:
        start: the share of the steps after which averaging begins, at least 0 and below 1.
    """

    start: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise RecipeError("start must be at least 0 and below 1.", where="averaging.start", to_do="0.75 is usual.")

    def first(self, total: int) -> int | None:
        """The step after the share `start` of all."""
        return int(self.start * total) + 1

    def share(self, step: int, total: int) -> float:
        """1 / n for the n-th weights that are averaged."""
        return 1 / max(1, step - int(self.start * total))


AVERAGINGS: dict[str, type[Averaging]] = {"none": NoAveraging, "ema": EMA, "swa": SWA}


class Average:
    """The average of the learning weights of one run, in float32.

    Attributes:
        weights: the averaged weights by name; the learning weights themselves where none are averaged.
        first: the first step that is averaged, or None.
    """

    def __init__(self, averaging: Averaging, learning: Mapping[str, Tensor], total: int) -> None:
        self.first = averaging.first(total)
        self._averaging = averaging
        self._learning = learning
        self._total = total
        self.weights = learning if self.first is None else {n: w.detach().clone() for n, w in learning.items()}

    def update(self, step: int) -> None:
        """Take in the weights as they are after step `step`, from 1."""
        if self.first is None:
            return
        share = self._averaging.share(step, self._total)
        with torch.no_grad():
            for name, weight in self._learning.items():
                self.weights[name].lerp_(weight.detach(), share)

    def state(self) -> dict[str, Tensor] | None:
        """What a checkpoint must keep besides the weights; None for nothing."""
        return None if self.first is None else dict(self.weights)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The average in the place of the learning weights for the time of the block."""
        if self.first is None:
            yield
            return
        kept = {name: weight.detach().clone() for name, weight in self._learning.items()}
        self.put()
        try:
            yield
        finally:
            _copy(kept, self._learning)

    def put(self) -> None:
        """Put the average in the place of the learning weights for good."""
        if self.first is not None:
            _copy(self.weights, self._learning)


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, weight in target.items():
            weight.copy_(source[name])
