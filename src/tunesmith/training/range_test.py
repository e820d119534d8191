"""The learning-rate range test: raise the rate by steps; see where the loss falls fastest (Smith 2017, sec. 3.3)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from accelerate import Accelerator

from tunesmith.errors import TrainingError
from tunesmith.training.batching import PlannedStep, StepPlan
from tunesmith.training.loop import Learner, Material, train

LOWEST, HIGHEST, STEPS = 1e-6, 1e-1, 80


@dataclass(frozen=True)
class Rising:
    """The learning rate grows by the same factor at each step."""

    def at(self, step: int) -> float:
        """The rate of step `step`, from 0."""
        return float(LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1)))


@dataclass(frozen=True, slots=True)
class RangeTest:
    """The (rate, smoothed loss) pairs of the test, and the rate that it suggests."""

    points: tuple[tuple[float, float], ...]
    suggestion: float


def range_test(learner: Learner, material: Material, plan: StepPlan, accelerator: Accelerator) -> RangeTest:
    """Train up to 80 steps at rising rates; weights and optimiser are the caller's to put back.

    The suggestion is a tenth of the rate at which the smoothed loss begins to rise for good, which is below where
    training breaks and far above where nothing happens.

    Raises:
        TrainingError: the loss never fell, so no rate can be suggested.
    """
    steps = [
        PlannedStep(number, 0, planned.micro_batches)
        for number, planned in enumerate(islice(cycle(plan.steps()), STEPS))
    ]
    points: list[tuple[float, float]] = []
    average = 0.0
    # A loss that is no number at a high rate is what the test looks for; it ends there.
    with contextlib.suppress(TrainingError):
        for number, step in enumerate(train(learner, material, steps, Rising(), accelerator), 1):
            average = 0.9 * average + 0.1 * step.loss
            smooth = average / (1 - 0.9**number)
            points.append((step.learning_rate, smooth))
            if number > 10 and smooth > 4 * min(loss for _, loss in points):
                break
    return RangeTest(tuple(points), suggest(points))


def suggest(points: Sequence[tuple[float, float]]) -> float:
    """A tenth of the rate with the lowest smoothed loss, rounded to two digits."""
    if len(points) < 10 or min(loss for _, loss in points) > 0.98 * points[0][1]:
        raise TrainingError(
            "The range test saw no fall of the loss, so it can suggest no learning rate.",
            where="training.learning_rate",
            to_do="Name a learning rate.",
        )
    best = min(points, key=lambda point: point[1])[0] / 10
    digits = 1 - math.floor(math.log10(best))
    return round(best, digits)
