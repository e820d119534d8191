"""Which weights learn: a method freezes, opens or adds parameters, and can merge what it added."""

from __future__ import annotations

from typing import Protocol

from tunesmith.methods.peft_library import LoRA
from tunesmith.methods.selective import BitFit, Full, HeadOnly, TopLayers
from tunesmith.models.model import Model


class Method(Protocol):
    """A choice of learning weights. What the checkpoint lacked (`model.lacking`) learns under every method."""

    @property
    def learning_rate(self) -> float:
        """The peak learning rate to use when the recipe names none."""

    def apply(self, model: Model) -> None:
        """Set `requires_grad` of every parameter, and add parameters where the method has its own."""

    def merge(self, model: Model) -> None:
        """Fold added parameters into the pre-trained ones, so that the model has its original form."""


METHODS: dict[str, type[Method]] = {
    "full": Full,
    "head_only": HeadOnly,
    "top_layers": TopLayers,
    "bitfit": BitFit,
    "lora": LoRA,
}

__all__ = ["METHODS", "BitFit", "Full", "HeadOnly", "LoRA", "Method", "TopLayers"]
