"""A trained model whose matrices are held in 8 or 4 bits while it computes in float32.

Each matrix is held as integers and scales: W' = scale * codes, symmetric about zero, each scale the largest size in its
group over the largest code (Dettmers et al. 2022, sec. 2.1; the groups of 4 bits: Frantar et al. 2023, sec. 4). In 8
bits a group is a row, in 4 bits 32 neighbours of a row, two codes to a byte, and the scale is smaller where that costs
the largest weights less than it gains the others. Word vectors and the output layer, which
may share them, are held in 8 bits in both. The product is made with the matrix as float32, made anew at each pass: this
saves memory and disk and not time.

It is our own so that an artifact is read without a further package: torchao's int8 has the same codes, its packed
int4 has no kernel for CPUs, and its tensors are saved with the names of its classes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.errors import ModelError
from tunesmith.models.anatomy import is_tied
from tunesmith.models.quantization import linear_layers, memory

Held = Literal["int8", "int4"]
"""How the matrices of an artifact are held."""

GROUP = 32
"""Neighbours in a row that share a scale in 4 bits."""

_MOST: dict[Held, int] = {"int8": 127, "int4": 7}
_CUTS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
"""The shares of a group's largest weight that its largest code may stand for in 4 bits; what is beyond it is cut."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What it did to a model.

    Attributes:
        kind: how the weights are held.
        layers: the matrices that are.
        bytes_before: memory of all tensors of the body in float32.
        bytes_after: the same with the matrices held so.
        error: |W' - W| / |W| over all these matrices (Frobenius norm).
    """

    kind: Held
    layers: int
    bytes_before: int
    bytes_after: int
    error: float


class HeldMatrix(nn.Module):
    """A matrix [O, I] as codes and scales."""

    codes: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, kind: Held) -> None:
        super().__init__()
        self.kind = kind
        # What does not fall into groups is held by rows, and so are the 8 bits.
        self._group = GROUP if kind == "int4" and weight.shape[1] % GROUP == 0 else weight.shape[1]
        self._packed = kind == "int4" and weight.shape[1] % 2 == 0
        groups = weight.float().reshape(len(weight), -1, self._group)
        most = _MOST[kind]
        scales = (groups.abs().amax(-1) / most).clamp(min=torch.finfo(torch.float32).tiny)
        scales = least_error(groups, scales, most) if kind == "int4" else scales
        codes = coded(groups, scales, most).to(torch.int8).reshape(weight.shape)
        self.register_buffer("codes", packed(codes) if self._packed else codes)
        self.register_buffer("scales", scales.half() if kind == "int4" else scales)

    def rows(self, which: Tensor | None = None) -> Tensor:
        """The matrix in float32, or these rows of it [..., I]."""
        codes, scales = (self.codes, self.scales) if which is None else (self.codes[which], self.scales[which])
        whole = unpacked(codes) if self._packed else codes
        groups = whole.float().reshape(*whole.shape[:-1], -1, self._group)
        return (groups * scales.float()[..., None]).flatten(-2)


def coded(groups: Tensor, scales: Tensor, most: int) -> Tensor:
    """The nearest whole numbers from -most to most of groups [..., G] with scales [...]."""
    return (groups / scales[..., None]).round().clamp(-most, most)


def least_error(groups: Tensor, widest: Tensor, most: int) -> Tensor:
    """The scale of each group, in float16's numbers, at which its codes have the least squared error.

    Steps that are finer for the many are worth a cut of the largest (clipping: Banner et al. 2019; here by trying).
    """
    best, least = widest, torch.full_like(widest, torch.inf)
    for share in _CUTS:
        scales = (widest * share).half().float().clamp(min=2**-24)
        error = (coded(groups, scales, most) * scales[..., None] - groups).square().sum(-1)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


class HeldLinear(nn.Module):
    """A linear layer whose matrix is held in few bits."""

    def __init__(self, held: HeldMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.held = held
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [..., I] -> [..., O]."""
        return nn.functional.linear(inputs, self.held.rows().to(inputs.dtype), self.bias)


