"""An ONNX file looked at before ONNX Runtime reads it: what its graph computes with, and what its constants may take.

What a graph computes while it answers is bounded by its session's memory (`onnx_session.py`). This is about the rest:
constants that are made, unpacked or packed while the graph is loaded, and operators that keep to no such bound.

The file is a message of protocol buffers (https://protobuf.dev/programming-guides/encoding), of which the few fields
that matter are read here, so that the package onnx is not needed where a model only answers. The numbers of the fields
are those of onnx.proto, IR version 13.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.errors import ArtifactError

OPERATORS = frozenset(
    {
        "Abs", "Add", "And", "ArgMax", "ArgMin", "Attention", "Cast", "CastLike", "Ceil", "Clip", "Concat",
        "Constant", "ConstantOfShape", "Cos", "CumSum", "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Elu",
        "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
        "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LayerNormalization",
        "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "MatMulInteger", "Max", "Mean", "Min",
        "Mish", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "QLinearMatMul", "QuantizeLinear", "RMSNormalization",
        "Range", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Relu", "Reshape", "RotaryEmbedding", "Round", "ScatterElements", "ScatterND", "Shape",
        "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
        "Swish", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
    }
)  # fmt: skip
"""What encoders are made of. No loops or branches, sequences, texts, random numbers, pictures or recurrent layers."""
MOST_SHARE, FLOOR = 24, 64 << 20
"""What constants may take, in bytes per byte of the file, and at least: 8 bits as floats, in two copies, and padded."""
MOST_FIELDS = 1_000_000
"""Fields that are read of one file; a model of 48 layers has some 50,000."""
_BLOCK = 64
"""Kernels pad rows and columns of a packed matrix to at most so many."""
_PER_NUMBER = 8
"""Bytes that one number of a constant may take: 4 as it is (or 1 made into 4), and 4 packed."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WORD = 64
Value = int | memoryview


def see_harmless(path: Path) -> int:
    """See that loading a graph cannot take memory without end; the most bytes that its constants may take then.

    Raises:
        ArtifactError: it cannot be read, or has what no export writes: other operators, graphs within graphs,
            functions, weights in other files, sparse ones, or constants that grow far beyond the file.
    """
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise _unreadable(path) from error
    graph = _Graph(path)
    for number, value in graph.fields(content):
        if number == 7:
            graph.read(value)
        elif number in (20, 25):
            raise graph.foreign("functions or a training of its own")
    taken, most = graph.taken(), MOST_SHARE * len(content) + FLOOR
    if taken > most:
        raise ArtifactError(
            f"The graph's constants may take {taken >> 20} MB, out of a file of {len(content) >> 20} MB.",
            where=str(path),
            to_do="Do not load it. No export writes such a graph.",
        )
    return taken


@dataclass(frozen=True, slots=True)
class _Size:
    """How many numbers a constant has, as it is and with rows and columns padded."""

    plain: int = 0
    padded: int = 0


