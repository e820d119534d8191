"""Methods of the PEFT package, put into the body without wrapping it."""

from __future__ import annotations

from dataclasses import dataclass

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from tunesmith.errors import RecipeError
from tunesmith.methods.selective import learn_only
from tunesmith.models.anatomy import attention_projections
from tunesmith.models.model import Model


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates beside frozen weight matrices (Hu et al. 2022, sec. 4).

    Attributes:
        rank: rank r of each update.
        alpha: the update is scaled by alpha / rank.
        dropout: dropout before the update, in [0, 1).
        targets: endings of the names of the linear layers to update; empty means the query and value projections.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise RecipeError("rank must be at least 1.", where="method.rank")
        if self.alpha <= 0:
            raise RecipeError("alpha must be positive.", where="method.alpha")
        if not 0 <= self.dropout < 1:
            raise RecipeError("dropout must be at least 0 and below 1.", where="method.dropout")

    @property
    def learning_rate(self) -> float:
        """Low-rank updates take larger steps than whole matrices."""
        return 5e-4

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put an update beside each target."""
        targets = list(self.targets or attention_projections(model.body))
        for target in targets:
            if not any(
                name.endswith(target) and isinstance(module, nn.Linear) for name, module in model.body.named_modules()
            ):
                linear = sorted(
                    {
                        name.rsplit(".", 1)[-1]
                        for name, module in model.body.named_modules()
                        if isinstance(module, nn.Linear)
                    }
                )
                raise RecipeError(
                    f"No linear layer's name ends in '{target}'.",
                    where="method.targets",
                    to_do=f"Endings in this model: {', '.join(linear)}.",
                )
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=targets,
            bias="none",
        )
        inject_adapter_in_model(config, model.body)
        learn_only(model, lambda name: "lora_" in name)

    def merge(self, model: Model) -> None:
        """Add each update to its matrix and put the plain layer back."""
        for name, module in list(model.body.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
                parent, _, child = name.rpartition(".")
                setattr(model.body.get_submodule(parent), child, module.get_base_layer())
