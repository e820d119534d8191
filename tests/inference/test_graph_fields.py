"""What is seen of a graph before it is loaded is what ONNX Runtime reads, or the graph is refused."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith.errors import ArtifactError
from tunesmith.inference import protobuf_fields as proto
from tunesmith.inference.graph_file import GraphContent, read_graph, see_harmless
from tunesmith.inference.onnx_session import open_session

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
errors = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
message = pytest.importorskip("google.protobuf.message")
make, kinds = onnx.helper, onnx.TensorProto
VARINT, FIXED64, BYTES, GROUP, FIXED32 = 0, 1, 2, 3, 5
HERE = Path("graph.onnx")


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, wire: int, content: bytes | int) -> bytes:
    key = varint(number << 3 | wire)
    if isinstance(content, int):
        return key + varint(content)
    return key + (varint(len(content)) if wire == BYTES else b"") + content


def numbers(name: str, shape: tuple[int, ...], kind: type = np.float32) -> Any:
    return onnx.numpy_helper.from_array(np.ones(shape, kind), name)


def good() -> Any:
    """A small graph with constants of several kinds."""
    given = make.make_tensor_value_info("x", kinds.FLOAT, ["batch", 8])
    gives = make.make_tensor_value_info("y", kinds.FLOAT, None)
    nodes = [
        make.make_node("Constant", [], ["half"], value=numbers("inner", (2, 8))),
        make.make_node("MatMul", ["x", "matrix"], ["a"]),
        make.make_node("Constant", [], ["list"], value_ints=[1, 2, 3]),
        make.make_node("Constant", [], ["floats"], value_floats=[1.0, 2.0]),
        make.make_node("Cast", ["a"], ["b"], to=kinds.FLOAT),
        make.make_node("Gelu", ["b"], ["c"], approximate="tanh"),
        make.make_node("ReduceSum", ["half"], ["sum"], keepdims=1),
        make.make_node("Add", ["c", "sum"], ["y"]),
    ]
    plain = kinds(name="spread", data_type=kinds.INT64, dims=[2], int64_data=[3, 4])
    constants = [numbers("matrix", (8, 8)), numbers("row", (1, 8), np.int8), plain]
    graph = make.make_graph(nodes, "g", [given], [gives], constants)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)


def parts(content: bytes) -> list[tuple[int, int, bytes | int]]:
    """The fields of a message that onnx wrote: number, wire type, content."""
    found: list[tuple[int, int, bytes | int]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (content[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if content[at - 1] < 0x80:
                return value

    while at < len(content):
        key = number()
        if key & 7 == VARINT:
            found.append((key >> 3, VARINT, number()))
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(key & 7) or number()
        found.append((key >> 3, key & 7, content[at : at + length]))
        at += length
    return found


def spliced(content: bytes, path: tuple[int, ...], change: Callable[[bytes], bytes]) -> bytes:
    """A message with the first message at a path of numbers changed."""
    if not path:
        return change(content)
    out, done = b"", False
    for number, wire, value in parts(content):
        if number == path[0] and not done and isinstance(value, bytes):
            value, done = spliced(value, path[1:], change), True
        out += field(number, wire, value)
    assert done
    return out


GRAPH, NODE, TENSOR, ATTRIBUTE = (7,), (7, 1), (7, 5), (7, 1, 5)
HIDING: dict[str, tuple[tuple[int, ...], Callable[[bytes], bytes]]] = {
    "a graph behind a key of 33 bits": ((), lambda model: model.replace(b"\x3a", varint(7 << 3 | BYTES | 1 << 32), 1)),
    "a graph behind a key of 35 bits": ((), lambda model: model.replace(b"\x3a", varint(7 << 3 | BYTES | 1 << 34), 1)),
    "a second graph": ((), lambda model: model + field(7, BYTES, b"")),
    "an operator as 4 bytes": (NODE, lambda node: node + field(4, FIXED32, b"Relu")),
    "an operator twice": (NODE, lambda node: node + field(4, BYTES, b"Relu")),
    "a domain twice": (NODE, lambda node: field(7, BYTES, b"x.y") + node + field(7, BYTES, b"")),
    "an input as a number": (NODE, lambda node: node + field(1, VARINT, 5)),
    "a name as 8 bytes": (TENSOR, lambda tensor: tensor + field(8, FIXED64, b"AAAAAAAA")),
    "a name twice": (TENSOR, lambda tensor: tensor + field(8, BYTES, b"other")),
    "a dimension as 4 bytes": (TENSOR, lambda tensor: tensor + field(1, FIXED32, b"\0\0\0\0")),
    "a dimension as 8 bytes": (TENSOR, lambda tensor: tensor + field(1, FIXED64, b"\0" * 8)),
    "a dimension below 0": (TENSOR, lambda tensor: field(1, VARINT, (1 << 64) - 1) * 2 + tensor),
    "a dimension of 70 bits": (TENSOR, lambda tensor: field(1, VARINT, 1 << 64) + tensor),
    "a version of 70 bits": ((), lambda model: model.replace(field(1, VARINT, 10), field(1, VARINT, 1 << 64 | 10), 1)),
    "a dimension of 11 bytes": (TENSOR, lambda tensor: varint(1 << 3) + b"\x81" + b"\x80" * 9 + b"\0" + tensor),
    "many dimensions, cut short": (TENSOR, lambda tensor: tensor + field(1, BYTES, b"\x80")),
    "a type twice": (TENSOR, lambda tensor: field(2, VARINT, 8) + tensor),
    "a type of 33 bits": (
        TENSOR,
        lambda tensor: tensor.replace(field(2, VARINT, 1), field(2, VARINT, 1 << 32 | 8), 1),
    ),
    "an attribute's tensor twice": (ATTRIBUTE, lambda own: own + field(5, BYTES, b"")),
    "a group": (NODE, lambda node: node + varint(4 << 3 | GROUP) + varint(4 << 3 | 4)),
    "a group of no known field": (GRAPH, lambda graph: graph + varint(99 << 3 | GROUP) + varint(99 << 3 | 4)),
    "field 0": (GRAPH, lambda graph: graph + field(0, BYTES, b"x")),
    "an unknown field": (GRAPH, lambda graph: graph + field(99, BYTES, b"x")),
    "a field that runs over": (GRAPH, lambda graph: graph + varint(1 << 3 | BYTES) + varint(1 << 20)),
    "a length of 64 bits": (GRAPH, lambda graph: graph + varint(1 << 3 | BYTES) + varint((1 << 64) - 1)),
    "a name that is no text": (TENSOR, lambda tensor: tensor.replace(b"matrix", b"matri\xff", 1)),
    "a name for two": (GRAPH, lambda graph: graph + field(5, BYTES, numbers("matrix", (1, 1)).SerializeToString())),
    "a name for a constant and a value": (
        GRAPH,
        lambda graph: graph + field(5, BYTES, numbers("a", (1, 1)).SerializeToString()),
    ),
    "a segment": (TENSOR, lambda tensor: tensor + field(3, BYTES, b"")),
}


def test_the_graph_that_is_changed_is_good(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    content = good().SerializeToString()
    path.write_bytes(content)
    assert see_harmless(path) > 0
    for place in (GRAPH, NODE, TENSOR, ATTRIBUTE):
        assert spliced(content, place, lambda own: own) == content


@pytest.mark.parametrize("name", HIDING)
def test_what_readers_do_not_agree_on_is_refused(name: str, tmp_path: Path) -> None:
    place, change = HIDING[name]
    path = tmp_path / "graph.onnx"
    path.write_bytes(spliced(good().SerializeToString(), place, change))
    with pytest.raises(ArtifactError, match=r"cannot read the graph|which no export writes"):
        see_harmless(path)


TABLES: tuple[tuple[str, Mapping[int, proto.Kind]], ...] = (
    ("ModelProto", proto.MODEL),
    ("GraphProto", proto.GRAPH),
    ("NodeProto", proto.NODE),
    ("AttributeProto", proto.ATTRIBUTE),
    ("TensorProto", proto.TENSOR),
)


@pytest.mark.parametrize(("name", "table"), TABLES, ids=[name for name, _ in TABLES])
def test_the_tables_hold_every_field_of_onnx(name: str, table: Mapping[int, proto.Kind]) -> None:
    wires = {1: FIXED64, 2: FIXED32, 3: VARINT, 4: VARINT, 5: VARINT, 9: BYTES, 11: BYTES, 12: BYTES, 14: VARINT}
    fields = getattr(onnx, name).DESCRIPTOR.fields
    assert set(table) == {one.number for one in fields}
    for one in fields:
        packed = (BYTES,) if one.is_repeated and wires[one.type] != BYTES else ()
        assert table[one.number] == proto.Kind((wires[one.type], *packed), several=one.is_repeated), one.name


NESTED: dict[int, Any] = {7: {1: {5: {5: {}}}, 5: {}}}
"""Where messages stand in messages: graph, nodes, attributes, tensors."""


def mutated(content: bytes, inner: dict[int, Any], dice: random.Random) -> bytes:
    """A message after one change at random, in it or in one of the messages within."""
    rows = parts(content)
    deeper = [place for place, (number, wire, _) in enumerate(rows) if number in inner and wire == BYTES]
    if deeper and dice.random() < 0.75:
        place = dice.choice(deeper)
        number, wire, value = rows[place]
        assert isinstance(value, bytes)
        rows[place] = (number, wire, mutated(value, inner[number], dice))
        return b"".join(field(*row) for row in rows)
    written = [field(*row) for row in rows]
    at = dice.randrange(len(written) + 1)
    keys = [dice.randrange(1, 30), *(number for number, _, _ in rows)]
    key = dice.choice(keys) << 3 | dice.choice((VARINT, FIXED64, BYTES, GROUP, 4, FIXED32, 6))
    few = bytes(dice.randrange(256) for _ in range(dice.choice((0, 1, 4, 8))))
    small = varint(dice.choice((0, 1, 8, 1 << 31, (1 << 64) - 1, 1 << 69)))
    how = dice.randrange(6)
    if how == 0:  # a field of any kind, whose key may be too long
        wide = dice.choice((0, 0, 0, 1 << 32, 1 << 34))
        body = {VARINT: small, FIXED64: b"\0" * 8, FIXED32: b"\0" * 4}.get(key & 7, varint(len(few)) + few)
        written.insert(at, varint(key | wide) + body)
    elif how == 1 and written:  # one again, or in another place
        written.insert(at, dice.choice(written))
    elif how == 2 and written:
        written.pop(min(at, len(written) - 1))
    elif how == 3:
        dice.shuffle(written)
    whole = bytearray(b"".join(written))
    if how >= 4 and whole:
        place = dice.randrange(len(whole))
        if how == 4:
            whole[place] ^= 1 << dice.randrange(8)
        else:
            whole[place : place + dice.randrange(3)] = few[:2]
    return bytes(whole)


def as_onnx_reads(content: bytes) -> tuple[list[Any], dict[str, int]] | None:
    """Operators with their inputs and outputs, and the sizes of tensors, by the package onnx, if it reads them."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except message.DecodeError:
        return None
    assert [*model.functions, *model.training_info, *model.graph.sparse_initializer] == []
    nodes = [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node]
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert node.domain in ("", "ai.onnx")
        for own in node.attribute:
            assert not any(own.HasField(name) for name in ("g", "sparse_tensor", "ref_attr_name"))
            assert [*own.graphs, *own.tensors, *own.sparse_tensors] == []
            if node.op_type == "Constant" and own.HasField("t"):
                sizes |= {name: math.prod(own.t.dims) for name in node.output}
    tensors = [*model.graph.initializer, *(own.t for node in model.graph.node for own in node.attribute)]
    assert all(tensor.data_type != kinds.STRING and not tensor.external_data for tensor in tensors)
    assert all(tensor.data_location == kinds.DEFAULT for tensor in tensors)
    return nodes, sizes


