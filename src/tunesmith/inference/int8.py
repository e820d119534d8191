"""An ONNX graph with its large matrices in 8 bits: products of 8-bit integers, embeddings of one scale per row.

Only products with constant matrices below the states are changed, and tables of embeddings; normalisations, softmax,
GELU, attention's own products and the head stay in float32. Dynamic quantisation finds a scale for each token of a
product's input while it runs; static quantisation takes the ranges seen on calibration texts. Neither depends on what
else is in the batch. (Jacob et al. 2018, sec. 2; Zafrir et al. 2019 for BERT.)
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import ArtifactError, ModelError, import_extra
from tunesmith.inference.int8_products import quantise_products
from tunesmith.inference.traced import STATES
from tunesmith.machine import inspect_machine

Scaling = Literal["dynamic", "static"]
"""When the scale of a product's input is found: while answering, or before, on calibration texts."""
LARGEST_SHARE = 0.3
"""The most that a graph in 8 bits may have of the float32 weights' bytes."""
SMALLEST = 8 << 20
"""Bytes of float32 weights below which the graph's own description outweighs what 8 bits save."""
TABLE_ROWS = 256
"""A table of fewer rows than this stays in float32: it is small, and every text reads it."""
_EXTRA = "onnx"


@dataclass(frozen=True)
class Quantised:
    """What was made of a graph.

    Attributes:
        scaling: when the scales of the products' inputs are found.
        matrices: how many matrices are in 8 bits, each with a scale per column.
        tables: how many tables of embeddings are, each with a scale per row.
        reduced_range: whether the matrices use 7 of the 8 bits, as sums of products need it on CPUs without VNNI.
        calibrated_on: the number of calibration texts; 0 for dynamic scales.
    """

    scaling: Scaling
    matrices: int
    tables: int
    reduced_range: bool
    calibrated_on: int = 0


def quantise(source: Path, out: Path, texts: Sequence[dict[str, NDArray[np.int64]]] = ()) -> Quantised:
    """Write the graph `source` in 8 bits to `out`.

    With texts (each the graph's inputs [1, T], without padding) the scales are static and these are the calibration:
    the smallest and the largest value that each product's input had. Without VNNI the range is reduced.

    Raises:
        ModelError: the graph has no matrix that could be in 8 bits.
        MissingExtraError: the packages of the extra "onnx" are not installed.
    """
    onnx = import_extra("onnx", _EXTRA)
    reduced = not inspect_machine().has_vnni
    proto = onnx.load(source)
    products = constant_products(proto.graph)
    if not products:
        raise ModelError("The graph has no product with a constant matrix.", where=str(source), to_do="Serve float32.")
    if texts:
        made = _calibrated(source, out.parent, products, texts, reduced=reduced)
    else:
        made = onnx.load(source)
        quantise_products(made, products, reduced=reduced)
    tables = quantise_tables(made)
    made.producer_name = "tunesmith"
    onnx.save(made, out)
    return Quantised("static" if texts else "dynamic", len(products), tables, reduced, len(texts))


def see_small(graph: Path, float_bytes: int) -> float:
    """The share that a graph's file has of the float32 weights' bytes.

    Raises:
        ArtifactError: it is larger than `LARGEST_SHARE`.
    """
    share = graph.stat().st_size / float_bytes
    if share > LARGEST_SHARE and float_bytes >= SMALLEST:
        raise ArtifactError(
            f"The graph in 8 bits has {share:.2f} of the float32 weights' size; {LARGEST_SHARE} is the most.",
            where=str(graph),
            to_do="Much of this model is neither a matrix nor a table of embeddings; serve it in float32.",
        )
    return share


def constant_products(graph: Any) -> list[str]:
    """The names of the nodes below the states (all nodes, where none are given) that multiply by a constant matrix."""
    constant = {tensor.name for tensor in graph.initializer}
    below = _needed_for(graph, STATES)
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in constant and node.output[0] in below
    ]


