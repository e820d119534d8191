"""A model made anew of some of the training examples, with everything read and encoded once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.pipeline import make_learner, make_model
from tunesmith.preparation import Prepared
from tunesmith.scoring import Measure
from tunesmith.scoring.choosing import chosen_by
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.tasks.encoding import Encoded
from tunesmith.training.batching import StepPlan
from tunesmith.training.loop import Material, Scheduled, train
from tunesmith.training.tracking import make_accelerator


@dataclass(frozen=True)
class Learning:
    """A recipe with its data read, its texts encoded and its pre-trained body kept as it was."""

    experiment: Experiment
    prepared: Prepared

    def predictor(self, places: Sequence[int], seed: int) -> Predictor:
        """A model that learnt from these training examples alone, from the pre-trained body on.

        The weights of the last step are kept: validation chooses nothing, so that it can judge.
        """
        experiment = replace(self.experiment, seed=seed)
        ours = replace(self.prepared, backbone=copy.deepcopy(self.prepared.backbone))
        model = make_model(experiment, ours)
        material = self._material(places, seed)
        if any(parameter.requires_grad for parameter in model.parameters()):
            settings = experiment.training
            plan = StepPlan(
                material.encoded,
                settings.epochs,
                settings.batch_size,
                settings.accumulate,
                settings.max_tokens,
                seed,
                by_length=len(material.examples) <= len(places),
            )
            accelerator = make_accelerator((), Path(), experiment.name, {})
            model.to(accelerator.device)
            material.settle(model)
            learner = make_learner(experiment, model, plan.total)
            rate = Scheduled(self._peak(), settings.rise_and_fall(), plan.total)
            for _ in train(learner, material, plan.steps(), rate, accelerator):
                pass
            learner.weights.finish()
        material.settle(model)
        return Predictor(model.eval(), self.prepared.task, self.prepared.encoder)

    def _material(self, places: Sequence[int], seed: int) -> Material:
        task, encoder = self.prepared.task, self.prepared.encoder
        examples = [self.prepared.splits.train[place] for place in places]
        encoded = [self.prepared.encoded["train"][place] for place in places]
        arranged = task.arranged(examples, seed)
        learning = encoded if arranged is examples else [task.encode(example, encoder) for example in arranged]
        pad_id = encoder.tokenizer.pad_token_id or 0
        return Material(task, arranged, learning, pad_id, encoded, encoder.special_ids)

    def _peak(self) -> float:
        peak = self.experiment.training.learning_rate or self.experiment.method.learning_rate
        if isinstance(peak, str):
            raise RecipeError(
                "Every round would search for a learning rate of its own.",
                where="training.learning_rate",
                to_do="Set a number.",
            )
        return float(peak)

    def measure(self, predictor: Predictor, split: str) -> Measure:
        """The recipe's metric of a model on a split.

        Raises:
            RecipeError: the task has no such metric.
        """
        task = self.prepared.task.for_choosing()
        asked = Predictor(predictor.model, task, predictor.encoder)
        examples: Sequence[Example] = self.prepared.splits.named()[split]
        encoded: Sequence[Encoded] = self.prepared.encoded[split]
        answers = asked.decode(examples, encoded, asked.logits(encoded))
        measures = with_worst_subgroup(task.measures(examples, answers), task.metric, examples)
        return chosen_by(measures, self.experiment.training.metric, task.metric)
