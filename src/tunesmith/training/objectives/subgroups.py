"""Objectives that learn for the subgroups of the examples, not for their mean: Group DRO and IRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.data.subgroups import Subgroups
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Separable, Task
from tunesmith.training.criterion import Criterion, check_separable
from tunesmith.training.objectives.ranges import check_positive


@dataclass(frozen=True)
class GroupDRO:
    """Learn most from the subgroup that is worst off (Sagawa et al. 2020, eq. 4-5 and algorithm 1).

    The loss is the sum over subgroups g of q_g times the mean loss of g in the step. After the step q_g is multiplied
    by exp(step_size * (that loss + adjustment / sqrt(n_g))), with n_g the subgroup's training examples, and all are
    divided by their sum. The new q counts from the next step on, where in the paper it counts at once: so how a
    step is cut into micro-batches changes nothing. A subgroup that a step does not have keeps its share. The log has
    each q and loss. The paper draws each subgroup equally often (`training.balance_subgroups: true`), and it works with
    strong regularisation or early stopping alone (their sec. 3): choose checkpoints by
    `training.metric: worst_group_accuracy`. Costs one pass.

    Needs: `data.subgroups`, and a task that tells the losses of single examples apart.

    Attributes:
        step_size: how fast the shares q follow the losses.
        adjustment: C of eq. 5, which holds small subgroups to a lower loss, since they generalise worse.
    """

    step_size: float = 0.01
    adjustment: float = 0.0

    def __post_init__(self) -> None:
        check_positive("group_dro", {"step_size": self.step_size})
        if self.adjustment < 0:
            raise RecipeError("adjustment must not be negative.", where="objective.adjustment", to_do="Use 0 for none.")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The losses of the batch's subgroups, each with its share."""
        return self._memories[model].weighed(criterion.losses(model, model(batch), batch), batch)

    def check(self, model: Model, task: Task) -> None:
        """See that losses can be told apart.

        Raises:
            TrainingError: they cannot.
        """
        check_separable(task, "group_dro")

    def memory(self, model: Model, task: Task, subgroups: Subgroups | None) -> Shares:
        """The subgroups' shares, all alike before the first step.

        Raises:
            TrainingError: there are fewer than two subgroups.
        """
        known = see_subgroups(subgroups, "group_dro")
        assert isinstance(task, Separable), "refused by check"
        if model not in self._memories:
            self._memories[model] = Shares(task, known, self.step_size, self.adjustment)
        return self._memories[model]

    @cached_property
    def _memories(self) -> WeakKeyDictionary[Model, Shares]:
        return WeakKeyDictionary()


@dataclass
class Shares:
    """Group DRO's memory: q, and the sums of the step at hand."""

    task: Separable
    subgroups: Subgroups
    step_size: float
    adjustment: float
    q: Tensor = field(init=False)
    sums: Tensor = field(init=False)
    counts: Tensor = field(init=False)
    units: float = 0.0

    def __post_init__(self) -> None:
        size = len(self.subgroups.names)
        self.q = torch.full((size,), 1 / size, dtype=torch.float64)
        self.sums, self.counts = torch.zeros_like(self.q), torch.zeros_like(self.q)

    def before(self, batches: Sequence[Batch]) -> None:
        """Count the labels of each subgroup in the step."""
        self.sums = torch.zeros_like(self.q)
        self.counts = torch.zeros_like(self.q)
        self.units = sum(batch.units for batch in batches)
        for batch in batches:
            counts = self.task.label_counts(batch)
            counts = counts if batch.weights is None else counts * batch.weights
            self.counts += (counts @ membership(batch, len(self.q))).double().cpu()

    def weighed(self, losses: Tensor, batch: Batch) -> Tensor:
        """The micro-batch's part of the sum over subgroups, of its examples' losses [E], as a mean over its units."""
        sums = losses @ membership(batch, len(self.q))
        self.sums += sums.detach().double().cpu()
        factors = (self.q / self.counts.clamp(min=torch.finfo(torch.float64).tiny)).masked_fill(self.counts == 0, 0.0)
        # The loop takes a micro-batch's mean times its share of the step's units.
        return (sums * factors.to(sums)).sum() * (self.units / (batch.units or 1.0))

    def after(self) -> None:
        """Move the shares towards the subgroups with the highest losses."""
        sizes = torch.tensor(self.subgroups.sizes, dtype=torch.float64)
        gains = self.step_size * (self._means() + self.adjustment / sizes.sqrt())
        self.q = (self.q.log() + gains.masked_fill(self.counts == 0, 0.0)).softmax(0)

    def _means(self) -> Tensor:
        return self.sums / self.counts.clamp(min=torch.finfo(torch.float64).tiny)

    def noted(self) -> Mapping[str, float]:
        """The shares after the step, and the step's losses of the subgroups that it had."""
        shares = {f"share of {name}": float(q) for name, q in zip(self.subgroups.names, self.q, strict=True)}
        return shares | noted_losses(self.subgroups, self._means(), self.counts > 0)

    def state(self) -> dict[str, Tensor]:
        """The shares."""
        return {"q": self.q}

    def load_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take up the shares."""
        self.q = kept["q"].clone()


@dataclass(frozen=True)
class IRM:
    """Look for what tells the label alike in every subgroup: IRMv1 (Arjovsky et al. 2019, sec. 3.1).

    The mean over the subgroups of their loss R_e and weight * (dR_e / dw)^2, with w a factor of all logits, at 1. All
    is divided by `weight` where that is above 1, as in the published code, so that the steps stay as large. Both are of
    the micro-batch: how a step is cut changes the loss, and a micro-batch should have several examples of each
    subgroup. The subgroups are environments: name the columns of where texts are from, without the label. Costs one
    pass.

    Needs: `data.subgroups`, and a task that tells the losses of single examples apart.

    Attributes:
        weight: weight of the penalty.
        anneal: steps in which the weight is at most 1, so that something is learnt before it is held alike.
    """

    weight: float = 100.0
    anneal: int = 0

    def __post_init__(self) -> None:
        check_positive("irm", {"weight": self.weight})
        if self.anneal < 0:
            raise RecipeError("anneal must not be negative.", where="objective.anneal", to_do="Use 0 for none.")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The losses and penalties of the batch's subgroups."""
        memory = self._memories[model]
        scale = torch.ones((), device=model.device, requires_grad=True)
        losses = criterion.losses(model, model(batch) * scale, batch)
        members = membership(batch, len(memory.subgroups.names))
        counts = memory.task.label_counts(batch)
        counts = (counts if batch.weights is None else counts * batch.weights) @ members
        there = counts > 0
        risks = (losses @ members)[there] / counts[there]
        if not len(risks):
            return losses.sum()  # all weights are zero
        slopes = [torch.autograd.grad(risk, scale, create_graph=True)[0] for risk in risks]
        penalties = torch.stack(slopes).pow(2)
        memory.note(losses.detach() @ members, counts, penalties.detach())
        weight = self.weight if memory.steps >= self.anneal else min(self.weight, 1.0)
        return (risks.mean() + weight * penalties.mean()) / max(weight, 1.0)

    def check(self, model: Model, task: Task) -> None:
        """See that losses can be told apart.

        Raises:
            TrainingError: they cannot.
        """
        check_separable(task, "irm")

    def memory(self, model: Model, task: Task, subgroups: Subgroups | None) -> Environments:
        """How many steps were made.

        Raises:
            TrainingError: there are fewer than two subgroups.
        """
        known = see_subgroups(subgroups, "irm")
        assert isinstance(task, Separable), "refused by check"
        if model not in self._memories:
            self._memories[model] = Environments(task, known)
        return self._memories[model]

    @cached_property
    def _memories(self) -> WeakKeyDictionary[Model, Environments]:
        return WeakKeyDictionary()


