"""The caller of the loop: it logs, validates, saves, stops early and goes on from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from tunesmith.data.records import Example
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import Model
from tunesmith.models.quantization import dequantize
from tunesmith.scoring import Measure
from tunesmith.scoring.choosing import chosen_by
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import Encoded, TextEncoder
from tunesmith.training.averaging import Average
from tunesmith.training.batching import StepPlan
from tunesmith.training.checkpoint import (
    Progress,
    Stateful,
    newest,
    put_weights,
    read_tensors,
    restore,
    save_checkpoint,
    write_tensors,
)
from tunesmith.training.loop import Learner, Material, Rate, Step, train
from tunesmith.training.objectives.memory import memory_of
from tunesmith.training.run_log import RunLog
from tunesmith.training.tracking import Bar, log_metrics, progress_bar

SAVE_AFTER = 300.0
"""Seconds after which a checkpoint is written even if the recipe asks for none yet; it changes no result."""


@dataclass(frozen=True)
class Validation:
    """The examples to choose a checkpoint by, and how.

    Attributes:
        metric: the metric to raise (or lower, for errors); empty means the task's own.
        every: steps between validations; 0 means once per epoch.
        patience: stop after so many validations without a new best; 0 never stops early.
    """

    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    metric: str
    every: int
    patience: int

    def evaluate(self, model: Model, material: Material, encoder: TextEncoder) -> list[Measure]:
        """The measures of the model as it stands."""
        task = material.task.for_choosing()
        material.settle(model)
        predictor = Predictor(model, task, encoder)
        predictions = predictor.decode(self.examples, self.encoded, predictor.logits(self.encoded))
        return with_worst_subgroup(task.measures(self.examples, predictions), task.metric, self.examples)

    def chosen(self, measures: Sequence[Measure], task: Task) -> float:
        """The value to compare, higher always better.

        Raises:
            RecipeError: the metric is not one that this task has.
        """
        found = chosen_by(measures, self.metric, task.metric)
        return found.value() if found.higher_is_better else -found.value()


@dataclass(frozen=True)
class Folders:
    """Where a run keeps its checkpoints and its log, and what identifies it."""

    checkpoints: Path
    log: Path
    run_id: str

    @property
    def best(self) -> Path:
        """The weights with the best validation."""
        return self.checkpoints / "best.safetensors"


@dataclass(frozen=True)
class Fitted:
    """What training did: its last progress, this session's speed, and from which step on weights were averaged."""

    progress: Progress
    examples_per_second: float
    padding_share: float
    averaged_from: int | None = None


class Fitting:
    """One run of training, from its newest checkpoint to its end.

    The weights with the best validation are in the model afterwards.
    """

    def __init__(
        self, learner: Learner, material: Material, plan: StepPlan, validation: Validation, encoder: TextEncoder
    ) -> None:
        self._learner = learner
        self._material = material
        self._plan = plan
        self._validation = validation
        self._encoder = encoder
        # Taken before the first step, since a method may close and open weights between steps.
        self._learning = learner.weights.learning()
        self._average = Average(learner.averaging, self._learning, plan.total)
        remembered = memory_of(learner.objective, learner.model, material.task, material.subgroups)
        self._states = Stateful(learner.optimizer, learner.model.rule, self._average, remembered)

    def run(
        self, rate: Rate, folders: Folders, accelerator: Accelerator, *, checkpoint_every: int, quiet: bool
    ) -> Fitted:
        """Train, and leave the best weights in the model."""
        progress = self._resume(folders)
        with self._learner.weights.full_precision() as model:
            self._material.settle(model)
        log = RunLog(folders.log, progress.step)
        learning = self._learning
        began, earlier = time.monotonic(), progress.seconds
        saved = began
        seen = tokens = padding = 0
        with (
            progress_bar(self._plan.total, progress.step, quiet=quiet) as bar,
            closing(train(self._learner, self._material, self._plan.steps(progress.step), rate, accelerator)) as steps,
        ):
            for step in steps if not progress.finished else ():
                self._average.update(step.number)
                seen, tokens, padding = seen + step.examples, tokens + step.tokens, padding + step.padding
                self._note(step, log, accelerator, bar, seen / (time.monotonic() - began))
                progress = replace(progress, step=step.number, seconds=earlier + time.monotonic() - began)
                is_last = step.number == self._plan.total
                validates = step.number % (self._validation.every or self._plan.steps_per_epoch) == 0 or is_last
                if validates and len(self._validation.examples):
                    progress = self._validate(progress, folders, log, accelerator, bar)
                stops = is_last or 0 < self._validation.patience <= progress.waited
                progress = replace(progress, finished=stops)
                is_due = (checkpoint_every and step.number % checkpoint_every == 0) or validates or stops
                if is_due or time.monotonic() - saved > SAVE_AFTER:
                    save_checkpoint(folders.checkpoints, learning, self._states, progress)
                    saved = time.monotonic()
                if stops:
                    break
        seconds = max(time.monotonic() - began, 1e-9)
        if progress.best_step is not None:
            put_weights(read_tensors(folders.best), learning, folders.best)
        else:
            self._average.put()
        self._learner.weights.finish()
        dequantize(self._learner.model.body)
        self._material.settle(self._learner.model)
        return Fitted(progress, seen / seconds, padding / max(1, tokens + padding), self._average.first)

    def _resume(self, folders: Folders) -> Progress:
        found = newest(folders.checkpoints, folders.run_id)
        if found is None:
            return Progress(run_id=folders.run_id)
        place, progress = found
        restore(place, self._learning, self._states)
        self._learner.weights.publish()
        return progress

    def _note(self, step: Step, log: RunLog, accelerator: Accelerator, bar: Bar, speed: float) -> None:
        log.step(step)
        bar.advance(step.loss, speed)
        log_metrics(
            accelerator,
            {
                "train/loss": step.loss,
                "train/learning_rate": step.learning_rate,
                "train/gradient_norm": step.gradient_norm,
                **{f"train/{name}": value for name, value in step.noted.items()},
            },
            step.number,
        )

    def _validate(
        self, progress: Progress, folders: Folders, log: RunLog, accelerator: Accelerator, bar: Bar
    ) -> Progress:
        """Measure, and keep the weights if they are the best so far."""
        task = self._material.task.for_choosing()
        with self._learner.weights.full_precision() as model, self._average.in_place():
            measures = self._validation.evaluate(model, self._material, self._encoder)
        metrics = {measure.name: measure.value() for measure in measures}
        value = self._validation.chosen(measures, task)
        log.validation(progress.step, metrics)
        name = self._validation.metric or task.metric
        bar.validated(name, metrics[name])
        log_metrics(accelerator, {f"validation/{name}": number for name, number in metrics.items()}, progress.step)
        if not math.isnan(value) and (progress.best_value is None or value > progress.best_value):
            folders.checkpoints.mkdir(parents=True, exist_ok=True)
            write_tensors(folders.best, self._average.weights)
            return replace(progress, best_step=progress.step, best_value=value, waited=0)
        return replace(progress, waited=progress.waited + 1)
