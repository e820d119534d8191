"""What ONNX Runtime makes of constants while it loads a graph stays below what was foreseen; honest graphs pass."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, AlbertModel, DebertaV2Config, DebertaV2Model

from tests.builders import TASK_CASES, build_model
from tests.conftest import build_tokenizer, save_tiny
from tests.inference.test_graph_memory import node, whole
from tunesmith.errors import ArtifactError
from tunesmith.inference import graph_file, onnx_graph, onnx_session
from tunesmith.inference.graph_file import MOST_SHARE, see_harmless
from tunesmith.inference.int8 import quantise
from tunesmith.inference.onnx_graph import write_graph
from tunesmith.inference.onnx_session import open_session

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
make, kinds = onnx.helper, onnx.TensorProto
BOUND = 1 << 30
SIDE = 256


def saved(
    path: Path, nodes: list[Any], constants: list[Any], opset: int = 21, width: int = SIDE, batch: Any = "batch"
) -> Path:
    """A graph that reads `x` [batch, width], and gives all that no node reads."""
    read = {name for one in nodes for name in one.input}
    last = [name for one in nodes for name in one.output if name not in read]
    given = [make.make_tensor_value_info("x", kinds.FLOAT, [batch, width])]
    gives = [make.make_tensor_value_info(name, kinds.UNDEFINED, None) for name in last]
    for value in gives:
        value.type.Clear()
    graph = make.make_graph(nodes, "g", given, gives, constants)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=10), path)
    return path


@pytest.fixture
def reserve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """Loads a graph, and says how many bytes that took of its session's memory."""
    rests: list[int] = []
    rest = onnx_session._rest

    def noting(runtime: Any, asking: Any) -> int:
        rests.append(rest(runtime, asking))
        return rests[-1]

    monkeypatch.setattr(onnx_session, "_rest", noting)
    monkeypatch.setattr(onnx_session, "memory_bound", lambda: BOUND)

    def load(path: Path) -> int:
        open_session(path)
        return see_harmless(path) + BOUND - rests[-1]

    return load


def constant(name: str, *shape: int, kind: type = np.float32) -> Any:
    return onnx.numpy_helper.from_array(np.ones(shape, kind), name)


def scale(name: str, *shape: int) -> Any:
    return onnx.numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)


def values(times: int) -> list[Any]:
    """`x0`, `x1` ... are all different, since nodes that do the same are made one."""
    return [node("Sin", f"x{place - 1}" if place else "x", out=f"x{place}") for place in range(times)]


def products(times: int, matrix: str = "w", operator: str = "MatMul", **settings: Any) -> list[Any]:
    """So many nodes that multiply by one matrix."""
    own = [node(operator, f"x{place}", matrix, out=f"y{place}", **settings) for place in range(times)]
    return [*values(times), *own]


def behind(operator: str, *more: str, times: int = 8, **settings: Any) -> list[Any]:
    """So many times: an operator over the matrix, and a product with what that gives."""
    nodes = values(times)
    for place in range(times):
        nodes += [node(operator, "w", *more, out=f"w{place}", **settings)]
        nodes += [node("MatMul", f"x{place}", f"w{place}", out=f"y{place}")]
    return nodes


def every_way(times: int, matrix: str = "w") -> list[Any]:
    """So many products with one matrix in each of the ways in which it may be packed."""
    nodes = values(times)
    for place in range(times):
        x, out = f"x{place}", f"y{place}"
        nodes += [node("MatMul", x, matrix, out=f"{out}a"), node("Gemm", x, matrix, out=f"{out}b")]
        nodes += [node("Gemm", x, matrix, out=f"{out}c", transB=1)]
        for turn in (0, 1):
            nodes += [
                node("Gemm", x, matrix, out=f"{out}d{turn}", transB=turn),
                node("Relu", f"{out}d{turn}", out=f"{out}e{turn}"),
            ]
        nodes += [node("MatMul", x, matrix, out=f"{out}f"), node("Mul", f"{out}f", "s", out=f"{out}g")]
        nodes += [node("Transpose", x, out=f"t{place}"), node("MatMul", f"t{place}", matrix, out=f"{out}h")]
    return nodes


def dequantised(path: Path, *shape: int, kind: type = np.int8, times: int = 8) -> Path:
    nodes = [node("DequantizeLinear", "w", "s", out="v"), *products(times, "v")]
    return saved(path, nodes, [constant("w", *shape, kind=kind), scale("s")], width=shape[0])


