"""Optimisers: parameter groups, learning-rate schedules, and updates of only those embedding rows that a batch used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from tunesmith.errors import CheckpointError, RecipeError, TrainingError
from tunesmith.models.anatomy import is_tied, layer_index, number_of_layers
from tunesmith.models.model import Model


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that share a learning rate and a weight decay; `scale` multiplies the run's learning rate."""

    tensors: tuple[Tensor, ...]
    scale: float
    weight_decay: float


class OptimizerSettings(Protocol):
    """A family member that makes a torch optimiser over dense tensors and can say how rows are updated."""

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Make the optimiser; its learning rates are set before each step."""

    def build_rows(self, table: Tensor, weight_decay: float) -> Rows | None:
        """The update of single rows of `table`, or None where the optimiser has no such form."""


class Rows(Protocol):
    """Updates the rows of one table that have a gradient."""

    state: dict[str, Tensor]

    def step(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Move `rows` [R] of the table by their `gradient` [R, H]."""


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), fused where torch can.

    Attributes:
        beta1: decay of the mean gradient.
        beta2: decay of the mean squared gradient.
        epsilon: added to the root of the mean squared gradient.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= self.__dict__[name] < 1:
                raise RecipeError(f"{name} must be at least 0 and below 1.", where=f"optimizer.{name}")
        if self.epsilon <= 0:
            raise RecipeError("epsilon must be positive.", where="optimizer.epsilon")

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Make the optimiser."""
        parts = [{"params": list(group.tensors), "weight_decay": group.weight_decay} for group in groups]
        kind = groups[0].tensors[0].device.type
        return torch.optim.AdamW(
            parts, lr=0.0, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=kind in ("cpu", "cuda", "mps")
        )

    def build_rows(self, table: Tensor, weight_decay: float) -> Rows | None:
        """The same update for single rows."""
        return AdamRows(table, self, weight_decay)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: share of the last step that is kept, in [0, 1).
        nesterov: look ahead along the momentum.
    """

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise RecipeError("momentum must be at least 0 and below 1.", where="optimizer.momentum")
        if self.nesterov and not self.momentum:
            raise RecipeError(
                "nesterov looks ahead along the momentum, and there is none.",
                where="optimizer.nesterov",
                to_do="Set a momentum, or remove nesterov.",
            )

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Make the optimiser."""
        parts = [{"params": list(group.tensors), "weight_decay": group.weight_decay} for group in groups]
        return torch.optim.SGD(parts, lr=0.0, momentum=self.momentum, nesterov=self.nesterov)

    def build_rows(self, table: Tensor, weight_decay: float) -> Rows | None:
        """Momentum keeps rows moving after their last use, so there is no row form."""
        return None


OPTIMIZERS: dict[str, type[OptimizerSettings]] = {"adamw": AdamW, "sgd": SGD}


class AdamRows:
    """AdamW on the rows of an embedding table that a step used; the other rows and their averages rest.

    This is the "lazy" Adam known from sparse embeddings: equal to AdamW for rows that every step uses, and without the
    pull of old averages on rows that are not in the batch. It saves reading and writing the whole table at each step.
    """

    def __init__(self, table: Tensor, settings: AdamW, weight_decay: float) -> None:
        self._table = table
        self._settings = settings
        self._weight_decay = weight_decay
        self.state = {
            "mean": torch.zeros_like(table.data),
            "square": torch.zeros_like(table.data),
            "step": torch.zeros((), dtype=torch.int64),
        }

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Move `rows` by AdamW's update."""
        settings = self._settings
        count = int(self.state["step"].add_(1))
        mean = self.state["mean"][rows].lerp_(gradient, 1 - settings.beta1)
        square = self.state["square"][rows].mul_(settings.beta2).addcmul_(gradient, gradient, value=1 - settings.beta2)
        self.state["mean"][rows] = mean
        self.state["square"][rows] = square
        scale = math.sqrt(1 - settings.beta2**count)
        update = mean / (1 - settings.beta1**count) / (square.sqrt() / scale + settings.epsilon)
        values = self._table.data[rows]
        self._table.data[rows] = values - learning_rate * (update + self._weight_decay * values)


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the run: linear warm-up, then constant, linear or cosine decay to zero.

    Attributes:
        shape: "linear", "cosine" or "constant".
        warmup: share of all steps in which the rate rises from zero, in [0, 1).
    """

    shape: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise RecipeError("warmup is a share of the steps, at least 0 and below 1.", where="training.warmup")

    def factor(self, step: int, total: int) -> float:
        """What the peak learning rate is multiplied by at `step` (from 0) of `total`."""
        rising = round(self.warmup * total)
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, total - rising)
        if self.shape == "linear":
            return 1 - done
        return 0.5 * (1 + math.cos(math.pi * done)) if self.shape == "cosine" else 1.0


@dataclass(frozen=True)
class Grouping:
    """How parameters differ in their learning rate and decay.

    Attributes:
        weight_decay: decay of matrices; vectors (biases, norms) have none.
        layer_decay: each layer further down learns by this factor less (Howard and Ruder 2018, sec. 3.2); 1 is off.
        head_multiplier: the learning rate of what the checkpoint lacked, relative to the rest.
    """

    weight_decay: float = 0.01
    layer_decay: float = 1.0
    head_multiplier: float = 1.0

    def groups(self, model: Model, learning: Mapping[str, Tensor]) -> list[Group]:
        """Sort the learning tensors by rate and decay."""
        parts: dict[tuple[float, float], list[Tensor]] = {}
        for name, tensor in learning.items():
            parts.setdefault((self.scale(name, model), self.decay(tensor)), []).append(tensor)
        return [Group(tuple(tensors), scale, decay) for (scale, decay), tensors in parts.items()]

    def scale(self, name: str, model: Model) -> float:
        """What the learning rate of a parameter is multiplied by."""
        if name in model.lacking or not name.startswith("body."):
            return self.head_multiplier
        if self.layer_decay == 1:
            return 1.0
        # Lower layers hold general knowledge, so they move less.
        below_top = number_of_layers(model.body) + 1 - layer_index(name.removeprefix("body."), model.body)
        return float(self.layer_decay**below_top)

    def decay(self, tensor: Tensor) -> float:
        """The weight decay of a parameter."""
        return self.weight_decay if tensor.ndim > 1 else 0.0


class Optimizer:
    """One optimiser over dense tensors and, where it pays, another over the used rows of the word embeddings.

    Attributes:
        sparse_table: name of the table that is updated by rows, or an empty string.
    """

    def __init__(
        self, model: Model, learning: Mapping[str, Tensor], settings: OptimizerSettings, grouping: Grouping
    ) -> None:
        if not learning:
            raise TrainingError("No parameter learns.", where="method", to_do="Choose another method.")
        self._names = {id(tensor): name for name, tensor in learning.items()}
        table, name = _sparse_table(model, learning)
        rows = settings.build_rows(table, grouping.decay(table)) if table is not None else None
        self._table = table if rows is not None else None
        self._rows = rows
        self.sparse_table = name if rows is not None else ""
        if rows is not None:
            model.word_embeddings.sparse = True  # type: ignore[assignment]
        self._table_scale = grouping.scale(name, model) if rows is not None else 1.0
        dense = {key: tensor for key, tensor in learning.items() if tensor is not self._table}
        self._groups = grouping.groups(model, dense)
        self._dense = settings.build(self._groups) if self._groups else None

    def gradients(self) -> list[Tensor]:
        """All gradients, the table's as the values of its rows."""
        found = [tensor.grad for group in self._groups for tensor in group.tensors if tensor.grad is not None]
        if self._table is not None and self._table.grad is not None:
            gradient = self._table.grad
            # An objective that looks at the whole table gives a dense gradient, zero in rows that shall rest.
            self._table.grad = gradient.coalesce() if gradient.is_sparse else gradient.to_sparse(1)
            found.append(self._table.grad.values())
        return found

    def clip(self, limit: float) -> float:
        """Scale the gradients so that their common norm is at most `limit` (0 for no limit); return the norm before."""
        gradients = self.gradients()
        norm = torch.nn.utils.get_total_norm(gradients)
        if 0 < limit < float(norm):
            for gradient in gradients:
                gradient.mul_(limit / norm)
        return float(norm)

    def step(self, learning_rate: float) -> None:
        """Move everything that has a gradient."""
        if self._dense is not None:
            for part, group in zip(self._dense.param_groups, self._groups, strict=True):
                part["lr"] = learning_rate * group.scale
            self._dense.step()
        if self._rows is not None and self._table is not None and self._table.grad is not None:
            gradient = self._table.grad
            self._rows.step(gradient.indices()[0], gradient.values(), learning_rate * self._table_scale)

    def state(self) -> dict[str, Tensor]:
        """The averages of every tensor, as "name/average"."""
        kept: dict[str, Tensor] = {}
        for tensor, values in self._dense.state.items() if self._dense is not None else ():
            kept.update(
                {
                    f"{self._names[id(tensor)]}/{key}": value
                    for key, value in values.items()
                    if isinstance(value, Tensor)
                }
            )
        if self._rows is not None:
            kept.update({f"{self.sparse_table}/rows/{key}": value for key, value in self._rows.state.items()})
        return kept

    def load_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take up the averages that `state` returned.

        Raises:
            CheckpointError: they are of another form, since a CPU updates embeddings by rows and a GPU does not.
        """
        if any("/rows/" in key for key in kept) != (self._rows is not None):
            raise CheckpointError(
                "The checkpoint is from another kind of device: its averages of embeddings have another form.",
                to_do="Resume on the kind of device where the run began, or start anew.",
            )
        if self._dense is not None:
            for group in self._groups:
                for tensor in group.tensors:
                    start = f"{self._names[id(tensor)]}/"
                    values = {
                        key.removeprefix(start): value
                        for key, value in kept.items()
                        if key.startswith(start) and "/rows/" not in key
                    }
                    if values:
                        self._dense.state[tensor] = {key: value.to(tensor.device) for key, value in values.items()}
        if self._rows is not None:
            for key, value in self._rows.state.items():
                value.copy_(kept[f"{self.sparse_table}/rows/{key}"])


def _sparse_table(model: Model, learning: Mapping[str, Tensor]) -> tuple[Tensor | None, str]:
    """The word embeddings, if they learn, are not tied, and live on a CPU, where touching the table is dear.

    An encoder-decoder reads its table in two places.
    """
    is_shared = is_tied(model.body) or model.body.config.is_encoder_decoder
    for name, tensor in learning.items() if not is_shared else ():
        if tensor is model.word_embeddings.weight and tensor.device.type == "cpu":
            return tensor, name
    return None, ""
