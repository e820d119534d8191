"""Training in bfloat16 with the weights kept in float32.

Autocast casts every weight and activation again in each forward pass. Here the body's layers hold bfloat16 copies, made
once per step from the float32 weights that the optimiser moves (Micikevicius et al. 2018, sec. 3.1, with bfloat16
instead of loss scaling). The embedding tables and the head stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tunesmith.models.anatomy import fixed_positions, is_tied
from tunesmith.models.model import Model


class MasterWeights:
    """The float32 weights of a model whose body computes in bfloat16; with `enabled=False` it changes nothing."""

    def __init__(self, model: Model, *, enabled: bool) -> None:
        self._model = model
        self._low = _layers(model) if enabled else []
        self._high = [parameter.detach().clone() for parameter in self._low]
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._lower()

    def learning(self) -> dict[str, Tensor]:
        """The tensors that an optimiser moves, by parameter name: the float32 weights of all that learns."""
        masters = {id(low): high for low, high in zip(self._low, self._high, strict=True)}
        return {
            name: masters.get(id(parameter), parameter)
            for name, parameter in self._model.named_parameters()
            if parameter.requires_grad
        }

    def collect_gradients(self) -> None:
        """Move the layers' gradients to the float32 weights."""
        for low, high in zip(self._low, self._high, strict=True):
            if low.grad is not None:
                high.grad = low.grad.float()
                low.grad = None

    def publish(self) -> None:
        """Copy the moved float32 weights into the layers, and forget all gradients."""
        with torch.no_grad():
            for low, high in zip(self._low, self._high, strict=True):
                if low.requires_grad:
                    low.copy_(high)
                high.grad = None
        for parameter in self._model.parameters():
            parameter.grad = None

    @contextmanager
    def full_precision(self) -> Iterator[Model]:
        """The model in float32, as it will be saved, for the time of the block."""
        self._raise()
        try:
            yield self._model
        finally:
            self._lower()

    def finish(self) -> None:
        """Put the float32 weights into the model for good."""
        self._raise()
        self._low, self._high = [], []

    def _lower(self) -> None:
        """Let the layers compute in bfloat16, and hand them the embeddings' output in it."""
        for low, high in zip(self._low, self._high, strict=True):
            low.data = high.to(torch.bfloat16)
        block = self._model.embedding_block
        exact = [*fixed_positions(self._model.body), *([block] if block is not None else [])] if self._low else []
        self._hooks = [
            part.register_forward_hook(lambda _module, _inputs, output: output.to(torch.bfloat16)) for part in exact
        ]

    def _raise(self) -> None:
        for low, high in zip(self._low, self._high, strict=True):
            low.data = high
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _layers(model: Model) -> list[nn.Parameter]:
    """The floating-point parameters of the body outside its embeddings, unless its output layer shares these."""
    block = None if is_tied(model.body) else model.embedding_block
    kept = {id(parameter) for parameter in block.parameters()} if block is not None else set()
    return [
        parameter
        for name, parameter in model.body.named_parameters()
        if id(parameter) not in kept and parameter.is_floating_point() and not any(part in name for part in model.exact)
    ]
