"""Judges of changed copies: a model that is given, or models that learnt from the other training examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from rich.console import Console

from tunesmith.augmentation.expand import SOURCE, Judge, Verdict, label_text
from tunesmith.bodies import load_backbone, window
from tunesmith.data.records import Example
from tunesmith.data.splits import split
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.machine import has_bf16
from tunesmith.models.model import Model
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.training.batching import StepPlan
from tunesmith.training.dropout import use_bit_dropout
from tunesmith.training.loop import Learner, Material, Scheduled, train
from tunesmith.training.objectives import TaskLoss
from tunesmith.training.optimizer import Optimizer
from tunesmith.training.precision import MasterWeights
from tunesmith.training.tracking import announce, progress_bar


def judged_by(predictor: Predictor) -> Judge:
    """Whether a trained model gives examples their labels."""

    def verdicts(examples: Sequence[Example]) -> list[Verdict]:
        found = []
        for example, prediction in zip(examples, predictor.predict(examples), strict=True):
            answer = label_text(replace(example, label=prediction.label))
            found.append(Verdict(predictor.task.is_correct(example, prediction), answer))
        return found

    return verdicts


def out_of_fold(experiment: Experiment, examples: Sequence[Example], folds: int) -> Judge:
    """Whether models that did not see an example, or the source of a copy, give it its label.

    The examples are parted into folds; those of one group or one text share a fold. For each fold the recipe's model
    learns its task from the others by the recipe's method and settings, with the task's own loss and without
    validation. The models are made when the judge is asked, one after another, and kept only as long as they answer.

    Raises:
        DataError: there are too few examples for so many folds.
        RecipeError: the recipe's model is quantised.
    """
    if experiment.model.quantize:
        raise RecipeError(
            "Out-of-fold judges are not quantised, so they may not fit where the recipe's model must be.",
            where="augmentation.judge",
            to_do="Name an artifact as the judge, or remove model.quantize.",
        )
    parts = split(examples, {f"{number}": 1 / folds for number in range(folds)}, seed=experiment.seed)
    if any(len(part) == 0 for part in parts.values()):
        raise DataError(
            f"There are too few training examples for {folds} folds.",
            where="augmentation.folds",
            to_do="Use fewer folds, or a judge that is an artifact.",
        )
    fold_of = {example.id: name for name, part in parts.items() for example in part}

    def verdicts(asked: Sequence[Example]) -> list[Verdict]:
        own = [fold_of[example.attributes.get(SOURCE, example.id)] for example in asked]
        found: dict[int, Verdict] = {}
        for number, name in enumerate(parts, 1):
            places = [place for place, fold in enumerate(own) if fold == name]
            if not places:
                continue
            announce([f"Judge {number} of {folds} learns from the other folds' examples."])
            rest = [example for other, part in parts.items() if other != name for example in part]
            judge = judged_by(learnt(experiment, rest, examples))
            found.update(zip(places, judge([asked[place] for place in places]), strict=True))
        return [found[place] for place in range(len(asked))]

    return verdicts


def learnt(experiment: Experiment, examples: Sequence[Example], known: Sequence[Example]) -> Predictor:
    """The recipe's model after learning its task from these examples; its labels are those of all that are `known`."""
    settings, backbone = experiment.training, load_backbone(experiment, known)
    task = experiment.task.prepared(known, backbone.tokenizer)
    encoder = TextEncoder.of(backbone.tokenizer, window(task, backbone), backbone.prefix)
    torch.manual_seed(experiment.seed)
    model = Model(backbone, task, experiment.model.dropout)
    model.rule = experiment.method.apply(model)
    accelerator = Accelerator()
    model.to(accelerator.device)
    learning = task.arranged(examples, experiment.seed)
    encoded, memory = ([task.encode(one, encoder) for one in given] for given in (learning, examples))
    pad = encoder.tokenizer.pad_token_id or 0
    material = Material(task, learning, encoded, pad, memory, encoder.special_ids)
    if any(parameter.requires_grad for parameter in model.parameters()):
        plan = StepPlan(
            encoded, settings.epochs, settings.batch_size, settings.accumulate, settings.max_tokens, experiment.seed
        )
        given = settings.learning_rate
        peak = given if isinstance(given, float) else experiment.method.learning_rate
        rate = Scheduled(peak, settings.rise_and_fall(), plan.total)
        learner = _learner(experiment, model, plan.total)
        with progress_bar(plan.total, 0, quiet=not Console(stderr=True).is_terminal) as bar:
            for step in train(learner, material, plan.steps(), rate, accelerator):
                bar.advance(step.loss, 0.0)
        learner.weights.finish()
    material.settle(model)
    experiment.method.merge(model)
    return Predictor(model.eval(), task, encoder)


def _learner(experiment: Experiment, model: Model, total: int) -> Learner:
    settings = experiment.training
    if model.device.type == "cpu":
        use_bit_dropout(model)
    low = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16(model.device))
    weights = MasterWeights(model, enabled=low)
    optimizer = Optimizer(model, weights.learning(), experiment.optimizer, settings.grouping())
    return Learner(model, weights, optimizer, TaskLoss(), settings.clip, experiment.seed, total)
