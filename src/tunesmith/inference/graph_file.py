"""An ONNX file looked at before ONNX Runtime reads it: what its graph computes with, and what its constants may take.

What a graph computes while it answers is bounded by its session's memory (`onnx_session.py`). This is about the rest:
constants that are made, unpacked or packed while the graph is loaded, and what keeps to no such bound: some operators,
and texts. The few fields that matter are read here (`protobuf_fields.py`), so that the package onnx is not needed where
a model only answers.

What ONNX Runtime (1.23 to 1.32) makes of constants while it loads a graph, seen in its sources and by experiment
(`tests/inference/test_graph_loading.py`): each is held in the message and as a tensor. Nodes that multiply by a matrix
pack it (`PrePack`: only constants, only of two dimensions), and keep one copy of those that are alike: which of float32
are. A matrix is still seen as a constant behind the operators of `KEEPING`, which fusions move into the product. What
other operators compute of constants is computed anew for each answer, in the session's memory, as nothing is folded.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.errors import ArtifactError
from tunesmith.inference.protobuf_fields import ATTRIBUTE, GRAPH, MODEL, NODE, TENSOR, FieldReader, Value, unreadable

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
KEEPING = frozenset({"Cast", "CastLike", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear", "Transpose"})
"""Operators whose result ONNX Runtime may take for the constant that they read."""
MOST_SHARE, FLOOR = 24, 64 << 20
"""What constants may take, in bytes per byte of the file, and at least."""
PRODUCTS, MOST_COPIES = frozenset({"Gemm", "MatMul"}), 8
"""Operators that pack float32, and how many copies of one value may differ: as MatMul, FusedMatMul, Gemm and FusedGemm,
turned or not."""
_BLOCK = 64
"""Kernels pad rows and columns of a packed matrix to at most so many."""
_LEAST = 512
"""Bytes that any constant takes, and a node that reads one."""
_TEXT = 8
"""The type of texts, which live outside of a session's memory. (onnx.proto, TensorProto.DataType)"""
_FLOAT, _EIGHT_BITS, _FEWER, _TWO_BYTES = 1, (2, 3, 9, 17, 18, 19, 20, 24), (21, 22, 23, 25, 26, 27, 28), (4, 5, 10, 16)
_PACKED = 4
"""Bytes of a packed number of float32, whose copies are shared."""
_TYPES = {
    _FLOAT: (4, _PACKED),
    **dict.fromkeys((*_EIGHT_BITS, *_FEWER), (1, 3)),
    **dict.fromkeys(_TWO_BYTES, (2, 8)),
    **dict.fromkeys((6, 12), (4, 8)),
}
"""Bytes of a number of each type, and what one node makes of it at most. Float32 is packed as it is; 8 bits are made
unsigned and packed, or made blocks with scales (MatMulNBits) and packed; 16 bits are made float32 and packed."""
_OTHERS = (16, 16)
_TYPE_SETTINGS = frozenset({"to", "dtype", "output_dtype", "stash_type", "softmax_precision"})
"""Attributes that name the type of what a node gives."""


def see_harmless(path: Path) -> int:
    """See that loading a graph cannot take memory without end; the most bytes that its constants may take then.

    Raises:
        ArtifactError: it cannot be read, or has what no export writes: other operators, graphs within graphs,
            functions, weights in other files, sparse ones, texts, or constants that grow far beyond the file.
    """
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise unreadable(path) from error
    taken, most = read_graph(content, path).taken(), MOST_SHARE * len(content) + FLOOR
    if taken > most:
        raise ArtifactError(
            f"The graph's constants may take {taken >> 20} MB, out of a file of {len(content) >> 20} MB.",
            where=str(path),
            to_do="Do not load it. No export writes such a graph.",
        )
    return taken


def read_graph(content: memoryview, path: Path) -> GraphContent:
    """What a file holds, of which the path is only told.

    Raises:
        ArtifactError: as `see_harmless`.
    """
    graph, found = GraphContent(FieldReader(path)), False
    for number, value in graph.reader.fields(content, MODEL):
        if number == 7:
            graph.read(value)
            found = True
        elif number in (20, 25):
            raise graph.reader.foreign("functions or a training of its own")
    if not found:
        raise unreadable(path)
    return graph


@dataclass(frozen=True, slots=True)
class Constant:
    """What is known of a constant.

    Attributes:
        plain: how many numbers it has.
        padded: how many with rows and columns padded.
        width: the bytes of a number.
        made: the bytes that a node may make of each padded number that it reads.
    """

    plain: int
    padded: int
    width: int = 8
    made: int = 8

    @property
    def held(self) -> int:
        """Its bytes in the message, where a small number may stand as one of 32 bits, and as a tensor."""
        return _LEAST + self.plain * (self.width + max(4, self.width))

    @property
    def read(self) -> int:
        """The bytes that a node that reads it may make of it."""
        return _LEAST + self.padded * self.made

    def after(self, operator: str) -> Constant:
        """What this is where it is seen through an operator."""
        made = max(self.made, 8) if operator in ("Cast", "CastLike") else self.made
        return Constant(self.plain, self.padded, self.width, made)