class HeldEmbedding(nn.Module):
    """A table of vectors that is held in few bits."""

    def __init__(self, held: HeldMatrix) -> None:
        super().__init__()
        self.held = held

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [...] -> vectors [..., H]."""
        return self.held.rows(ids)


def packed(codes: Tensor) -> Tensor:
    """Codes from -7 to 7 [O, I], two to a byte [O, I / 2]: the first in the lower half, each counted from -8."""
    shifted = (codes + 8).to(torch.uint8)
    return shifted[:, ::2] | (shifted[:, 1::2] << 4)


def unpacked(pairs: Tensor) -> Tensor:
    """The codes of `packed`, [..., I / 2] -> [..., I]."""
    return torch.stack((pairs & 15, pairs >> 4), dim=-1).flatten(-2).to(torch.int8) - 8


@torch.no_grad()
def hold_weights(body: PreTrainedModel, kind: Held) -> Holding:
    """Hold a body's matrices in few bits, in place; norms, biases and tables of positions stay as they are.

    Raises:
        ModelError: it has no linear layer that is its own.
    """
    layers = linear_layers(body)
    if not layers:
        raise ModelError(
            f"A {type(body).__name__} has no linear layers whose weights could be held in fewer bits.",
            to_do="Choose another form, or a model such as Llama or BERT.",
        )
    before, apart, size = memory(body), 0.0, 0.0
    for name, layer in layers.items():
        held = HeldMatrix(layer.weight, kind)
        apart, size = apart + _square(held.rows() - layer.weight), size + _square(layer.weight)
        _put(body, name, HeldLinear(held, layer.bias))
    count = len(layers)
    if own := _own_output(body):
        layer = cast(nn.Linear, body.get_submodule(own))
        held = HeldMatrix(layer.weight, "int8")
        apart, size = apart + _square(held.rows() - layer.weight), size + _square(layer.weight)
        _put(body, own, HeldLinear(held, layer.bias))
        count += 1
    for name, users in _tables(body).items():
        table = body.get_submodule(name)
        weight = cast(nn.Embedding, table).weight
        held = HeldMatrix(weight, "int8")
        apart, size = apart + _square(held.rows() - weight), size + _square(weight)
        _put(body, name, HeldEmbedding(held))
        for user in users:
            _put(body, user, HeldLinear(held, None))
        count += 1
    return Holding(kind, count, before, memory(body), (apart / size) ** 0.5 if size else 0.0)


def held_as(body: nn.Module) -> Held | None:
    """How a body's linear layers are held; None in float32."""
    kinds = [part.held.kind for part in body.modules() if isinstance(part, HeldLinear)]
    return None if not kinds else "int4" if "int4" in kinds else "int8"


def _tables(body: PreTrainedModel) -> dict[str, list[str]]:
    """The table of words by its name, with the output layer where both are one matrix; none where others share it."""
    table = body.get_input_embeddings()
    output: object = body.get_output_embeddings()  # type: ignore[no-untyped-call]
    users = Counter(id(parameter) for _, parameter in body.named_parameters(remove_duplicate=False))
    tied = is_tied(body)
    if type(table) is not nn.Embedding or users[id(table.weight)] != (2 if tied else 1):
        return {}
    names = {id(part): name for name, part in body.named_modules()}
    if not tied:
        return {names[id(table)]: []}
    is_plain = isinstance(output, nn.Linear) and output.state_dict().keys() == {"weight"}
    return {names[id(table)]: [names[id(output)]]} if is_plain else {}


def _own_output(body: PreTrainedModel) -> str:
    """The name of the output layer, where its matrix is its own; empty otherwise."""
    output: object = body.get_output_embeddings()  # type: ignore[no-untyped-call]
    users = Counter(id(parameter) for _, parameter in body.named_parameters(remove_duplicate=False))
    if type(output) is not nn.Linear or users[id(output.weight)] != 1:
        return ""
    names: dict[int, str] = {id(part): name for name, part in body.named_modules()}
    return names[id(output)]


def _put(body: nn.Module, name: str, part: nn.Module) -> None:
    place, _, last = name.rpartition(".")
    body.get_submodule(place).register_module(last, part)


def _square(values: Tensor) -> float:
    return float(values.double().square().sum())
