"""Objectives that learn from the answers of another model."""

from __future__ import annotations

import math
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
from tunesmith.models.shapes import blocks_of
from tunesmith.tasks import TASKS, Batch, Task
from tunesmith.training.criterion import Criterion, check_comparable
from tunesmith.training.objectives.ranges import check_positive
from tunesmith.training.objectives.within import attention_distance, looked_into, state_distance, uniform

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

    With `hidden` or `attention` the model also learns what the teacher's layers compute within (Jiao et al. 2020, sec.
    3.1): layers are matched evenly from the last one down, and must have the teacher's width, and as many heads.

    Needs: a teacher with the task's labels and settings and the model's tokenizer, and a task whose outputs can be
    compared.

    Attributes:
        teacher: the folder of an artifact or an ensemble.
        alpha: the teacher's share, above 0 and at most 1; at 1 labels are not looked at.
        temperature: T, which softens both; 1 leaves them as they are.
        hidden: weight of the mean squared difference of the layers' states; 0 leaves them free.
        attention: weight of the mean squared difference of the attention scores before the softmax; 0 leaves them free.
    """

    teacher: str = ""
    alpha: float = 0.5
    temperature: float = 2.0
    hidden: float = 0.0
    attention: float = 0.0

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
        for name in ("hidden", "attention"):
            if not 0 <= vars(self)[name] < math.inf:
                raise RecipeError(f"{name} must not be negative.", where=f"objective.{name}")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The weighted sum of both."""
        if batch.input_ids.shape[1] > self._teacher.encoder.max_length:
            raise TrainingError(
                f"A text's window has {batch.input_ids.shape[1]} tokens, and the teacher reads at most "
                f"{self._teacher.encoder.max_length}.",
                where="objective.teacher",
                to_do=f"Set task.max_length to {self._teacher.encoder.max_length}.",
            )
        if not self._looks_within:
            with torch.no_grad():
                wanted = self._outputs(batch)
            return self._of_answers(model, wanted, model(batch), batch, criterion)
        look = bool(self.attention)
        teacher = self._teacher.model
        assert isinstance(teacher, Model), "check refuses others"
        with torch.no_grad(), looked_into(teacher, attention=look) as theirs:
            wanted = self._outputs(batch)
        with looked_into(model, attention=look) as ours:
            loss = self._of_answers(model, wanted, model(batch), batch, criterion)
        if self.hidden:
            loss = loss + self.hidden * state_distance(ours, theirs, batch)
        if self.attention:
            loss = loss + self.attention * attention_distance(ours, theirs, batch)
        return loss

    @property
    def _looks_within(self) -> bool:
        return self.hidden > 0 or self.attention > 0

    def _of_answers(self, model: Model, wanted: Tensor, logits: Tensor, batch: Batch, criterion: Criterion) -> Tensor:
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
        if not all(isinstance(member.network, Model) for member in teacher.members):
            raise self._refused("is in a form other than torch's, which answers on the CPU alone")
        if self._looks_within:
            self._check_within(model)
        for member in teacher.members:
            member.network.to(model.device).requires_grad_(requires_grad=False)

    def _check_within(self, model: Model) -> None:
        if isinstance(self._teacher.answering, Ensemble):
            raise self._refused("is an ensemble, of which each member computes something else within")
        teacher = self._teacher.model
        assert isinstance(teacher, Model), "other forms are refused before"
        one, other = teacher.body, model.body
        if one.config.hidden_size != other.config.hidden_size:
            raise self._refused(f"has layers of width {one.config.hidden_size}, the model {other.config.hidden_size}")
        if self.attention:
            theirs, ours = ([len(block.heads) for block in blocks_of(body)] for body in (one, other))
            matched = [theirs[place] for place in uniform(len(ours), len(theirs))]
            if ours != matched:
                raise self._refused(f"has {matched} heads in the layers that are matched, and the model {ours}")

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
