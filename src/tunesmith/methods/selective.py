"""Methods that choose among the weights that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.errors import RecipeError
from tunesmith.models.anatomy import layer_index, number_of_layers
from tunesmith.models.model import Model


def learn_only(model: Model, chosen: Callable[[str], bool]) -> None:
    """Let the parameters learn that the checkpoint lacked or whose name is chosen; freeze the others.

    Raises:
        RecipeError: one of those is held in a few bits, between whose values no step could be made.
    """
    learning = {name for name, _ in model.named_parameters() if name in model.lacking or chosen(name)}
    for name, parameter in model.named_parameters():
        if name in learning and not parameter.is_floating_point():
            raise RecipeError(
                f"The method moves '{name.partition('.parametrizations')[0]}', which model.quantize holds in few bits.",
                where="method and model.quantize",
                to_do="Choose a method that learns beside frozen weights, such as lora, or leave model.quantize out.",
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)


@dataclass(frozen=True)
class Full:
    """Every weight learns."""

    @property
    def learning_rate(self) -> float:
        """A usual rate for full fine-tuning of encoders of this size."""
        return 5e-5

    def apply(self, model: Model) -> None:
        """Open everything."""
        learn_only(model, lambda _name: True)

    def merge(self, model: Model) -> None:
        """Nothing was added."""


@dataclass(frozen=True)
class HeadOnly:
    """Only the head, and what else the checkpoint lacked, learns: a linear probe."""

    @property
    def learning_rate(self) -> float:
        """A new layer alone takes large steps."""
        return 1e-3

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained body; a head that came with it learns on."""
        learn_only(model, lambda name: name.startswith("head."))

    def merge(self, model: Model) -> None:
        """Nothing was added."""


@dataclass(frozen=True)
class Nothing:
    """Nothing learns: for tasks that need no new weights, or that settle them without steps.

    Refused: a task with new weights, which would stay random.
    """

    @property
    def learning_rate(self) -> float:
        """Of no use, as there are no steps."""
        return 1e-3

    def apply(self, model: Model) -> None:
        """Freeze everything.

        Raises:
            RecipeError: the task has new weights, which would stay random.
        """
        if model.lacking:
            raise RecipeError(
                f"With method: none the new weights would stay random: {', '.join(sorted(model.lacking)[:3])}.",
                where="method",
                to_do="Use method: head_only, a task that needs no new weights, or a model that has them.",
            )
        model.requires_grad_(requires_grad=False)

    def merge(self, model: Model) -> None:
        """Nothing was added."""


@dataclass(frozen=True)
class TopLayers:
    """The last `layers` layers of the body and the head learn.

    Refused: more layers than the body has.

    Attributes:
        layers: how many layers, counted from the top.
    """

    layers: int = 2

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise RecipeError(
                "layers must be at least 1.",
                where="method.layers",
                to_do="Use head_only to train no layer of the body.",
            )

    @property
    def learning_rate(self) -> float:
        """As for full fine-tuning."""
        return 5e-5

    def apply(self, model: Model) -> None:
        """Open the last layers, and what follows them."""
        depth = number_of_layers(model.body)
        if self.layers > depth:
            raise RecipeError(
                f"The model has {depth} layers, not {self.layers}.",
                where="method.layers",
                to_do=f"Use at most {depth}, or method: full.",
            )
        learn_only(model, lambda name: layer_index(name.removeprefix("body."), model.body) > depth - self.layers)

    def merge(self, model: Model) -> None:
        """Nothing was added."""


@dataclass(frozen=True)
class BitFit:
    """Only bias terms learn (Ben Zaken et al. 2022, sec. 3).

    Refused: a body without bias terms.
    """

    @property
    def learning_rate(self) -> float:
        """Bias terms alone take larger steps (paper, appendix A.2)."""
        return 1e-3

    def apply(self, model: Model) -> None:
        """Open every bias, those of the layer norms included."""
        if not any(name.endswith("bias") for name, _ in model.body.named_parameters()):
            raise RecipeError(
                "This backbone has no bias terms, so BitFit would train only the head.",
                where="method",
                to_do="Use lora or head_only.",
            )
        learn_only(model, lambda name: name.endswith("bias"))

    def merge(self, model: Model) -> None:
        """Nothing was added."""
