"""Which weights learn: a method freezes, opens or adds parameters, and can merge what it added."""

from __future__ import annotations

from typing import Protocol

from tunesmith.methods.peft_library import LoRA
from tunesmith.methods.selective import BitFit, Full, HeadOnly, Nothing, TopLayers
from tunesmith.models.model import Model
from tunesmith.models.step_rule import StepRule


class Method(Protocol):
    """A choice of learning weights. What the checkpoint lacked (`model.lacking`) learns under every method.

    A method whose weights are still there after `merge` is applied again before an artifact's weights are read.
    """

    @property
    def learning_rate(self) -> float:
        """The peak learning rate to use when the recipe names none."""

    def apply(self, model: Model) -> StepRule | None:
        """Set `requires_grad` of every parameter, and add parameters where the method has its own.

        Returns:
            what the method does between steps, or None.
        """

    def merge(self, model: Model) -> None:
        """Fold added parameters into the pre-trained ones, where the model's answers stay exactly the same."""


METHODS: dict[str, type[Method]] = {
    "full": Full,
    "head_only": HeadOnly,
    "top_layers": TopLayers,
    "bitfit": BitFit,
    "lora": LoRA,
    "none": Nothing,
}

__all__ = ["METHODS", "BitFit", "Full", "HeadOnly", "LoRA", "Method", "Nothing", "StepRule", "TopLayers"]
