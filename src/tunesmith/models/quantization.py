"""A frozen body whose linear layers hold their weights in 4 or 8 bits while something beside them learns.

The layers stay linear layers to whoever looks: their `weight` is computed from the codes whenever it is read. After
training `dequantize` puts the plain matrices back, so that what is merged, evaluated, saved and served is one plain
model, whose body is the one that the adapters learnt beside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from tunesmith.errors import RecipeError, import_extra
from tunesmith.models.anatomy import core

Quantization = Literal["nf4", "int8"]
"""How weights are held: 4-bit NormalFloat with double quantisation, or 8-bit integers by rows."""

BLOCK = 64
"""Weights that share a scale in NormalFloat (Dettmers et al. 2023, sec. 3)."""

NAMES = {"nf4": "4-bit NormalFloat", "int8": "8-bit integers"}


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantising did to a body.

    Attributes:
        kind: how the weights are held.
        layers: the linear layers that were quantised.
        uncounted: weights that no parameter stands for any more, as one code may hold two.
        bytes_before: memory of the whole body's tensors in float32.
        bytes_after: memory of the whole body's tensors with the quantised layers.
        error: |W' - W| / |W| over all weights W of these layers and what stands for them, W' (Frobenius norm).
    """

    kind: Quantization
    layers: int
    uncounted: int
    bytes_before: int
    bytes_after: int
    error: float