@dataclass(slots=True)
class GraphContent:
    """What was read of a graph.

    Attributes:
        reader: reads the file.
        constants: the graph's constants, by name.
        nodes: operator, inputs and outputs of each node.
    """

    reader: FieldReader
    constants: dict[str, Constant] = field(default_factory=dict)
    nodes: list[tuple[str, list[str], list[str]]] = field(default_factory=list)

    def read(self, value: Value) -> None:
        """Read a graph."""
        for number, part in self.reader.fields(value, GRAPH):
            if number == 1:
                self._node(part)
            elif number == 5:
                self._keep(*self._tensor(part))
            elif number == 15:
                raise self.reader.foreign("sparse constants")

    def taken(self) -> int:
        """The bytes that constants may take: as they are, and what each node that reads one makes of it."""
        total = sum(one.held for one in self.constants.values())
        seen, read, given = dict(self.constants), set[str](), set[str]()
        packed: Counter[str] = Counter()
        for operator, inputs, outputs in self.nodes:
            names = [name for name in inputs if name]
            makes = [name for name in outputs if name]
            read.update(names)
            if not read.isdisjoint(makes):
                raise self.reader.foreign("nodes out of order")
            held = operator == "Constant" or self.constants.keys().isdisjoint(makes)
            if not held or not given.isdisjoint(makes) or len(set(makes)) != len(makes):
                raise self.reader.foreign("two values of one name")
            given.update(makes)
            for name in (one for one in names if one in seen):
                packed[name] += operator in PRODUCTS
                is_shared = operator in PRODUCTS and seen[name].made == _PACKED and packed[name] > MOST_COPIES
                total += _LEAST if is_shared else seen[name].read
            if operator in KEEPING and names and all(name in seen for name in names):
                largest = max((seen[name] for name in names), key=lambda one: one.read)
                seen.update((name, largest.after(operator)) for name in makes)
        return total

    def _keep(self, name: str, constant: Constant) -> None:
        if name in self.constants:
            raise self.reader.foreign("two values of one name")
        self.constants[name] = constant

    def _node(self, value: Value) -> None:
        inputs: list[str] = []
        outputs: list[str] = []
        operator = domain = ""
        held = Constant(0, 0)
        with_text = False
        for number, part in self.reader.fields(value, NODE):
            if number == 1:
                inputs.append(self.reader.text(part))
            elif number == 2:
                outputs.append(self.reader.text(part))
            elif number == 4:
                operator = self.reader.text(part)
            elif number == 5:
                own, has_text = self._attribute(part)
                held = max(held, own, key=lambda one: one.held + one.read)
                with_text |= has_text
            elif number == 7:
                domain = self.reader.text(part)
        if domain not in ("", "ai.onnx") or operator not in OPERATORS:
            shown = f"{domain}.{operator}".strip(".")
            raise self.reader.foreign(f"the operator {shown[:40] if shown.isprintable() else '?'}")
        if operator == "Constant":
            if with_text:
                raise self.reader.foreign("texts")
            for name in outputs:
                self._keep(name, held)
        self.nodes.append((operator, inputs, outputs))

    def _attribute(self, value: Value) -> tuple[Constant, bool]:
        """The tensor or the list of numbers that an attribute holds, and whether it holds texts."""
        name, found, listed, has_text, own = "", None, 1, False, 0
        for number, part in self.reader.fields(value, ATTRIBUTE):
            if number == 1:
                name = self.reader.text(part)
            elif number == 3 and isinstance(part, int):
                own = part
            elif number == 5:
                found = self._tensor(part)[1]
            elif number in (6, 11):
                raise self.reader.foreign("a graph within a graph")
            elif number in (22, 23):
                raise self.reader.foreign("sparse constants")
            elif number in (10, 14, 15, 21):
                raise self.reader.foreign("several tensors in one place, or types or settings of a function")
            elif number == 7:
                listed += self.reader.floats(part)
            elif number == 8:
                listed += len(self.reader.numbers(part))
            has_text |= number in (4, 9)
        if name in _TYPE_SETTINGS and (has_text or own & 0xFFFFFFFF == _TEXT):
            raise self.reader.foreign("texts")
        return found or Constant(listed, listed + _BLOCK), has_text

    def _tensor(self, value: Value) -> tuple[str, Constant]:
        """The name of a tensor, and its size."""
        name, shape, kind = "", list[int](), 0
        for number, part in self.reader.fields(value, TENSOR):
            if number == 1:
                shape += self.reader.numbers(part)
            elif number == 2:
                kind = self.reader.small(part)
            elif number == 8:
                name = self.reader.text(part)
            elif number == 3:
                raise self.reader.foreign("a part of a tensor")
            elif number == 13 or (number == 14 and part):
                raise self.reader.foreign("weights in another file")
            elif number == 6:
                raise self.reader.foreign("texts")
        if kind == _TEXT:
            raise self.reader.foreign("texts")
        if any(size >= 1 << 63 for size in shape):  # numbers below 0
            raise unreadable(self.reader.path)
        padded = [*shape[:-2], *(-(-size // _BLOCK) * _BLOCK for size in shape[-2:])]
        return name, Constant(math.prod(shape), math.prod(padded), *_TYPES.get(kind, _OTHERS))
