"""The recipe's `model` section: which pre-trained model to start from, or none."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.errors import RecipeError
from tunesmith.models.quantization import Quantization
from tunesmith.models.scratch import SCRATCH, Sizes


@dataclass(frozen=True)
class Pretrained:
    """The pre-trained model to start from, or none.

    Attributes:
        name: a folder, a short name of the catalogue, a hub id, or "scratch" for random weights and a tokenizer that is
            learnt from the training texts.
        dropout: dropout in the body and before the head; none means what the model was trained with.
        quantize: hold the frozen linear layers in 4-bit NormalFloat (nf4, QLoRA) or 8-bit integers (int8) in training.
        layers: of a model from scratch; an encoder-decoder has so many of each.
        hidden_size, heads, feed_forward: the sizes of its layers.
        vocabulary: the most pieces that its tokenizer learns.
    """

    name: str = "minilm-l6"
    dropout: float | None = None
    quantize: Quantization | None = None
    layers: int = 3
    hidden_size: int = 256
    heads: int = 4
    feed_forward: int = 1024
    vocabulary: int = 8000

    def __post_init__(self) -> None:
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise RecipeError("dropout must be at least 0 and below 1.", where="model.dropout")
        self.sizes.check("model")
        if self.is_scratch and self.quantize is not None:
            raise RecipeError(
                "A model from scratch has no frozen layers to quantise.", where="model.quantize", to_do="Remove it."
            )
        usual = type(self).__dataclass_fields__
        changed = [name for name in self.sizes.__dict__ if self.__dict__[name] != usual[name].default]
        if changed and not self.is_scratch:
            raise RecipeError(
                f"{changed[0]} has no effect on a pre-trained model, which has its own.",
                where=f"model.{changed[0]}",
                to_do=f"Remove it, or use name: {SCRATCH}.",
            )

    @property
    def is_scratch(self) -> bool:
        """Whether there is no pre-trained model."""
        return self.name == SCRATCH

    @property
    def sizes(self) -> Sizes:
        """How large a model from scratch is."""
        return Sizes(self.layers, self.hidden_size, self.heads, self.feed_forward, self.vocabulary)
