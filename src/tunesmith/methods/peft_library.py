"""How adapters of the PEFT package are put into a body without wrapping it, and taken in again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from tunesmith.errors import RecipeError
from tunesmith.methods.selective import learn_only
from tunesmith.models.anatomy import attention_projections
from tunesmith.models.model import Model

_OWN_PRECISION = ("lora_", "oft_")
"""What casts its inputs to its own precision and back."""


def inject(model: Model, config: PeftConfig, marks: Sequence[str]) -> None:
    """Put the adapters of a configuration into the body; only parameters whose name holds one of `marks` learn."""
    with warnings.catch_warnings():
        # It warns of every layer norm that its width is not known.
        warnings.simplefilter("ignore", UserWarning)
        inject_adapter_in_model(config, model.body)
    model.exact = tuple(mark for mark in marks if mark in _OWN_PRECISION)
    learn_only(model, lambda name: any(mark in name for mark in marks))


def merge_adapters(model: Model) -> None:
    """Fold each adapter into the layer that it stands beside, and put the plain layer back."""
    for name, module in list(model.body.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.body.get_submodule(parent), child, module.get_base_layer())


def chosen_layers(model: Model, targets: Sequence[str]) -> list[str]:
    """The endings of the linear layers to update: those named, or the query and value projections.

    Raises:
        RecipeError: no linear layer's name ends so.
    """
    linear = [name for name, module in model.body.named_modules() if isinstance(module, nn.Linear)]
    chosen = list(targets or attention_projections(model.body))
    for target in chosen:
        if not any(name.endswith(target) for name in linear):
            endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
            raise RecipeError(
                f"No linear layer's name ends in '{target}'.",
                where="method.targets",
                to_do=f"Endings in this model: {', '.join(endings)}.",
            )
    return chosen


def check_update(rank: int, alpha: float, dropout: float) -> None:
    """See that the numbers of a low-rank update make sense.

    Raises:
        RecipeError: one does not.
    """
    if rank < 1:
        raise RecipeError("rank must be at least 1.", where="method.rank")
    if alpha <= 0:
        raise RecipeError("alpha must be positive.", where="method.alpha")
    if not 0 <= dropout < 1:
        raise RecipeError("dropout must be at least 0 and below 1.", where="method.dropout")