def as_we_read(content: bytes) -> GraphContent | None:
    try:
        graph = read_graph(memoryview(content), HERE)
        graph.taken()
    except ArtifactError:
        return None
    return graph


def test_what_is_accepted_is_read_as_onnx_reads_it() -> None:
    """4000 graphs, each changed at random once or several times."""
    dice = random.Random(0)
    start = good().SerializeToString()
    accepted = refused = 0
    for _ in range(4000):
        content = start
        for _ in range(dice.choice((1, 1, 2, 3))):
            try:
                content = mutated(content, NESTED, dice)
            except (IndexError, TypeError, AssertionError):  # what was changed before cannot be taken apart
                break
        graph = as_we_read(content)
        if graph is None:
            refused += 1
            continue
        accepted += content != start
        read = as_onnx_reads(content)
        if read is None:  # in a part that is not looked at; then nothing is read at all
            with pytest.raises(errors.InvalidProtobuf):
                onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            continue
        nodes, sizes = read
        assert graph.nodes == nodes
        assert {name: graph.constants[name].plain for name in sizes} == sizes
    assert accepted > 300
    assert refused > 300


def text(name: str) -> Any:
    return kinds(name=name, data_type=kinds.STRING, dims=[1], string_data=[b"x" * 100])


TEXTS: dict[str, tuple[list[Any], list[Any]]] = {
    "a constant": ([make.make_node("Gather", ["text", "places"], ["y"])], [text("text")]),
    "a constant that does not say so": (
        [make.make_node("Identity", ["text"], ["y"])],
        [kinds(name="text", data_type=kinds.FLOAT, dims=[1], string_data=[b"x"])],
    ),
    "a constant of no texts": (
        [make.make_node("Identity", ["text"], ["y"])],
        [kinds(name="text", data_type=kinds.STRING, dims=[0])],
    ),
    "a node's tensor": ([make.make_node("Constant", [], ["y"], value=text("t"))], []),
    "a node's text": ([make.make_node("Constant", [], ["y"], value_string="x")], []),
    "a node's texts": ([make.make_node("Constant", [], ["y"], value_strings=["x", "y"])], []),
    "many of one": ([make.make_node("ConstantOfShape", ["x"], ["y"], value=text("t"))], []),
    "numbers as texts": ([make.make_node("Cast", ["x"], ["y"], to=kinds.STRING)], []),
    "numbers as texts, by a long number": ([make.make_node("Cast", ["x"], ["y"], to=1 << 32 | kinds.STRING)], []),
    "numbers as texts, by name": ([make.make_node("Cast", ["x"], ["y"], to="STRING")], []),
    "numbers like texts": ([make.make_node("CastLike", ["x", "text"], ["y"])], [text("text")]),
    "codes as texts": ([make.make_node("DequantizeLinear", ["x", "s"], ["y"], output_dtype=kinds.STRING)], []),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_refused(name: str, tmp_path: Path) -> None:
    """They live outside of the memory that a session is given: one of 1 MB, gathered 600 times, takes 600 MB."""
    nodes, constants = TEXTS[name]
    given = make.make_tensor_value_info("x", kinds.INT64, ["n"])
    gives = make.make_tensor_value_info("y", kinds.STRING, None)
    graph = make.make_graph(nodes, "g", [given], [gives], constants)
    path = tmp_path / "graph.onnx"
    path.write_bytes(make.make_model(graph, opset_imports=[make.make_opsetid("", 20)]).SerializeToString())
    with pytest.raises(ArtifactError, match="texts"):
        see_harmless(path)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x3a\xff\xff\xff\xff\x7f", b"\x38\x01", b"\xff" * 20])
def test_what_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"cannot read the graph|a field of the number"):
        open_session(tmp_path / "graph.onnx")
    with pytest.raises(ArtifactError, match="cannot read the graph"):
        open_session(tmp_path / "missing.onnx")


def test_every_beginning_of_a_graph_is_read_to_an_end(tmp_path: Path) -> None:
    content = good().SerializeToString()
    for length in range(1, len(content), 3):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        with pytest.raises(ArtifactError):
            open_session(tmp_path / "cut.onnx")


def test_a_file_of_endless_fields_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto, "MOST_FIELDS", 1000)
    (tmp_path / "graph.onnx").write_bytes(b"\x08\x01" * 2000)
    with pytest.raises(ArtifactError, match="fields"):
        see_harmless(tmp_path / "graph.onnx")