def _needed_for(graph: Any, output: str) -> set[str]:
    """The names of all values that an output is computed from; of all outputs, where it is none of the graph's."""
    makers = {name: node for node in graph.node for name in node.output}
    given = [value.name for value in graph.output]
    waiting = [output] if output in given else given
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += list(makers[name].input) if name in makers else []
    return seen


def _calibrated(
    source: Path,
    room: Path,
    products: list[str],
    texts: Sequence[dict[str, NDArray[np.int64]]],
    *,
    reduced: bool,
) -> Any:
    tools = import_extra("onnxruntime.quantization", _EXTRA)
    with tempfile.TemporaryDirectory(dir=room, prefix=".int8-") as folder, _quiet():
        draft = Path(folder) / "graph.onnx"
        tools.quantize_static(
            str(source),
            str(draft),
            _Reader(texts),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products,
            per_channel=True,
            reduce_range=reduced,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            calibrate_method=tools.CalibrationMethod.MinMax,
            # What follows a product (bias, GELU, softmax, normalisation) stays in float32.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
        return import_extra("onnx", _EXTRA).load(draft)


class _Reader:
    """Calibration texts as the quantiser asks for them: one at a time, None at the end."""

    def __init__(self, texts: Sequence[dict[str, NDArray[np.int64]]]) -> None:
        self._left: Iterator[dict[str, NDArray[np.int64]]] = iter(texts)

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        """The next text."""
        return next(self._left, None)


def quantise_tables(proto: Any) -> int:
    """Put the large tables of embeddings in 8 bits with one scale per row, and return how many there are.

    ONNX Runtime's own quantiser has one scale for a whole table, by which rare rows of large values cost all others.
    """
    onnx = import_extra("onnx", _EXTRA)
    constant = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes = list(proto.graph.node)
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    done = 0
    for name, tensor in constant.items():
        is_large = len(tensor.dims) == 2 and tensor.dims[0] >= TABLE_ROWS
        by_row = all(_gathers_rows(node, name) for node in readers.get(name, ()))
        if not (is_large and by_row and readers.get(name) and tensor.data_type == onnx.TensorProto.FLOAT):
            continue
        codes, scales = row_codes(onnx.numpy_helper.to_array(tensor))
        proto.graph.initializer.remove(tensor)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(codes, f"{name}_codes"))
        proto.graph.initializer.append(onnx.numpy_helper.from_array(scales, f"{name}_scales"))
        for node in readers[name]:
            place = next(at for at, other in enumerate(proto.graph.node) if other.output == node.output)
            for new in reversed(_gathered(onnx, node, name)):
                proto.graph.node.insert(place, new)
            proto.graph.node.remove(node)
        done += 1
    return done


def _gathers_rows(node: Any, table: str) -> bool:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return bool(node.op_type == "Gather" and node.input[0] == table and axis == 0)


def _gathered(onnx: Any, node: Any, table: str) -> list[Any]:
    """Nodes that give the rows of a table out of its codes and scales."""
    make, out = onnx.helper.make_node, node.output[0]
    return [
        make("Gather", [f"{table}_codes", node.input[1]], [f"{out}_codes"], name=f"{out}_codes"),
        make("Gather", [f"{table}_scales", node.input[1]], [f"{out}_scales"], name=f"{out}_scales"),
        make("Cast", [f"{out}_codes"], [f"{out}_numbers"], name=f"{out}_numbers", to=onnx.TensorProto.FLOAT),
        make("Mul", [f"{out}_numbers", f"{out}_scales"], [out], name=f"{out}_rows"),
    ]


def row_codes(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A table [V, H] as whole numbers from -127 to 127, and the scale of each row [V, 1]."""
    scales = np.abs(table).max(axis=1, keepdims=True) / 127
    safe = np.where(scales == 0, 1, scales)
    return np.clip(np.rint(table / safe), -127, 127).astype(np.int8), scales.astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice to prepare graphs of older exporters first."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
