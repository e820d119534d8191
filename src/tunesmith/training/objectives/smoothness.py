"""Objectives under which a small change of the text's vectors changes the answer little."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tunesmith.data.subgroups import Subgroups
from tunesmith.errors import RecipeError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion, check_comparable
from tunesmith.training.objectives.embeddings import climb, of_length, recorded_embeddings, shifted_embeddings
from tunesmith.training.objectives.ranges import check_positive
from tunesmith.training.objectives.replay import Replay, beside
from tunesmith.training.objectives.teacher import Teacher


@dataclass(frozen=True)
class SMART:
    """Add how far the answer moves under the worst small noise on the word embeddings (Jiang et al. 2020, sec. 3).

    loss + weight * D(f(x), f(x')), with D the divergence of `tasks/losses.py` (half of their symmetric one), squared
    difference for numbers, and x' within `epsilon` of x in each number of each text token's vector. Their radius of
    1e-5 vanishes in the rounding of bfloat16, so these are larger. All passes drop the same units. Costs `steps` + 2
    passes.

    With `proximal` above 0 there is their second part (sec. 3.2): + proximal * D(f(x), f_average(x)), which holds each
    step near the running average of the models before it, average = momentum * average + (1 - momentum) * model after
    each step (momentum 0 is the model before the step, their eq. 3; above 0 it is their momentum Bregman proximal point
    method). Checkpoints hold the average. Costs a further pass without a gradient, and a further copy of the weights.

    Needs: a task whose outputs can be compared.

    Attributes:
        weight: weight of the divergence beside the loss.
        epsilon: the largest change of a single number.
        step_size: the largest change of a single number in one step.
        noise: standard deviation of the noise that the ascent starts from.
        steps: steps of the ascent.
        proximal: weight of the divergence from the average of earlier models; 0 leaves it out.
        momentum: how slowly the average follows the model, at least 0 and below 1.
    """

    weight: float = 1.0
    epsilon: float = 0.01
    step_size: float = 0.01
    noise: float = 0.001
    steps: int = 1
    proximal: float = 0.0
    momentum: float = 0.99

    def __post_init__(self) -> None:
        positive = {"weight": self.weight, "epsilon": self.epsilon, "step_size": self.step_size, "noise": self.noise}
        check_positive("smart", {**positive, "steps": self.steps})
        if self.proximal < 0:
            raise RecipeError("proximal must not be negative.", where="objective.proximal", to_do="Use 0 for none.")
        if not 0 <= self.momentum < 1:
            raise RecipeError(
                "momentum must be at least 0 and below 1: at 1 the average never moves.",
                where="objective.momentum",
                to_do="0.99 is usual, 0 the model before the step.",
            )

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The loss, and the weighted divergence at the place found."""
        smooth = _Surroundings.of(model, batch, criterion)

        def onwards(step: Tensor, gradient: Tensor) -> Tensor:
            kept = gradient.float() * smooth.mask[:, :, None]
            largest = kept.flatten(1).abs().amax(1)[:, None, None]
            direction = torch.where((largest > 0) & largest.isfinite(), kept / largest, 0.0)
            return (step + self.step_size * direction).clamp(-self.epsilon, self.epsilon)

        start = (self.noise * smooth.noise).clamp(-self.epsilon, self.epsilon)
        worst = climb(smooth.divergence_from_fixed, start, onwards, self.steps)
        found = smooth.loss + self.weight * smooth.divergence(worst)
        if not self.proximal:
            return found
        with torch.no_grad(), self._teachers[model].in_place():
            smooth.replay.again()
            before = model(batch)
        return found + self.proximal * criterion.divergence(smooth.logits, before, batch)

    def memory(self, model: Model, task: Task, subgroups: Subgroups | None) -> Teacher | None:
        """The average of the model's earlier weights; None without `proximal`."""
        if not self.proximal:
            return None
        if model not in self._teachers:
            # The teacher knows the model, so that a weak reference alone would not let go of either.
            self._teachers.clear()
            self._teachers[model] = Teacher(model, self.momentum)
        return self._teachers[model]

    @cached_property
    def _teachers(self) -> dict[Model, Teacher]:
        return {}

    def check(self, model: Model, task: Task) -> None:
        """See that outputs can be compared.

        Raises:
            TrainingError: they cannot.
        """
        check_comparable(task, "smart")


@dataclass(frozen=True)
class VAT:
    """Add how far the answer moves in the direction in which it moves most (Miyato et al. 2018, sec. 3.3, eq. 5-12).

    The direction is found by power iteration on the divergence's curvature at the word embeddings' output, from random
    vectors of norm `probe`, and gone for `epsilon`. The answer without the step is taken as given, as in the paper;
    the divergence is that of `tasks/losses.py`, whose curvature there is that of the paper's. Norms are per piece;
    padding and special tokens are not moved. All passes drop the same units. Costs `steps` + 2 passes.

    Needs: a task whose outputs can be compared.

    Attributes:
        weight: weight of the divergence beside the loss.
        epsilon: L2 norm of the step.
        probe: L2 norm at which the power iteration looks (xi); it must survive the rounding of the layers.
        steps: power iterations.
    """

    weight: float = 1.0
    epsilon: float = 1.0
    probe: float = 0.1
    steps: int = 1

    def __post_init__(self) -> None:
        positive = {"weight": self.weight, "epsilon": self.epsilon, "probe": self.probe, "steps": self.steps}
        check_positive("vat", positive)

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The loss, and the weighted divergence at the end of the step."""
        smooth = _Surroundings.of(model, batch, criterion)
        start = of_length(smooth.noise, smooth.mask, self.probe)
        found = climb(
            smooth.divergence_from_fixed, start, lambda _, slope: of_length(slope, smooth.mask, self.probe), self.steps
        )
        worst = of_length(found, smooth.mask, self.epsilon)
        return smooth.loss + self.weight * smooth.divergence_from_fixed(worst)

    def check(self, model: Model, task: Task) -> None:
        """See that outputs can be compared.

        Raises:
            TrainingError: they cannot.
        """
        check_comparable(task, "vat")


@dataclass(frozen=True)
class _Surroundings:
    """A batch, what the model says of it, and what it says nearby when the same units are dropped.

    `noise` [P, T, H] is drawn from a normal distribution, zero where nothing is moved.
    """

    model: Model
    batch: Batch
    criterion: Criterion
    replay: Replay
    logits: Tensor
    loss: Tensor
    mask: Tensor
    noise: Tensor

    @classmethod
    def of(cls, model: Model, batch: Batch, criterion: Criterion) -> _Surroundings:
        """Read the batch as it is."""
        replay, generator = beside(model.device)
        with recorded_embeddings(model) as seen:
            logits = model(batch)
        (around,) = seen
        mask = criterion.text_mask(batch, around.shape[1])
        noise = torch.randn(around.shape, generator=generator).to(around.device) * mask[:, :, None]
        return cls(model, batch, criterion, replay, logits, criterion.of(model, logits, batch), mask, noise)

    def divergence(self, step: Tensor) -> Tensor:
        """How far the answers with and without the step are apart; both are moved by its gradient."""
        return self.criterion.divergence(self.logits, self._there(step), self.batch)

    def divergence_from_fixed(self, step: Tensor) -> Tensor:
        """The same, with the answer without the step taken as given."""
        return self.criterion.divergence(self.logits.detach(), self._there(step), self.batch)

    def _there(self, step: Tensor) -> Tensor:
        self.replay.again()
        with shifted_embeddings(self.model, step):
            logits: Tensor = self.model(self.batch)
            return logits