@dataclass
class Environments:
    """IRM's memory: the number of steps made, and what the step at hand showed."""

    task: Separable
    subgroups: Subgroups
    steps: int = 0
    sums: Tensor = field(init=False)
    counts: Tensor = field(init=False)
    penalties: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before(())

    def before(self, batches: Sequence[Batch]) -> None:
        """Forget what the step before showed."""
        self.sums = torch.zeros(len(self.subgroups.names), dtype=torch.float64)
        self.counts = torch.zeros_like(self.sums)
        self.penalties = []

    def note(self, sums: Tensor, counts: Tensor, penalties: Tensor) -> None:
        """Keep what a micro-batch showed: losses and labels of each subgroup, and the penalties of those it has."""
        self.sums += sums.double().cpu()
        self.counts += counts.double().cpu()
        self.penalties += penalties.flatten().tolist()

    def after(self) -> None:
        """Count the step."""
        self.steps += 1

    def noted(self) -> Mapping[str, float]:
        """The mean penalty, and the step's losses of the subgroups that it had."""
        penalty = sum(self.penalties) / max(1, len(self.penalties))
        means = self.sums / self.counts.clamp(min=torch.finfo(torch.float64).tiny)
        return {"penalty": penalty, **noted_losses(self.subgroups, means, self.counts > 0)}

    def state(self) -> dict[str, Tensor]:
        """The number of steps."""
        return {"steps": torch.tensor(self.steps)}

    def load_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take up the number of steps."""
        self.steps = int(kept["steps"])


def noted_losses(subgroups: Subgroups, means: Tensor, there: Tensor) -> dict[str, float]:
    """The mean loss of each subgroup that is there, under its name."""
    rows = zip(subgroups.names, means.tolist(), there.tolist(), strict=True)
    return {f"loss of {name}": mean for name, mean, is_there in rows if is_there}


def membership(batch: Batch, size: int) -> Tensor:
    """Which subgroup each example belongs to: ones and zeros [E, G]."""
    assert batch.subgroups is not None, "the loop puts them into the batch"
    return functional.one_hot(batch.subgroups, size).float()


def see_subgroups(subgroups: Subgroups | None, objective: str) -> Subgroups:
    """See that there are several subgroups.

    Raises:
        TrainingError: the recipe names none, or all training examples are of one.
    """
    if subgroups is None:
        raise TrainingError(
            f"Objective {objective} needs subgroups of the training examples, and the recipe names none.",
            where="objective",
            to_do="Set data.subgroups, such as [source] or [source, label], to columns of the files.",
        )
    if len(subgroups.names) < 2:
        raise TrainingError(
            f"Objective {objective} compares subgroups, and all training examples are of one: {subgroups.names[0]}.",
            where="data.subgroups",
            to_do="Name a column with several values, or use objective: task.",
        )
    return subgroups
