"""Products of 8-bit integers whose input has a scale per token, in standard operators of ONNX.

A token's scale is its largest absolute value over 127 and is found while answering. No token's numbers depend on what
else is in the batch, which one scale for a whole batch, as ONNX Runtime's own quantiser takes it, does not give.
(Yao et al. 2022, ZeroQuant, sec. 4.1: token-wise activations, a scale per column of the matrix.)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import import_extra

MIDDLE = 128
"""The unsigned code of zero; inputs have codes from 1 to 255."""
LEVELS = 127
"""The largest code of an input, from its middle."""


def quantise_products(proto: Any, products: Collection[str], *, reduced: bool) -> None:
    """Change the named products with constant matrices to products of 8-bit integers, in place.

    Products with one input share its codes. With `reduced` the matrices have 7 of the 8 bits.
    """
    onnx = import_extra("onnx", "onnx")
    graph = proto.graph
    constant = {tensor.name: tensor for tensor in graph.initializer}
    give = onnx.numpy_helper.from_array
    graph.initializer.extend([give(np.float32(1 / LEVELS), "int8_step"), give(np.uint8(MIDDLE), "int8_middle")])
    graph.initializer.append(give(np.array([-1], dtype=np.int64), "int8_last_axis"))
    coded: set[str] = set()
    nodes = []
    for node in graph.node:
        if node.name not in products:
            nodes.append(node)
            continue
        value, matrix = node.input
        if value not in coded:
            nodes += _codes(onnx, value)
            coded.add(value)
        if matrix in constant:
            codes, scales = column_codes(onnx.numpy_helper.to_array(constant.pop(matrix)), reduced=reduced)
            graph.initializer.extend([give(codes, f"{matrix}_codes"), give(scales / LEVELS, f"{matrix}_scales")])
        nodes += _product(onnx, node, value, matrix)
    del graph.node[:]
    graph.node.extend(nodes)
    still_read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in still_read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def column_codes(matrix: NDArray[np.float32], *, reduced: bool) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix [K, N] as whole numbers from -127 to 127 (-63 to 63 with `reduced`), and each column's scale [N]."""
    most = 63 if reduced else 127
    scales = np.abs(matrix).max(axis=0) / most
    safe = np.where(scales == 0, 1, scales)
    return np.clip(np.rint(matrix / safe), -most, most).astype(np.int8), scales.astype(np.float32)


def _codes(onnx: Any, value: str) -> list[Any]:
    """Nodes that give a value's codes, and the largest absolute value of each token.

    A token of zeros divides zero by zero; whatever code that gets, its product is multiplied by the token's zero.
    """
    make = onnx.helper.make_node
    return [
        make("Abs", [value], [f"{value}_sizes"], name=f"{value}_sizes"),
        make("ReduceMax", [f"{value}_sizes", "int8_last_axis"], [f"{value}_largest"], name=f"{value}_largest"),
        make("Div", [value, f"{value}_largest"], [f"{value}_shares"], name=f"{value}_shares"),
        make(
            "QuantizeLinear", [f"{value}_shares", "int8_step", "int8_middle"], [f"{value}_int8"], name=f"{value}_int8"
        ),
    ]


def _product(onnx: Any, node: Any, value: str, matrix: str) -> list[Any]:
    """Nodes in the place of a product: whole numbers, then the column's scale and the token's."""
    make, out = onnx.helper.make_node, node.output[0]
    return [
        make(
            "MatMulInteger", [f"{value}_int8", f"{matrix}_codes", "int8_middle"], [f"{out}_whole"], name=f"{out}_whole"
        ),
        make("Cast", [f"{out}_whole"], [f"{out}_numbers"], name=f"{out}_numbers", to=onnx.TensorProto.FLOAT),
        make("Mul", [f"{out}_numbers", f"{matrix}_scales"], [f"{out}_columns"], name=f"{out}_columns"),
        make("Mul", [f"{out}_columns", f"{value}_largest"], [out], name=node.name),
    ]
