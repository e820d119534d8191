"""Objectives that learn from a better and a worse answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.errors import RecipeError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.tasks.heads import NoHead
from tunesmith.tasks.likelihood import log_likelihoods
from tunesmith.training.criterion import Criterion


@dataclass(frozen=True)
class DPO:
    """Raise the better answer's likelihood over the worse one's, relative to the model before training.

    Rafailov et al. 2023, eq. 7: -log sigmoid(beta * m) with the margin m = log p(better) - log p(worse) less the same
    under the reference; with label smoothing e (their conservative DPO, Mitchell 2023) the loss is
    (1 - e) * loss(m) + e * loss(-m). The reference is the same network with its learning weights as they stood before
    the first step, which are kept and put back for its pass, so that it needs no second model: with LoRA these are
    updates of zero. It reads without dropout.

    Needs: task: text_generation with preference: true.

    Attributes:
        beta: how strongly the model is held to the reference.
        label_smoothing: the share of preferences that are taken to be the wrong way round, in [0, 0.5).
    """

    beta: float = 0.1
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise RecipeError("beta must be positive.", where="objective.beta", to_do="0.1 is usual.")
        if not 0 <= self.label_smoothing < 0.5:
            raise RecipeError(
                "label_smoothing must be at least 0 and below 0.5.",
                where="objective.label_smoothing",
                to_do="At 0.5 nothing is preferred.",
            )

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The mean over the batch's pairs; the task's own loss is not used."""
        with torch.no_grad(), self._reference(model):
            before = margins(model, batch)
        inner = self.beta * (margins(model, batch) - before)
        right, wrong = functional.logsigmoid(inner), functional.logsigmoid(-inner)
        return -((1 - self.label_smoothing) * right + self.label_smoothing * wrong).mean()

    def check(self, model: Model, task: Task) -> None:
        """See that examples come in pairs, and keep the weights that the reference has.

        Raises:
            TrainingError: the model's task compares no two answers.
        """
        if not (isinstance(model.head, NoHead) and model.head.pairs):
            raise TrainingError(
                "DPO needs examples with a better and a worse answer, and this task has none.",
                where="objective",
                to_do="Use task: text_generation with preference: true, or another objective.",
            )
        if model not in self._starts:
            learning = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
            self._starts[model] = {name: weight.detach().clone() for name, weight in learning}

    @cached_property
    def _starts(self) -> WeakKeyDictionary[Model, dict[str, Tensor]]:
        """The learning weights of each model before its first step."""
        return WeakKeyDictionary()

    @contextmanager
    def _reference(self, model: Model) -> Iterator[None]:
        """The model as it stood before training, without dropout, for the time of the block."""
        starts, was_training = self._starts[model], model.training
        weights = dict(model.named_parameters())
        now = {name: weights[name].data for name in starts}
        model.eval()
        try:
            for name in starts:
                # Kept in the precision in which the layers compute, so that both passes round alike.
                starts[name] = starts[name].to(weights[name])
                weights[name].data = starts[name]
            yield
        finally:
            for name, value in now.items():
                weights[name].data = value
            model.train(was_training)


def margins(model: Model, batch: Batch) -> Tensor:
    """Log p(better answer) - log p(worse answer) of each example [E]."""
    pairs = log_likelihoods(model(batch), batch).view(batch.size, 2)
    return pairs[:, 0] - pairs[:, 1]
