"""Weights set to zero while the model trains, ever more of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from tunesmith.compression.layer_drop import layers_in
from tunesmith.compression.pruning import check_rate
from tunesmith.compression.trained import Compressed, Lesson, Trained, Workshop
from tunesmith.errors import RecipeError
from tunesmith.models.anatomy import layer_list
from tunesmith.models.model import Model
from tunesmith.tasks import Task

By = Literal["magnitude", "movement"]


@dataclass(frozen=True)
class Sparsity:
    """Single weights of the layers are set to zero while the model trains on, the same share of each matrix.

    The share rises as s_t = s * (1 - (1 - t / n)^3) (Zhu and Gupta 2017, eq. 1 from 0). By magnitude the smallest
    weights are zero; by movement those with the lowest score S = -sum dL/dW * W over the steps, that is those that move
    towards zero (Sanh et al. 2020, sec. 4). Gradients pass to weights that are zero as well, so that they may return.
    The weights of the last step are kept. An artifact holds zeros like other numbers: it becomes smaller when packed,
    and no faster.

    Attributes:
        share: of each matrix, how much is zero at the end.
        by: what is set to zero first.
        epochs: passes over the training examples.
        learning_rate: the peak rate; none means the recipe's.
        begin: share of the steps before the first weight is zero.
        settled: share of the steps at the end in which no further weight is.
    """

    share: float = 0.5
    by: By = "magnitude"
    epochs: int = 3
    learning_rate: float | None = None
    begin: float = 0.1
    settled: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise RecipeError("share must lie above 0 and below 1.", where="sparsity.share", to_do="Try 0.5.")
        if self.epochs < 1:
            raise RecipeError("epochs must be at least 1.", where="sparsity.epochs")
        if min(self.begin, self.settled) < 0 or self.begin + self.settled >= 1:
            raise RecipeError(
                "begin and settled are shares of the steps and must leave some between them.", where="sparsity.begin"
            )
        check_rate("sparsity", self.learning_rate)

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return 1

    def check(self, model: Model, task: Task) -> None:
        """Raise a ModelError where the body's layers are not known."""
        layers_in(model, "sparsity")

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Train, setting weights to zero."""
        model = trained.model
        rule = Ramp(self, model)
        model.rule = rule
        try:
            workshop.teach(trained, Lesson("ramp", self.epochs, self.learning_rate, chooses=False, exact=True))
        finally:
            model.rule = None
        weights = list(matrices(model).values())
        zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
        packed = sum(len(zlib.compress(weight.detach().cpu().numpy().tobytes(), 1)) for weight in weights)
        whole = sum(weight.nbytes for weight in weights)
        said = (
            f"{100 * zeros:.1f} % of the weights of {len(weights)} matrices are zero (by {self.by}). On disk and in "
            f"time this changes nothing; packed they take {packed / 1e6:.1f} MB of {whole / 1e6:.1f} MB."
        )
        return Compressed(trained, {"zeros": zeros, "packed": packed, "matrices": whole}, (said,))


def matrices(model: Model) -> dict[str, Tensor]:
    """The weights of the linear layers within the body's layers, by name."""
    _, layers = layer_list(model.body)
    return {
        f"{place}.{name}.weight": part.weight
        for place, layer in enumerate(layers)
        for name, part in layer.named_modules()
        if isinstance(part, nn.Linear)
    }


@dataclass
class Ramp:
    """Sets weights to zero between steps; what they would be is kept beside the model, which always holds the zeros.

    Attributes:
        settings: how many, by what, and when.
        model: the model.
        hidden: what the weights that are zero would be, by matrix.
        scores: of movement, by matrix.
    """

    settings: Sparsity
    model: Model
    hidden: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    _before: dict[str, Tensor] = field(default_factory=dict)

    def before(self, step: int, total: int) -> None:
        """Note the weights, which the score of movement needs as they were in the step."""
        if self.settings.by == "movement":
            self._before = {name: self._whole(name, weight) for name, weight in matrices(self.model).items()}

    def after(self, step: int, total: int) -> None:
        """Move the hidden weights as the step did, and choose anew what is zero."""
        share = share_at(self.settings, step + 1, total)
        with torch.no_grad():
            for name, weight in matrices(self.model).items():
                whole = self._whole(name, weight)
                order = whole.abs()
                if self.settings.by == "movement":
                    old = self.scores.get(name, torch.zeros_like(whole))
                    moved = 0 if weight.grad is None else weight.grad * self._before[name]
                    order = self.scores[name] = old - moved
                zero = lowest(order, share)
                self.hidden[name] = whole * zero
                weight.copy_(whole * ~zero)

    def _whole(self, name: str, weight: Tensor) -> Tensor:
        """A matrix as if nothing were zero."""
        hidden = self.hidden.get(name)
        return weight.detach().clone() if hidden is None else weight.detach() + hidden.to(weight.device)

    def penalty(self) -> Tensor | None:
        """Nothing is added to the loss."""
        return None

    def state(self) -> dict[str, Tensor]:
        """The hidden weights and the scores."""
        kept = {f"hidden/{name}": value for name, value in self.hidden.items()}
        return kept | {f"scores/{name}": value for name, value in self.scores.items()}

    def load_state(self, kept: dict[str, Tensor]) -> None:
        """Take up what `state` returned."""
        for start, values in (("hidden/", self.hidden), ("scores/", self.scores)):
            values |= {name.removeprefix(start): value for name, value in kept.items() if name.startswith(start)}


def share_at(settings: Sparsity, step: int, total: int) -> float:
    """The share of each matrix that is zero after `step` of `total` steps."""
    first, last = settings.begin * total, (1 - settings.settled) * total
    if step <= first:
        return 0.0
    return settings.share * (1 - max(0.0, 1 - (step - first) / (last - first)) ** 3)


def lowest(values: Tensor, share: float) -> Tensor:
    """A mask of this share of the values, the lowest; of equal ones the first."""
    count = round(share * values.numel())
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    mask[values.flatten().argsort(stable=True)[:count]] = True
    return mask.view_as(values)
