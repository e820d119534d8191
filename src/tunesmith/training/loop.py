"""The only training loop: a generator that yields after each optimiser step."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from accelerate import Accelerator

from tunesmith.data.records import Example
from tunesmith.data.subgroups import Subgroups
from tunesmith.errors import TrainingError
from tunesmith.machine import enough_memory
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.tasks.batches import cut
from tunesmith.tasks.encoding import Batch, Encoded
from tunesmith.training.averaging import Averaging, NoAveraging
from tunesmith.training.batching import PlannedStep
from tunesmith.training.beside import Beside
from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives import Objective
from tunesmith.training.objectives.memory import memory_of
from tunesmith.training.optimizer import Optimizer, Schedule
from tunesmith.training.precision import MasterWeights

_SMALLER = "A micro-batch had {0} windows of {1} tokens: lower training.max_tokens, or cut the longest texts."


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimiser step did.

    Attributes:
        number: steps done, this one included.
        epoch: the pass over the data, from 0.
        loss: the objective's mean over the step's labels.
        learning_rate: the rate of parameters with scale 1.
        gradient_norm: before clipping.
        examples, tokens, padding: how much it saw; `tokens` counts real tokens, `padding` those filled up.
        beside: the share of the texts without labels that counted; None where there are none.
        noted: what the objective has to say of it, by name.
    """

    number: int
    epoch: int
    loss: float
    learning_rate: float
    gradient_norm: float
    examples: int
    tokens: int
    padding: int
    beside: float | None = None
    noted: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """What there is to learn from: examples and their encoded form, in the same order, and how to make batches.

    `memory` holds what the task settles by, where that is not what the steps learn from; `special` are the tokens that
    objectives leave as they are. `beside` is what each step learns beside these examples.
    """

    task: Task
    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    pad_id: int
    memory: Sequence[Encoded] = ()
    special: tuple[int, ...] = ()
    beside: Beside | None = None

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The batch of these examples."""
        batch = self.task.collate([self.encoded[number] for number in numbers], self.pad_id)
        if self.subgroups is None:
            return batch
        places = [self.subgroups.number(self.examples[number]) for number in numbers]
        return replace(batch, subgroups=torch.tensor(places, dtype=torch.long))

    @cached_property
    def subgroups(self) -> Subgroups | None:
        """The subgroups of the examples; None where they belong to none."""
        return Subgroups.of(self.examples)

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The examples' places by subgroup; nothing where they belong to none."""
        return () if self.subgroups is None else self.subgroups.members(self.examples)

    @property
    def criterion(self) -> Criterion:
        """What the task asks of outputs."""
        return Criterion(self.task, self.special)

    def settle(self, model: Model) -> None:
        """Let the task fit what it does not learn by gradients."""
        was_training = model.training
        model.eval()
        known = self.memory or self.encoded
        cuts = cut(range(len(known)), known, max_examples=64, max_tokens=8192)
        self.task.settle(
            model, (self.task.collate([known[n] for n in part], self.pad_id).to(model.device) for part in cuts)
        )
        model.train(was_training)