def four_bits(path: Path) -> Path:
    packed = kinds(name="w", data_type=kinds.UINT4, dims=[SIDE, SIDE], raw_data=b"\x12" * (SIDE * SIDE // 2))
    nodes = [node("DequantizeLinear", "w", "s", out="v", axis=0, block_size=16), *products(4, "v")]
    return saved(path, nodes, [packed, scale("s", SIDE // 16, SIDE)])


SQUARE = [constant("w", SIDE, SIDE)]
PACKED: dict[str, Callable[[Path], Path]] = {
    "read by 1000": lambda path: saved(path, products(1000), [constant("w", 64, 64)], width=64),
    "a column": lambda path: saved(path, products(4), [constant("w", 1 << 16, 1)], width=1 << 16),
    "a row": lambda path: saved(path, products(4), [constant("w", 1, 1 << 16)], width=1),
    "of an odd size": lambda path: saved(path, products(30), [constant("w", 65, 33)], width=65),
    "turned": lambda path: saved(path, behind("Transpose"), SQUARE),
    "turned again and again": lambda path: saved(
        path,
        [node("Transpose", f"t{place - 1}" if place else "w", out=f"t{place}") for place in range(40)]
        + products(8, "t39"),
        SQUARE,
    ),
    "times a number": lambda path: saved(path, behind("Mul", "s"), [*SQUARE, scale("s")]),
    "by a number": lambda path: saved(path, behind("Div", "s"), [*SQUARE, scale("s")]),
    "as it is": lambda path: saved(path, behind("Identity"), SQUARE),
    "of 16 bits": lambda path: saved(
        path, behind("Cast", to=kinds.FLOAT), [constant("w", SIDE, SIDE, kind=np.float16)]
    ),
    "of 8 bits": lambda path: dequantised(path, SIDE, SIDE),
    "of 8 bits, a row": lambda path: dequantised(path, 1, SIDE * SIDE),
    "of 8 bits, few rows": lambda path: dequantised(path, 16, SIDE),
    "of 8 bits, a column": lambda path: dequantised(path, SIDE * SIDE, 1),
    "of 8 bits without a sign": lambda path: dequantised(path, SIDE, SIDE, kind=np.uint8),
    "of 4 bits": four_bits,
    "whole": lambda path: saved(
        path,
        [
            *values(30),
            *(node("QuantizeLinear", f"x{place}", "s", "z", out=f"q{place}") for place in range(30)),
            *(node("MatMulInteger", f"q{place}", "w", "z", out=f"y{place}") for place in range(30)),
        ],
        [constant("w", SIDE, SIDE, kind=np.int8), scale("s"), onnx.numpy_helper.from_array(np.uint8(3), "z")],
    ),
    "as it is, in every way": lambda path: saved(
        path, [node("Identity", "w", out="v"), *every_way(1, "v")], [*SQUARE, scale("s")], batch=SIDE
    ),
    "in every way": lambda path: saved(path, every_way(6), [*SQUARE, scale("s")], batch=SIDE),
    "with a sum": lambda path: saved(path, products(8, "w", "Gemm", transB=1), SQUARE),
    "made a column by a list": lambda path: saved(
        path, behind("Unsqueeze", axes=[1]), [constant("w", SIDE * SIDE)], opset=11, width=SIDE * SIDE
    ),
    "numbers": lambda path: saved(
        path,
        [node("Add", f"a{place - 1}" if place else "x", f"s{place}", out=f"a{place}") for place in range(1000)],
        [onnx.numpy_helper.from_array(np.float32(place), f"s{place}") for place in range(1000)],
    ),
}


@pytest.mark.parametrize("name", PACKED)
def test_loading_takes_no_more_than_was_foreseen(
    name: str, reserve: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_file, "MOST_SHARE", 1 << 20)
    path = PACKED[name](tmp_path / "graph.onnx")
    assert reserve(path) <= see_harmless(path)


def test_products_share_what_they_pack(
    reserve: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`MOST_COPIES` is about this; if it fails, ONNX Runtime packs for each node, which then has to be counted."""
    monkeypatch.setattr(graph_file, "FLOOR", 0)
    assert reserve(saved(tmp_path / "none.onnx", values(3), [])) == 0
    once = reserve(saved(tmp_path / "once.onnx", products(1), SQUARE))
    assert once == 4 * SIDE * SIDE
    assert reserve(saved(tmp_path / "often.onnx", products(40), SQUARE)) == once
    few, many = (
        reserve(saved(tmp_path / f"{times}.onnx", every_way(times), [*SQUARE, scale("s")], batch=SIDE))
        for times in (1, 6)
    )
    assert once < few <= many < few + 1000
    assert many <= graph_file.MOST_COPIES * once


MADE: dict[str, list[Any]] = {
    "Expand": behind("Expand", "shape"),
    "Reshape": behind("Reshape", "shape"),
    "Tile": behind("Tile", "times"),
    "Concat": behind("Concat", "w", axis=0, times=1)[:-1],
    "Add": behind("Add", "w"),
    "Neg": behind("Neg"),
    "Gather": behind("Gather", "places"),
    "Squeeze": [node("Reshape", "w", "solid", out="u"), node("Squeeze", "u", "first", out="v"), *products(8, "v")],
    "Unsqueeze": behind("Unsqueeze", "first"),
    "Unsqueeze, by a list": behind("Unsqueeze", axes=[0]),
    "Slice": behind("Slice", "none", "shape"),
    "Flatten": behind("Flatten", axis=1),
    "Pad": behind("Pad", "pads"),
    "Where": [node("Equal", "w", "w", out="is"), node("Where", "is", "w", "w", out="v"), *products(8, "v")],
    "Max": behind("Max", "w"),
    "ConstantOfShape": [node("ConstantOfShape", "shape", out="v"), *products(8, "v")],
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_computed_of_constants_is_computed_for_each_answer(
    name: str, reserve: Callable[[Path], int], tmp_path: Path
) -> None:
    """And not while a graph is loaded, so that it is bounded as any other value, and no constant is counted for it."""
    constants = [*SQUARE, whole("shape", SIDE, SIDE), whole("times", 1, 1), whole("none", 0, 0), whole("first", 0)]
    constants += [whole("solid", 1, SIDE, SIDE), whole("places", *range(SIDE)), whole("pads", 0, 0, 0, 0)]
    used = {given for one in MADE[name] for given in one.input}
    opset = 11 if any(own.name == "axes" for one in MADE[name] for own in one.attribute) else 21
    path = saved(tmp_path / "graph.onnx", MADE[name], [one for one in constants if one.name in used], opset)
    assert reserve(path) < 4 * SIDE * SIDE


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the system does not say what a process holds")
def test_what_lies_outside_of_the_sessions_memory_was_foreseen_too(tmp_path: Path) -> None:
    """Each turn of 16 bits into 32 makes a constant, and the product a packed one."""
    nodes, count = values(24), 24
    for place in range(count):
        nodes += [node("Cast", f"w{place}", out=f"c{place}", to=1)]
        nodes += [node("MatMul", f"x{place}", f"c{place}", out=f"y{place}")]
    matrices = [constant(f"w{place}", 512, 512, kind=np.float16) for place in range(count)]
    path = saved(tmp_path / "graph.onnx", nodes, matrices, width=512)

    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = held()
    session = open_session(path)
    assert held() - before < see_harmless(path) + (16 << 20)
    del session


@pytest.mark.parametrize("left", [0, -1, 1 << 63])
def test_a_session_without_an_end_is_refused(left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "_rest", lambda *_: left)
    with pytest.raises(ArtifactError, match="took more memory than their sizes tell"):
        open_session(saved(tmp_path / "graph.onnx", products(1), SQUARE))


@pytest.mark.parametrize("foreseen", [0, 1 << 10, 1 << 18])
def test_constants_that_take_all_of_the_memory_and_more_are_refused(
    foreseen: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were too little foreseen, the rest would be below 0, which ONNX Runtime takes for endless, as a bound of 0."""
    monkeypatch.setattr(onnx_session, "see_harmless", lambda _: foreseen)
    monkeypatch.setattr(onnx_session, "memory_bound", lambda: 0)
    with pytest.raises(ArtifactError, match="took more memory than their sizes tell"):
        open_session(saved(tmp_path / "graph.onnx", products(1), SQUARE))


def test_the_graph_that_asks_for_much_is_what_it_says() -> None:
    model = onnx.load_model_from_string(onnx_session._ASKS_MUCH)
    onnx.checker.check_model(model)
    assert [one.op_type for one in model.graph.node] == ["ConstantOfShape"]


SIZES: dict[str, Any] = {"num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 256, "pad_token_id": 0}
VOCABULARY = len(build_tokenizer())
DISTANCES: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 256,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
    "position_biased_input": False,
}
"""As in DeBERTa-v3."""
HONEST: dict[str, Callable[[], Any]] = {
    "deberta": lambda: DebertaV2Model(
        DebertaV2Config(vocab_size=VOCABULARY, num_hidden_layers=2, max_position_embeddings=64, **DISTANCES, **SIZES)
    ),
    "albert": lambda: AlbertModel(
        AlbertConfig(
            vocab_size=VOCABULARY, num_hidden_layers=8, embedding_size=16, max_position_embeddings=64, **SIZES
        ),
        add_pooling_layer=False,
    ),
}


@pytest.mark.parametrize("kind", HONEST)
def test_bodies_that_read_a_matrix_in_many_layers_pass(
    kind: str, reserve: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeBERTa reads one table of distances in each layer, and ALBERT one layer's matrices in all of them."""
    monkeypatch.setattr(graph_file, "FLOOR", 0)
    monkeypatch.setattr(onnx_graph, "compared_shapes", lambda _: ((2, 9),))
    torch.manual_seed(0)
    folder = save_tiny(tmp_path / "body", HONEST[kind]())
    model, _, _ = build_model(folder, *TASK_CASES["single_label"])
    write_graph(model, tmp_path / "graph.onnx", 16)
    quantise(tmp_path / "graph.onnx", tmp_path / "int8.onnx")
    for path in (tmp_path / "graph.onnx", tmp_path / "int8.onnx"):
        counted = see_harmless(path)
        assert reserve(path) <= counted <= MOST_SHARE * path.stat().st_size
