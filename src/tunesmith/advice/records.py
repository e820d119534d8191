"""What advice consists of: what was looked at, what was measured of it, and what might help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.advice.probe import Pace, Probe
from tunesmith.data.records import Example
from tunesmith.evaluation.intervals import Estimate, draws, interval_of
from tunesmith.experiment import Experiment
from tunesmith.preparation import Prepared

Basis = Literal["measured here", "this project's pages", "literature", "reasoning"]
"""Where the evidence of a remedy comes from, the strongest first."""

BASES: tuple[Basis, ...] = ("measured here", "this project's pages", "literature", "reasoning")


@dataclass(frozen=True)
class Project:
    """What is looked at: the recipe, its data and model as prepared, and a probe with its speed, or why it has none."""

    experiment: Experiment
    prepared: Prepared
    probe: Probe | None = None
    pace: Pace | None = None
    without_probe: str = ""

    @property
    def train(self) -> Sequence[Example]:
        """The training examples."""
        return self.prepared.splits.train


@dataclass(frozen=True)
class Symptom:
    """One figure that tells of an ailment.

    Attributes:
        figure: the value with its 95 % interval.
        measure: what the figure is, in words, with its unit.
        threshold: from where on the ailment is named.
        severity: 0 at the threshold, 1 where the ailment spoils everything, by the end of the interval that is nearer
            to the threshold; not above 0 where it is not named.
        said: the picture in words, a sentence each.
        focus: what the ailment hangs on, such as the word of a shortcut.
    """

    figure: Estimate
    measure: str
    threshold: float
    severity: float
    said: tuple[str, ...] = ()
    focus: str = ""

    @property
    def is_named(self) -> bool:
        """Whether the whole interval lies beyond the threshold."""
        return self.severity > 0


@dataclass(frozen=True)
class Remedy:
    """Something that might help, as a recipe or as a command.

    Attributes:
        name: also the name of the recipe's file.
        why: what it does about the ailment.
        basis, evidence: what is known of its effect, and from where.
        changes: keys of the recipe ("training.epochs", "task") and their new values.
        train: the training examples, where these change.
        command: what to run first or instead; words in capitals stand for files of the user.
        effect: what the probe gains by it, where that was measured; `judged` says on what.
    """

    name: str
    why: str
    basis: Basis
    evidence: str
    changes: Mapping[str, object] = field(default_factory=dict)
    train: Sequence[Example] | None = None
    command: str = ""
    effect: Estimate | None = None
    judged: str = ""

    @property
    def rank(self) -> tuple[int, float]:
        """The order of expected effect: measured gains by size, then others by their evidence, then what harmed."""
        if self.effect is None:
            return 1 + BASES.index(self.basis), 0.0
        return (0 if self.effect.high > 0 else 1 + len(BASES)), -self.effect.value


def severity_of(figure: Estimate, threshold: float, spoiled: float) -> float:
    """How far the nearer end of an interval lies beyond a threshold, where `spoiled` is 1; at most 1.

    With `spoiled` below the threshold small figures are bad. Without an interval the value itself counts.
    """
    rises = spoiled > threshold
    near = figure.low if rises else figure.high
    value = figure.value if math.isnan(near) else near
    found = (value - threshold) / (spoiled - threshold)
    return min(1.0, found) if math.isfinite(found) else 0.0


def paired_gain(after: NDArray[np.bool_], before: NDArray[np.bool_], seed: int = 0) -> Estimate:
    """The gain in accuracy on the same examples, with its paired bootstrap interval."""
    gaps = after.astype(np.float64) - before
    if len(gaps) < 2:
        return Estimate(float(gaps.mean()) if len(gaps) else math.nan, math.nan, math.nan)
    drawn = np.concatenate([gaps[indices].mean(axis=1) for indices in draws(len(gaps), 1000, 0.95, seed)])
    return interval_of(float(gaps.mean()), drawn, 0.95)