class Rate(Protocol):
    """The learning rate of each step."""

    def at(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""


@dataclass(frozen=True)
class Scheduled:
    """A peak rate, and how the rate rises to it and falls over `total` steps."""

    peak: float
    schedule: Schedule
    total: int

    def at(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        return self.peak * self.schedule.factor(step, self.total)


@dataclass(frozen=True)
class Learner:
    """What moves: the model, its float32 weights, and the optimiser over them; `total` is the number of all steps.

    The loop does nothing with `averaging`: who calls it averages the weights that it leaves.
    """

    model: Model
    weights: MasterWeights
    optimizer: Optimizer
    objective: Objective
    clip: float
    seed: int
    total: int = 0
    averaging: Averaging = field(default_factory=NoAveraging)


def train(
    learner: Learner, material: Material, plan: Iterable[PlannedStep], rate: Rate, accelerator: Accelerator
) -> Generator[Step]:
    """Make the planned steps, one per item yielded; the caller logs, validates, saves and stops.

    The loss of a step is the mean over all its labels however it is cut into micro-batches: each micro-batch's mean is
    weighted with its share of the labels.

    Raises:
        TrainingError: a loss or gradient that is not a number; the message names the step and its examples.
    """
    learner.objective.check(learner.model, material.task)
    memory = memory_of(learner.objective, learner.model, material.task, material.subgroups)
    learner.model.train()
    for planned in plan:
        rule = learner.model.rule
        if rule is not None:
            rule.before(planned.number, learner.total)
        # Dropout is a function of the seed and the step, so that a resumed run repeats it.
        torch.manual_seed(learner.seed * 1_000_003 + planned.number)
        planned = _learnt(learner, material, planned)
        batches = [material.batch(numbers) for numbers in planned.micro_batches]
        units = sum(batch.units for batch in batches)
        if memory is not None:
            memory.before(batches)
        total = 0.0
        for batch, numbers in zip(batches, planned.micro_batches, strict=True):
            share = batch.units / units if units else 0.0
            with enough_memory(_SMALLER.format(*batch.input_ids.shape)):
                loss = _backward(learner, material.criterion, batch.to(accelerator.device), share, accelerator)
            if not math.isfinite(loss):
                raise _not_a_number("loss", planned, [material.examples[number] for number in numbers])
            total += loss
        further, share_beside = _backward_beside(learner, material, planned, accelerator)
        total += further
        learner.weights.collect_gradients()
        norm = learner.optimizer.clip(learner.clip)
        if not math.isfinite(norm):
            raise _not_a_number(
                "gradient", planned, [material.examples[n] for numbers in planned.micro_batches for n in numbers]
            )
        learning_rate = rate.at(planned.number)
        with enough_memory("Choose a method that learns fewer weights, such as lora, or a smaller model."):
            learner.optimizer.step(learning_rate)
        if rule is not None:
            rule.after(planned.number, learner.total)
        learner.weights.publish()
        noted: Mapping[str, float] = {}
        if memory is not None:
            memory.after()
            noted = memory.noted()
        tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
        slots = sum(batch.input_ids.numel() for batch in batches)
        seen = sum(batch.size for batch in batches)
        done = (planned.number + 1, planned.epoch, total, learning_rate, norm)
        yield Step(*done, seen, tokens, slots - tokens, share_beside, noted)


def _learnt(learner: Learner, material: Material, planned: PlannedStep) -> PlannedStep:
    """The step without the labelled examples that what stands beside them leaves out."""
    if material.beside is None:
        return planned
    numbers = [number for part in planned.micro_batches for number in part]
    examples = [material.examples[number] for number in numbers]
    places = material.beside.kept(learner.model, material.criterion, examples, planned.number, learner.total)
    kept = {numbers[place] for place in places}
    parts = (tuple(number for number in part if number in kept) for part in planned.micro_batches)
    return replace(planned, micro_batches=tuple(part for part in parts if part))


def _backward_beside(
    learner: Learner, material: Material, planned: PlannedStep, accelerator: Accelerator
) -> tuple[float, float | None]:
    """Add the gradients of what stands beside the labelled examples; its loss, and the share of its texts that count.

    Raises:
        TrainingError: a loss that is not a number.
    """
    if material.beside is None:
        return 0.0, None
    total, counted = 0.0, 0
    with enough_memory("Lower training.max_tokens, or semi_supervision.ratio."):
        for part in material.beside.losses(learner.model, material.criterion, planned.number):
            loss = float(part.loss.detach())
            if not math.isfinite(loss):
                raise _not_a_number("loss of the texts without labels", planned, [])
            accelerator.backward(part.loss)
            total, counted = total + loss, counted + part.texts
    return total, counted / material.beside.texts_per_step


def _backward(learner: Learner, criterion: Criterion, batch: Batch, share: float, accelerator: Accelerator) -> float:
    """Add the micro-batch's part to the gradients and return its part of the loss."""
    whole = learner.objective(learner.model, batch, criterion)
    rule = learner.model.rule
    penalty = None if rule is None else rule.penalty()
    part = (whole if penalty is None else whole + penalty) * share
    if torch.isfinite(part):
        accelerator.backward(part)
    return float(part.detach())


def _not_a_number(what: str, planned: PlannedStep, examples: Sequence[Example]) -> TrainingError:
    named = ", ".join(example.origin or example.id for example in examples[:4])
    more = f" and {len(examples) - 4} more" if len(examples) > 4 else ""
    shown = f", examples {named}{more}" if examples else ""
    return TrainingError(
        f"The {what} is not a finite number.",
        where=f"step {planned.number + 1}, epoch {planned.epoch + 1}{shown}",
        to_do="Lower training.learning_rate, or use training.precision: fp32, and look at these examples.",
    )