class NormalFloat(nn.Module):
    """A matrix as 4-bit codes of the quantiles of a normal distribution (Dettmers et al. 2023, sec. 3).

    Blocks of 64 weights share a scale (their largest size), and the scales are themselves held in 8 bits, in blocks of
    256 (double quantisation).
    """

    def __init__(self, library: ModuleType, shape: torch.Size) -> None:
        super().__init__()
        self._library = library
        self._shape = shape
        # bitsandbytes on CPUs takes for granted that each row begins with a block, so rows are blocks here.
        self._rows = (-1, BLOCK) if shape.numel() % BLOCK == 0 else (1, -1)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """The codes of a matrix, two per byte; the scales become buffers."""
        rows = weight.reshape(self._rows)
        codes, state = self._library.quantize_4bit(rows, blocksize=BLOCK, compress_statistics=True, quant_type="nf4")
        self.register_buffer("scales", state.absmax)
        self.register_buffer("mean_scale", state.offset)
        self.register_buffer("outer_scales", state.state2.absmax)
        self.register_buffer("outer_levels", state.state2.code)
        self._outer_block = state.state2.blocksize
        return (codes,)

    def forward(self, codes: Tensor) -> Tensor:
        """The matrix in float32."""
        return self.matrix(codes, torch.float32)

    def matrix(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """The matrix in a precision."""
        library = self._library
        outer = library.QuantState(
            self.outer_scales, code=self.outer_levels, blocksize=self._outer_block, dtype=torch.float32
        )
        rows = torch.Size((self._shape.numel() // BLOCK, BLOCK) if self._rows[0] < 0 else (1, self._shape.numel()))
        state = library.QuantState(self.scales, rows, None, BLOCK, "nf4", dtype, offset=self.mean_scale, state2=outer)
        found: Tensor = library.dequantize_4bit(codes, state)
        return found.reshape(self._shape)


class EightBits(nn.Module):
    """A matrix as 8-bit integers, scaled by the largest of each row (Dettmers et al. 2022, sec. 2.1 and 3.1).

    These are the weights of LLM.int8(). Its activations in 8 bits, and so its way around their outliers, are left out:
    the layer computes as the dequantised one does that will be served.
    """

    def __init__(self, library: ModuleType, shape: torch.Size) -> None:
        super().__init__()
        self._library = library

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """The codes of a matrix; the scales become a buffer."""
        codes, scales, _ = self._library.int8_vectorwise_quant(weight.to(torch.float16))
        self.register_buffer("scales", scales)
        return (codes,)

    def forward(self, codes: Tensor) -> Tensor:
        """The matrix in float32."""
        return self.matrix(codes, torch.float32)

    def matrix(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """The matrix in a precision."""
        found: Tensor = self._library.int8_vectorwise_dequant(codes, self.scales)
        return found.to(dtype)


Codec = NormalFloat | EightBits
_CODECS: dict[Quantization, type[Codec]] = {"nf4": NormalFloat, "int8": EightBits}


class FrozenProduct(torch.autograd.Function):
    """Inputs times a matrix that is made from its codes in the forward and again in the backward pass, and not kept."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, codes: Tensor, codec: Codec) -> Tensor:
        """Inputs [..., D] -> [..., O]."""
        ctx.codes, ctx.codec = codes, codec
        return nn.functional.linear(inputs, codec.matrix(codes, inputs.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the inputs; the matrix has none."""
        (gradient,) = gradients
        return gradient @ ctx.codec.matrix(ctx.codes, gradient.dtype), None, None


@dataclass(frozen=True, eq=False)
class QuantizedForward:
    """What a linear layer computes while its weight is held in codes."""

    layer: nn.Linear
    codec: Codec

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs [..., D] -> [..., O], in the inputs' precision."""
        product: Tensor = FrozenProduct.apply(inputs, codes_of(self.layer), self.codec)  # type: ignore[no-untyped-call]
        bias: Tensor | None = self.layer.bias
        return product if bias is None else product + bias.to(product.dtype)


def codes_of(layer: nn.Module) -> Tensor:
    """The codes that a quantised layer holds."""
    return layer.get_parameter("parametrizations.weight.original0")


def quantized_layers(body: nn.Module) -> dict[str, nn.Linear]:
    """The layers by name whose weights are held in codes."""
    return {
        name: part
        for name, part in body.named_modules()
        if isinstance(part, nn.Linear) and isinstance(part.forward, QuantizedForward)
    }


@torch.no_grad()
def quantize(body: PreTrainedModel, kind: Quantization, lacking: Container[str] = ()) -> Quantized:
    """Hold the weights of a body's linear layers in few bits; the embeddings and the output layer stay as they are.

    Args:
        body: the body, changed in place.
        kind: how the weights are held.
        lacking: names of the body's weights that the checkpoint lacked; they will learn, and stay as they are.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
        RecipeError: the body has no linear layer.
    """
    library = import_extra("bitsandbytes.functional", "quantize")
    chosen = {name: layer for name, layer in linear_layers(body).items() if f"{name}.weight" not in lacking}
    if not chosen:
        raise RecipeError(
            f"A {type(body).__name__} has no linear layers whose weights could be held in fewer bits.",
            where="model.quantize",
            to_do="Leave model.quantize out, or choose a model such as Llama or BERT.",
        )
    before = memory(body)
    uncounted, apart, size = 0, 0.0, 0.0
    for layer in chosen.values():
        weight = layer.weight.detach()
        layer.weight.requires_grad_(False)
        codec = _CODECS[kind](library, weight.shape)
        parametrize.register_parametrization(layer, "weight", codec, unsafe=True)
        layer.forward = QuantizedForward(layer, codec)  # type: ignore[method-assign, assignment]
        uncounted += weight.numel() - codes_of(layer).numel()
        apart += float((layer.weight - weight).double().square().sum())
        size += float(weight.double().square().sum())
    return Quantized(kind, len(chosen), uncounted, before, memory(body), (apart / size) ** 0.5 if size else 0.0)


@torch.no_grad()
def dequantize(body: nn.Module) -> None:
    """Put plain float32 matrices in the place of all codes; nothing happens to a body without any."""
    for layer in quantized_layers(body).values():
        weight = layer.weight
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        del layer.weight, layer.forward
        layer.weight = nn.Parameter(weight, requires_grad=False)


def linear_layers(body: PreTrainedModel) -> dict[str, nn.Linear]:
    """A body's linear layers by name, without its output layer and those whose weights others share."""
    users = Counter(id(parameter) for _, parameter in body.named_parameters(remove_duplicate=False))
    output: object = body.get_output_embeddings()  # type: ignore[no-untyped-call]
    inner = {id(part) for part in core(body).modules()}
    return {
        name: part
        for name, part in body.named_modules()
        if type(part) is nn.Linear and id(part) in inner and part is not output and users[id(part.weight)] == 1
    }


def memory(module: nn.Module) -> int:
    """Bytes of a module's tensors, each counted once."""
    held = {tensor.data_ptr(): tensor.nbytes for tensor in [*module.parameters(), *module.buffers()]}
    return sum(held.values())
