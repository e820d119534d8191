"""Small bottlenecks inside the layers of a frozen body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import RecipeError
from tunesmith.methods.selective import learn_only
from tunesmith.models.anatomy import sublayer_outputs
from tunesmith.models.model import Model


class Bottleneck(nn.Module):
    """x + W2 gelu(W1 x): down to `size` and up again; W2 starts at zero, so that at first nothing changes."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """States [..., H] -> [..., H], computed in the bottleneck's own precision."""
        inner = functional.gelu(self.down(states.to(self.down.weight.dtype)))
        up: Tensor = self.up(inner)
        return states + up.to(states.dtype)


class AdaptedLinear(nn.Module):
    """A frozen linear layer with a bottleneck behind it."""

    def __init__(self, base_layer: nn.Linear, size: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.adapter = Bottleneck(base_layer.out_features, size).to(base_layer.weight.device)

    @property
    def weight(self) -> Tensor:
        """The frozen layer's matrix, at which some bodies look."""
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen layer's bias."""
        return self.base_layer.bias

    def forward(self, states: Tensor) -> Tensor:
        """The layer, then the bottleneck."""
        adapted: Tensor = self.adapter(self.base_layer(states))
        return adapted


@dataclass(frozen=True)
class Houlsby:
    """A bottleneck behind the attention and the feed-forward block of each layer (Houlsby et al. 2019, sec. 2.1).

    It cannot be merged, so the artifact keeps it. Nothing else of the body learns: the paper's learning norms are left
    out, for the sake of several adapters on one body.

    Refused: a body whose blocks are not known.

    Attributes:
        size: width of the bottleneck.
    """

    size: int = 64

    def __post_init__(self) -> None:
        see_size(self.size)

    @property
    def learning_rate(self) -> float:
        """New layers among frozen ones take larger steps."""
        return 1e-3

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put two bottlenecks into each layer."""
        attention, feed_forward = sublayer_outputs(model.body)
        insert_bottlenecks(model, [*attention, *feed_forward], self.size)

    def merge(self, model: Model) -> None:
        """A bottleneck is not linear, so it stays."""


@dataclass(frozen=True)
class Pfeiffer:
    """One bottleneck per layer, behind the feed-forward block (Pfeiffer et al. 2021, sec. 3.1).

    It cannot be merged, so the artifact keeps it.

    Refused: a body whose blocks are not known.

    Attributes:
        size: width of the bottleneck.
    """

    size: int = 48

    def __post_init__(self) -> None:
        see_size(self.size)

    @property
    def learning_rate(self) -> float:
        """New layers among frozen ones take larger steps."""
        return 1e-3

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put a bottleneck into each layer."""
        insert_bottlenecks(model, sublayer_outputs(model.body)[1], self.size)

    def merge(self, model: Model) -> None:
        """A bottleneck is not linear, so it stays."""


def insert_bottlenecks(model: Model, names: Sequence[str], size: int) -> None:
    """Put a bottleneck behind each of these linear layers of the body, and let only these learn."""
    for name in names:
        layer = model.body.get_submodule(name)
        assert isinstance(layer, nn.Linear), "anatomy names linear layers"
        parent, _, child = name.rpartition(".")
        model.body.get_submodule(parent).register_module(child, AdaptedLinear(layer, size))
    model.exact = (".adapter.",)
    learn_only(model, lambda name: ".adapter." in name)


def see_size(size: int) -> None:
    """See that a bottleneck has a width.

    Raises:
        RecipeError: it has none.
    """
    if size < 1:
        raise RecipeError("size must be at least 1.", where="method.size")
