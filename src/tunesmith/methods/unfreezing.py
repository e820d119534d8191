"""Opening a body layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tunesmith.errors import RecipeError
from tunesmith.methods.selective import learn_only
from tunesmith.models.anatomy import layer_index, number_of_layers
from tunesmith.models.model import Model


@dataclass(frozen=True)
class GradualUnfreezing:
    """The head learns first, then one layer more from the top at a time (Howard and Ruder 2018, sec. 3.3).

    Refused: a body whose layers are not known.

    Attributes:
        until: share of the steps after which every layer is open.
    """

    until: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise RecipeError("until is a share of the steps, above 0 and at most 1.", where="method.until")

    @property
    def learning_rate(self) -> float:
        """As for full fine-tuning."""
        return 5e-5

    def apply(self, model: Model) -> Unfreezing:
        """Every weight will learn; the steps decide from when on."""
        number_of_layers(model.body)  # says so where the layers are not known
        learn_only(model, lambda _name: True)
        return Unfreezing(self.until, model)

    def merge(self, model: Model) -> None:
        """Nothing was added."""


@dataclass(frozen=True)
class Unfreezing:
    """Opens the layers from the top down, evenly over the first `until` of all steps."""

    until: float
    model: Model

    def before(self, step: int, total: int) -> None:
        """Open the layers whose turn has come; a head without weights leaves its turn to what lies below."""
        depth = number_of_layers(self.model.body)
        stages = depth + 2  # the head, what follows the layers, each layer, the embeddings
        opened = min(stages, int(step / max(1.0, self.until * total) * stages))
        stage_of = {
            name: layer_index(name.removeprefix("body."), self.model.body) if name.startswith("body.") else depth + 2
            for name, _ in self.model.named_parameters()
        }
        lowest = min(depth + 2 - opened, max(stage_of.values()))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.model.lacking or stage_of[name] >= lowest)

    def after(self, step: int, total: int) -> None:
        """Nothing is decided by gradients."""

    def penalty(self) -> Tensor | None:
        """Nothing is added to the loss."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What is open depends on the step alone."""
        return {}

    def load_state(self, kept: dict[str, Tensor]) -> None:
        """Nothing was kept."""
