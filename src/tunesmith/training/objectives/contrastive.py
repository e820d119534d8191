"""Objectives that learn from where the examples of a batch lie to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional

from tunesmith.components import name_of
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import TASKS, Batch, Task
from tunesmith.tasks.class_targets import likeliest_classes
from tunesmith.tasks.heads import SequenceHead, VectorHead
from tunesmith.training.criterion import Criterion
from tunesmith.training.dropout import body_has_dropout
from tunesmith.training.objectives.ranges import check_positive


@dataclass(frozen=True)
class SupCon:
    """Draw texts of one class together, beside the task's loss (Gunel et al. 2021, eq. 1-3).

    And apart from other classes': (1 - weight) * loss + weight * the supervised contrast (Khosla et al. 2020, eq. 2) of
    the vectors that the head reads. A text is compared with the others of its micro-batch, so that accumulation adds
    no others to it, and how a step is cut changes the loss. A text without another of its class there is no anchor.
    Costs one pass.

    Needs: a task with one class per text whose head reads one vector of it, and micro-batches of several texts.

    Attributes:
        weight: share of the contrast, above 0 and below 1.
        temperature: what the cosines are divided by.
    """

    weight: float = 0.5
    temperature: float = 0.3

    def __post_init__(self) -> None:
        check_positive("supcon", {"weight": self.weight, "temperature": self.temperature})
        if self.weight >= 1:
            raise RecipeError(
                "weight must be below 1: the task's loss would have no part.",
                where="objective.weight",
                to_do="Use 0.5.",
            )

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The weighted mean of the task's loss and the contrast."""
        assert isinstance(model.head, VectorHead), "refused by check"
        assert batch.targets is not None, "a batch for training has targets"
        vectors = model.head.vectors(model.hidden(batch).float(), batch)
        loss = criterion.of(model, model.head.scores(vectors), batch)
        apart = contrast(vectors, likeliest_classes(batch.targets, batch.size), self.temperature)
        return (1 - self.weight) * loss + self.weight * apart

    def check(self, model: Model, task: Task) -> None:
        """See that there are vectors of texts that have a class each.

        Raises:
            TrainingError: there are not.
        """
        _check_vectors(model, task, "supcon")
        if task.label_kind != "class":
            raise TrainingError(
                f"Objective supcon draws texts of one class together, and the labels of this task are: "
                f"{task.label_kind}.",
                where="objective",
                to_do="Use another objective, or a task with one class per text.",
            )


def contrast(vectors: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, eq. 2) of vectors [E, W] with classes [E].

    The mean over the anchors that have another text of their class; 0 where none has.
    """
    directions = functional.normalize(vectors.float(), dim=-1)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    scores = directions @ directions.T / temperature
    never = torch.finfo(scores.dtype).min  # minus infinity would leave a text that is alone without a number
    scores = scores.masked_fill(itself, never).log_softmax(-1)
    positive = (classes[:, None] == classes) & ~itself
    counts = positive.sum(1)
    losses = -scores.masked_fill(~positive, 0.0).sum(1) / counts.clamp(min=1)
    return losses.sum() / (counts > 0).sum().clamp(min=1)


@dataclass(frozen=True)
class SimCSE:
    """Draw two views of a text together and apart from other texts, beside the task's loss (Gao et al. 2021, eq. 4).

    The views are two passes under different dropout; loss + weight * the mean of -log softmax of a view's cosine with
    the other view of its text among those with all texts of the micro-batch, so that accumulation adds no others to it.
    The task's loss is the mean of both passes. No label is needed for the contrast: their unsupervised form, without
    the layer that they put between vector and cosine. Costs two passes.

    Needs: a task whose head reads one vector of each text, dropout in the model, and micro-batches of several texts.

    Attributes:
        weight: weight of the contrast beside the loss.
        temperature: what the cosines are divided by.
    """

    weight: float = 0.1
    temperature: float = 0.05

    def __post_init__(self) -> None:
        check_positive("simcse", {"weight": self.weight, "temperature": self.temperature})

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The mean of two losses, and the weighted contrast of both passes."""
        assert isinstance(model.head, VectorHead), "refused by check"
        views = [model.head.vectors(model.hidden(batch).float(), batch) for _ in range(2)]
        losses = [criterion.of(model, model.head.scores(view), batch) for view in views]
        return 0.5 * (losses[0] + losses[1]) + self.weight * view_contrast(views[0], views[1], self.temperature)

    def check(self, model: Model, task: Task) -> None:
        """See that there are vectors of texts, and that two passes differ.

        Raises:
            TrainingError: there are none, or they do not.
        """
        _check_vectors(model, task, "simcse")
        if not body_has_dropout(model):
            raise TrainingError(
                "SimCSE compares two passes under different dropout, and this model has none before the text's vector.",
                where="objective",
                to_do="Set model.dropout to 0.1 where the model has such layers, or use objective: supcon.",
            )


def view_contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """The mean of -log softmax over texts of the cosines of two views [E, W], divided by the temperature."""
    cosines = functional.normalize(one.float(), dim=-1) @ functional.normalize(other.float(), dim=-1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(one), device=one.device))


@dataclass(frozen=True)
class Mixup:
    """Learn from texts between two, with the labels of both (Zhang et al. 2018, eq. 1; Guo et al. 2019, sec. 3).

    The vectors that the head reads are mixed, as in Guo's senMixup: share * one + (1 - share) * other, with the share
    drawn for each micro-batch from Beta(alpha, alpha) and the other drawn from the same micro-batch; the loss is mixed
    likewise. A micro-batch of one text is learnt from as it is. Costs one pass.

    Needs: a task whose head reads one vector of each text, and micro-batches of several texts.

    Attributes:
        alpha: how often the share is far from 0 and 1.
    """

    alpha: float = 0.4

    def __post_init__(self) -> None:
        check_positive("mixup", {"alpha": self.alpha})

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The mixed loss of mixed vectors, with a share that is drawn."""
        share = float(Beta(self.alpha, self.alpha).sample())
        others = torch.randperm(batch.size).to(model.device)
        return self.mixed(model, batch, criterion, share, others)

    def mixed(self, model: Model, batch: Batch, criterion: Criterion, share: float, others: Tensor) -> Tensor:
        """The loss where each example is mixed with the one whose number is in `others` [E]."""
        assert isinstance(model.head, VectorHead), "refused by check"
        assert batch.targets is not None, "a batch for training has targets"
        vectors = model.head.vectors(model.hidden(batch).float(), batch)
        logits = model.head.scores(share * vectors + (1 - share) * vectors[others])
        weights = None if batch.weights is None else batch.weights[others]
        theirs = replace(batch, targets=batch.targets[others], weights=weights)
        return share * criterion.of(model, logits, batch) + (1 - share) * criterion.of(model, logits, theirs)

    def check(self, model: Model, task: Task) -> None:
        """See that there are vectors of texts to mix.

        Raises:
            TrainingError: there are none.
        """
        _check_vectors(model, task, "mixup")


def _check_vectors(model: Model, task: Task, objective: str) -> None:
    head: object = model.head
    if not isinstance(head, VectorHead):
        raise TrainingError(
            f"Objective {objective} needs one vector per text, and the head of {name_of(TASKS, task)} reads none.",
            where="objective",
            to_do="Use another objective, or a task that classifies whole texts, such as sequence_classification.",
        )
    if isinstance(head, SequenceHead) and head.window_pooling == "max":
        raise TrainingError(
            f"Objective {objective} needs one vector per text, and with window_pooling: max a long text has several.",
            where="objective",
            to_do="Set task.window_pooling: mean, or use another objective.",
        )
