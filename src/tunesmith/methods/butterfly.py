"""Rotations of a layer's inputs by butterfly products of small orthogonal blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError
from tunesmith.methods.peft_library import chosen_layers
from tunesmith.methods.selective import learn_only
from tunesmith.models.model import Model


class Butterfly(nn.Module):
    """An orthogonal matrix over D inputs: factor k turns groups of `block` inputs that stand block^k places apart.

    Each group's rotation is the Cayley transform of a skew-symmetric matrix, and starts as none.
    """

    def __init__(self, width: int, block: int, factors: int) -> None:
        super().__init__()
        self.block = block
        self.generators = nn.Parameter(torch.zeros(factors, width // block, block, block))

    def rotations(self) -> Tensor:
        """The blocks of every factor [K, D / B, B, B]: (I - S)(I + S)^-1 with S the skew part of the parameters."""
        skew = (self.generators - self.generators.transpose(-1, -2)) / 2
        identity = torch.eye(self.block, device=skew.device, dtype=skew.dtype)
        turned: Tensor = torch.linalg.solve(identity + skew, identity - skew)
        return turned

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn inputs [..., D], in this module's own precision."""
        turned = inputs.to(self.generators.dtype)
        for place, blocks in enumerate(self.rotations()):
            apart = self.block**place
            # [..., groups, block, apart]: the middle axis runs over the inputs that are turned together.
            grouped = turned.reshape(*turned.shape[:-1], -1, self.block, apart).transpose(-1, -2)
            square = blocks.view(-1, apart, self.block, self.block)
            turned = torch.einsum("...gai,gaij->...gaj", grouped, square).transpose(-1, -2).flatten(-3)
        return turned.to(inputs.dtype)


class TurnedLinear(nn.Module):
    """A frozen linear layer whose inputs are turned first."""

    def __init__(self, base_layer: nn.Linear, block: int, factors: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.butterfly = Butterfly(base_layer.in_features, block, factors).to(base_layer.weight.device)

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer of the turned inputs."""
        turned: Tensor = self.base_layer(self.butterfly(inputs))
        return turned

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer that gives the same: each row of its matrix turned the other way."""
        turned = self.butterfly(torch.eye(self.base_layer.in_features, device=self.base_layer.weight.device))
        self.base_layer.weight.copy_(self.base_layer.weight @ turned.T)
        return self.base_layer


@dataclass(frozen=True)
class BOFT:
    """Turn a layer's inputs by a butterfly of orthogonal blocks (Liu et al. 2024, Orthogonal Butterfly, sec. 4).

    Written here and not taken from PEFT, which without a CUDA compiler falls back to one factor and says so in a
    warning only.

    Refused: a block size whose power `factors` does not divide the width of every target.

    Attributes:
        block_size: inputs that are turned together; its power `factors` must divide the width of every target.
        factors: butterfly factors; 1 is plain OFT.
        targets: endings of the names of the linear layers to turn; empty means the query and value projections.
    """

    block_size: int = 8
    factors: int = 2
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.block_size < 2 or self.factors < 1:
            raise RecipeError("block_size must be at least 2 and factors at least 1.", where="method")

    @property
    def learning_rate(self) -> float:
        """As for OFT."""
        return 2e-3

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put a butterfly before each target.

        Raises:
            RecipeError: its groups do not cover the inputs of a target.
        """
        targets = chosen_layers(model, self.targets)
        for name, layer in list(model.body.named_modules()):
            if isinstance(layer, nn.Linear) and any(name.endswith(target) for target in targets):
                if layer.in_features % self.block_size**self.factors:
                    raise RecipeError(
                        f"{layer.in_features} inputs ('{name}') are no multiple of {self.block_size}^{self.factors}.",
                        where="method.block_size",
                        to_do="Use a smaller block_size, such as 4, or fewer factors.",
                    )
                parent, _, child = name.rpartition(".")
                turned = TurnedLinear(layer, self.block_size, self.factors)
                model.body.get_submodule(parent).register_module(child, turned)
        model.exact = (".butterfly.",)
        learn_only(model, lambda name: ".butterfly." in name)

    def merge(self, model: Model) -> None:
        """Turn the matrices for good and put the plain layers back."""
        for name, layer in list(model.body.named_modules()):
            if isinstance(layer, TurnedLinear):
                parent, _, child = name.rpartition(".")
                model.body.get_submodule(parent).register_module(child, layer.merged())
