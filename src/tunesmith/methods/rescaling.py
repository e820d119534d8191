"""Methods of the PEFT package that scale or turn what is there: IA3, OFT, norms."""

from __future__ import annotations

from dataclasses import dataclass

from peft import IA3Config, LNTuningConfig, OFTConfig
from torch import nn

from tunesmith.errors import RecipeError
from tunesmith.methods.peft_library import chosen_layers, inject, merge_adapters
from tunesmith.models.anatomy import keys_and_values, norms, sublayer_outputs
from tunesmith.models.model import Model


@dataclass(frozen=True)
class IA3:
    """Learnt factors on keys, values and the feed-forward block's inner activations (Liu et al. 2022, sec. 3.3)."""

    @property
    def learning_rate(self) -> float:
        """A handful of factors take large steps."""
        return 5e-3

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put factors of one beside them."""
        _, feed_forward = sublayer_outputs(model.body)
        targets = keys_and_values(model.body) + feed_forward
        inject(model, IA3Config(target_modules=targets, feedforward_modules=feed_forward), ("ia3_",))

    def merge(self, model: Model) -> None:
        """Multiply the factors into the matrices."""
        merge_adapters(model)


@dataclass(frozen=True)
class OFT:
    """Turn the neurons of a layer together by block-diagonal orthogonal matrices (Qiu et al. 2023, sec. 3).

    Refused: a block size that does not divide the width of every target.

    Attributes:
        block_size: inputs that are turned together; must divide the width of every target.
        targets: endings of the names of the linear layers to turn; empty means the query and value projections.
    """

    block_size: int = 32
    targets: tuple[str, ...] = ()

    @property
    def learning_rate(self) -> float:
        """A rotation starts as none, and takes larger steps than whole matrices."""
        return 2e-3

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put rotations before each target."""
        targets = chosen_layers(model, self.targets)
        see_blocks_fit(model, targets, self.block_size)
        # The approximate inverse would make the matrices not quite orthogonal, and merging not quite exact.
        config = OFTConfig(oft_block_size=self.block_size, r=0, target_modules=targets, use_cayley_neumann=False)
        inject(model, config, ("oft_",))

    def merge(self, model: Model) -> None:
        """Turn the matrices for good."""
        merge_adapters(model)


@dataclass(frozen=True)
class LayerNormTuning:
    """Only the gains and biases of the normalisation layers learn (Zhao et al. 2024).

    Refused: a body without normalisation layers that are known.
    """

    @property
    def learning_rate(self) -> float:
        """Vectors alone take larger steps."""
        return 1e-3

    def apply(self, model: Model) -> None:
        """Put a learning copy beside every normalisation layer."""
        found = norms(model.body)
        if not found:
            raise RecipeError(
                "This backbone has no normalisation layers that are known.", where="method", to_do="Use lora."
            )
        inject(model, LNTuningConfig(target_modules=found), ("ln_tuning_",))

    def merge(self, model: Model) -> None:
        """Put the learnt layers in the old ones' place."""
        merge_adapters(model)


def see_blocks_fit(model: Model, targets: list[str], block_size: int) -> None:
    """See that blocks of this size cover the inputs of every target.

    Raises:
        RecipeError: they do not.
    """
    for name, layer in model.body.named_modules():
        if isinstance(layer, nn.Linear) and any(name.endswith(target) for target in targets):
            width = layer.in_features
            if block_size < 2 or width % block_size:
                fitting = [size for size in (4, 8, 16, 32, 64) if width % size == 0]
                raise RecipeError(
                    f"Blocks of {block_size} do not cover the {width} inputs of '{name}'.",
                    where="method.block_size",
                    to_do=f"Use one of {', '.join(map(str, fitting))}.",
                )
