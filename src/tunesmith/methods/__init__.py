"""Which weights learn: a method freezes, opens or adds parameters, and can merge what it added."""

from __future__ import annotations

from typing import Protocol

from tunesmith.methods.adapter import Houlsby, Pfeiffer
from tunesmith.methods.adaptive_rank import AdaLoRA
from tunesmith.methods.butterfly import BOFT
from tunesmith.methods.low_rank import DoRA, LoRA, RsLoRA
from tunesmith.methods.prompts import PrefixTuning, PromptTuning, PTuningV2
from tunesmith.methods.rescaling import IA3, OFT, LayerNormTuning
from tunesmith.methods.selective import BitFit, Full, HeadOnly, Nothing, TopLayers
from tunesmith.methods.unfreezing import GradualUnfreezing
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
    "none": Nothing,
    "top_layers": TopLayers,
    "gradual_unfreezing": GradualUnfreezing,
    "bitfit": BitFit,
    "lora": LoRA,
    "rslora": RsLoRA,
    "dora": DoRA,
    "adalora": AdaLoRA,
    "ia3": IA3,
    "oft": OFT,
    "boft": BOFT,
    "layer_norms": LayerNormTuning,
    "houlsby": Houlsby,
    "pfeiffer": Pfeiffer,
    "prefix_tuning": PrefixTuning,
    "p_tuning_v2": PTuningV2,
    "prompt_tuning": PromptTuning,
}

__all__ = [
    "METHODS",
    "BitFit",
    "Full",
    "HeadOnly",
    "LoRA",
    "Method",
    "Nothing",
    "StepRule",
    "TopLayers",
]
