"""Objectives that learn from the answers of another model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.components import name_of, settings_of
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.inference.ensemble import Ensemble
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import Model
from tunesmith.tasks import TASKS, Batch, Task
from tunesmith.training.criterion import Criterion, check_comparable
from tunesmith.training.objectives.ranges import check_positive

MAY_DIFFER = frozenset(
    {"temperature", "label_smoothing", "focal_gamma", "class_weights", "pooling", "window_pooling", "threshold"}
    | {"max_length", "stride", "no_answer", "n_best", "max_answer", "normalization"}
)
"""Settings in which a teacher's task may differ: what it reads and what its outputs mean stay the same."""

_PROBE = "Anna's ÄRZTE cafés cost $3.50, 今天天气好 don't-they?\n1999"


@dataclass(frozen=True)
class Distillation:
    """Learn from a trained model's soft answers, beside the labels (Hinton et al. 2015, sec. 2).

    (1 - alpha) * loss + alpha * T^2 * KL(p || q), with p the softmax of the teacher's logits divided by T and q that of
    the model's own; the mean over what the loss averages over, so that padding and words without a label do not count.
    Each gradient of the soft term is about 1 / T^2 of the hard one's, which T^2 makes up for. Of yes-or-no answers each
    has two sides, and numbers have their squared difference, whatever T is. The teacher reads without dropout and in
    float32, once per step, and never learns. Of an ensemble it is the mixture: the log of its mean probabilities (with
    its members' own temperatures), or the mean of its logits.

    Needs: a teacher with the task's labels and settings and the model's tokenizer, and a task whose outputs can be
    compared.

    Attributes:
        teacher: the folder of an artifact or an ensemble.
        alpha: the teacher's share, above 0 and at most 1; at 1 labels are not looked at.
        temperature: T, which softens both; 1 leaves them as they are.
    """

    teacher: str = ""
    alpha: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not self.teacher:
            raise RecipeError(
                "distillation needs a teacher.",
                where="objective.teacher",
                to_do="Name the folder of an artifact: runs/NAME/artifact, or what 'tunesmith ensemble' wrote.",
            )
        check_positive("distillation", {"alpha": self.alpha, "temperature": self.temperature})
        if self.alpha > 1:
            raise RecipeError("alpha must be at most 1.", where="objective.alpha", to_do="0.5 is usual.")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The weighted sum of both."""
        if batch.input_ids.shape[1] > self._teacher.encoder.max_length:
            raise TrainingError(
                f"A text's window has {batch.input_ids.shape[1]} tokens, and the teacher reads at most "
                f"{self._teacher.encoder.max_length}.",
                where="objective.teacher",
                to_do=f"Set task.max_length to {self._teacher.encoder.max_length}.",
            )
        with torch.no_grad():
            wanted = self._outputs(batch)
        logits = model(batch)
        warm = self.temperature
        soft = criterion.divergence(wanted / warm, logits / warm, batch, one_way=True)
        if self.alpha == 1:
            return warm**2 * soft
        return (1 - self.alpha) * criterion.of(model, logits, batch) + self.alpha * warm**2 * soft

    def _outputs(self, batch: Batch) -> Tensor:
        """The teacher's logits of a batch."""
        answering = self._teacher.answering
        if isinstance(answering, Ensemble):
            return answering.outputs(batch)
        outputs: Tensor = self._teacher.model(batch)
        return outputs

    def check(self, model: Model, task: Task) -> None:
        """Load the teacher, and see that it reads and answers what the model does.

        Raises:
            ArtifactError: it cannot be loaded.
            TrainingError: its task, labels or tokenizer are others, or its answers are votes.
        """
        check_comparable(task, "distillation")
        teacher = self._teacher
        other = teacher.task
        if type(other) is not type(task):
            raise self._refused(f"is for {name_of(TASKS, other)}, not {name_of(TASKS, task)}")
        if tuple(other.labels) != tuple(task.labels):
            strange = sorted(set(other.labels) ^ set(task.labels))
            raise self._refused(f"has other labels: {', '.join(strange[:5]) or 'their order'} differ")
        ours, theirs = settings_of(task), settings_of(other)
        for field in fields(task):  # type: ignore[arg-type]
            if field.name not in MAY_DIFFER and ours[field.name] != theirs[field.name]:
                said = f"has task.{field.name} {theirs[field.name]!r}, and the model {ours[field.name]!r}"
                raise self._refused(said)
        if not reads_alike(teacher.encoder.tokenizer, model.tokenizer):
            raise self._refused("has another tokenizer, so that it cannot read the model's batches")
        if isinstance(teacher.answering, Ensemble) and teacher.answering.by == "votes":
            raise self._refused("is an ensemble that votes, and votes have no probabilities to learn from")
        for member in teacher.members:
            member.network.to(model.device).requires_grad_(requires_grad=False)

    def _refused(self, why: str) -> TrainingError:
        return TrainingError(
            f"The teacher {why}.",
            where=f"objective.teacher: {self.teacher}",
            to_do="Train a teacher with this recipe's task and a model that has the same tokenizer.",
        )

    @cached_property
    def _teacher(self) -> Predictor:
        """The trained model, loaded once."""
        return Predictor.load(self.teacher)


def reads_alike(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers know the same pieces and cut a text of many kinds of characters alike."""
    return one.get_vocab() == other.get_vocab() and one(_PROBE)["input_ids"] == other(_PROBE)["input_ids"]
