"""Objectives under which a small change of the text's vectors changes the answer little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion, check_comparable
from tunesmith.training.objectives.embeddings import climb, of_length, recorded_embeddings, shifted_embeddings
from tunesmith.training.objectives.ranges import check_positive
from tunesmith.training.objectives.replay import Replay, beside


@dataclass(frozen=True)
class SMART:
    """Add how far the answer moves under the worst small noise on the word embeddings (Jiang et al. 2020, sec. 3.1).

    loss + weight * D(f(x), f(x')), with D the divergence of `tasks/losses.py` (half of their symmetric one), squared
    difference for numbers, and x' within `epsilon` of x in each number of each text token's vector. Their radius of
    1e-5 vanishes in the rounding of bfloat16, so these are larger. Their second part, which holds each step near an
    average of earlier models, is left out. All passes drop the same units. Costs `steps` + 2 passes.

    Needs: a task whose outputs can be compared.

    Attributes:
        weight: weight of the divergence beside the loss.
        epsilon: the largest change of a single number.
        step_size: the largest change of a single number in one step.
        noise: standard deviation of the noise that the ascent starts from.
        steps: steps of the ascent.
    """

    weight: float = 1.0
    epsilon: float = 0.01
    step_size: float = 0.01
    noise: float = 0.001
    steps: int = 1

    def __post_init__(self) -> None:
        positive = {"weight": self.weight, "epsilon": self.epsilon, "step_size": self.step_size, "noise": self.noise}
        check_positive("smart", {**positive, "steps": self.steps})

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
        return smooth.loss + self.weight * smooth.divergence(worst)

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