@dataclass(slots=True)
class _Graph:
    """What was read so far.

    Attributes:
        path: the file.
        constants: the sizes of constants, by name.
        nodes: operator, inputs and outputs of each node.
        seen: how many fields were read.
    """

    path: Path
    constants: dict[str, _Size] = field(default_factory=dict)
    nodes: list[tuple[str, list[str], list[str]]] = field(default_factory=list)
    seen: int = 0

    def foreign(self, what: str) -> ArtifactError:
        return ArtifactError(
            f"The graph has {what}, which no export writes.",
            where=str(self.path),
            to_do="Export the artifact again with this version: tunesmith export. Do not load it from elsewhere.",
        )

    def read(self, value: Value) -> None:
        """Read a graph, or one of the parts in which a file may hold it."""
        for number, part in self.fields(value):
            if number == 1:
                self._node(part)
            elif number == 5:
                self._keep(*self._tensor(part))
            elif number == 15:
                raise self.foreign("sparse constants")

    def taken(self) -> int:
        """The bytes that constants may take, counted once for each node that reads them."""
        read: set[str] = set()
        total = 0
        for operator, inputs, outputs in self.nodes:
            given = [name for name in inputs if name]
            sizes = [self.constants.get(name, _Size()) for name in given]
            read.update(given)
            total += sum(one.padded for one in sizes)
            if not read.isdisjoint(name for name in outputs if name):
                raise self.foreign("nodes out of order")
            # What is computed of constants alone may become one, in another shape, which is padded in another way.
            if given and all(name in self.constants for name in given):
                plain = sum(one.plain for one in sizes)
                moved = _Size(plain, _BLOCK * plain + _BLOCK * _BLOCK)
                for name in outputs:
                    self._keep(name, sizes[0] if operator == "DequantizeLinear" else moved)
        return _PER_NUMBER * total

    def fields(self, message: Value) -> Iterator[tuple[int, Value]]:
        """The fields of a message: the number of each, and its content or number."""
        if isinstance(message, int):
            raise _unreadable(self.path)
        at, end = 0, len(message)
        while at < end:
            self.seen += 1
            if self.seen > MOST_FIELDS:
                raise self.foreign(f"more than {MOST_FIELDS} fields")
            key, at = self._varint(message, at)
            kind = key & 7
            if kind == _VARINT:
                value, at = self._varint(message, at)
                yield key >> 3, value
                continue
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
            if kind == _BYTES:
                length, at = self._varint(message, at)
            if length < 0 or at + length > end:
                raise _unreadable(self.path)
            yield key >> 3, message[at : at + length]
            at += length

    def _varint(self, message: memoryview, at: int) -> tuple[int, int]:
        found = shift = 0
        while at < len(message) and shift < _WORD:
            byte = message[at]
            at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return found, at
        raise _unreadable(self.path)

    def _keep(self, name: str, size: _Size) -> None:
        """Note a constant's size; the largest one counts where a name stands twice."""
        self.constants[name] = max(size, self.constants.get(name, size), key=lambda one: one.padded)

    def _node(self, value: Value) -> None:
        inputs: list[str] = []
        outputs: list[str] = []
        operator = domain = ""
        held = _Size()
        for number, part in self.fields(value):
            if number == 1:
                inputs.append(self._text(part))
            elif number == 2:
                outputs.append(self._text(part))
            elif number == 4:
                operator = self._text(part)
            elif number == 5:
                own = self._attribute(part)
                held = max(held, own, key=lambda one: one.padded)
            elif number == 7:
                domain = self._text(part)
        if domain not in ("", "ai.onnx") or operator not in OPERATORS:
            shown = f"{domain}.{operator}".strip(".")
            raise self.foreign(f"the operator {shown[:40] if shown.isprintable() else '?'}")
        if operator == "Constant":
            for name in outputs:
                self._keep(name, held)
        self.nodes.append((operator, inputs, outputs))

    def _attribute(self, value: Value) -> _Size:
        """The size of the tensor that an attribute holds, or of the list of numbers."""
        found, listed = None, 0
        for number, part in self.fields(value):
            if number == 10 or (number == 5 and found is not None):  # the parts of one tensor are put together
                raise self.foreign("several tensors in one place")
            if number == 5:
                found = self._tensor(part)[1]
            elif number in (6, 11):
                raise self.foreign("a graph within a graph")
            elif number in (22, 23):
                raise self.foreign("sparse constants")
            elif number in (7, 8):
                listed += 1 if isinstance(part, int) else len(part)
        return found or _Size(listed, listed + _BLOCK)

    def _tensor(self, value: Value) -> tuple[str, _Size]:
        """The name of a tensor, and its size."""
        name, shape = "", list[int]()
        for number, part in self.fields(value):
            if number == 1:
                shape += [part] if isinstance(part, int) else self._packed(part)
            elif number == 8:
                name = self._text(part)
            elif number == 13 or (number == 14 and part):
                raise self.foreign("weights in another file")
        padded = [*shape[:-2], *(-(-size // _BLOCK) * _BLOCK for size in shape[-2:])]
        return name, _Size(math.prod(shape), math.prod(padded))

    def _packed(self, message: memoryview) -> list[int]:
        """Whole numbers that stand in one field."""
        found, at = [], 0
        while at < len(message):
            one, at = self._varint(message, at)
            found.append(one)
        return found

    def _text(self, value: Value) -> str:
        if isinstance(value, int):
            raise _unreadable(self.path)
        return bytes(value).decode("utf-8", "replace")


def _unreadable(path: Path) -> ArtifactError:
    return ArtifactError(
        "ONNX Runtime cannot read the graph: it is no ONNX file, or was cut short.",
        where=str(path),
        to_do="Export the artifact again with this version: tunesmith export.",
    )
