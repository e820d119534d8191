"""A graph cannot take memory without end: not while it is loaded, and not while it answers."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunesmith.errors import ArtifactError, ResourceError
from tunesmith.inference import onnx_session
from tunesmith.inference.graph_file import FLOOR, MOST_SHARE, see_harmless
from tunesmith.inference.onnx_session import LEAST_MEMORY, MOST_MEMORY, memory_bound, open_session, run_session

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
make, kinds = onnx.helper, onnx.TensorProto

GIGABYTE = 1 << 28
"""Numbers of 4 bytes that make a gigabyte, which a test may take by mistake; what is bounded here gets 64 MB."""
ROW = 1 << 14
"""Its square is `GIGABYTE`."""


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs may take 64 MB."""
    monkeypatch.setattr(onnx_session, "memory_bound", lambda: 64 << 20)


def whole(name: str, *numbers: int) -> Any:
    return onnx.numpy_helper.from_array(np.array(numbers, np.int64), name)


def number(name: str, value: int) -> Any:
    return onnx.numpy_helper.from_array(np.array(value, np.int64), name)


def ones(name: str, *shape: int) -> Any:
    return onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)


def node(operator: str, *inputs: str, out: str = "states", **settings: Any) -> Any:
    return make.make_node(operator, inputs, [out], **settings)


def written(path: Path, nodes: list[Any], constants: list[Any], **more: Any) -> Path:
    """A graph that reads x [batch, length] and gives `states`; `floats` is x, and `sum` its sum [1, 1]."""
    given = make.make_tensor_value_info("x", kinds.INT64, ["batch", "length"])
    gives = make.make_tensor_value_info("states", kinds.FLOAT, None)
    first = [node("Cast", "x", out="floats", to=kinds.FLOAT), node("ReduceSum", "floats", out="sum")]
    graph = make.make_graph([*first, *nodes], "g", [given], [gives], constants, **more)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=9), path)
    return path


def ask(session: Any, length: int = 2) -> torch.Tensor:
    return run_session(session, ["states"], {"x": torch.ones(1, length, dtype=torch.int64)})[0]


BOMBS = {
    "ConstantOfShape": ([node("ConstantOfShape", "shape")], [whole("shape", GIGABYTE)]),
    "Expand": ([node("Expand", "sum", "shape")], [whole("shape", 1, GIGABYTE)]),
    "Tile": ([node("Tile", "floats", "shape")], [whole("shape", 1, GIGABYTE // 2)]),
    "Pad": ([node("Pad", "floats", "pads")], [whole("pads", 0, 0, 0, GIGABYTE)]),
    "Range": (
        [
            node("ReduceMax", "x", out="step", keepdims=0),
            node("Range", "zero", "end", "step", out="all"),
            node("Cast", "all", to=kinds.FLOAT),
        ],
        [number("zero", 0), number("end", GIGABYTE)],
    ),
    "a product": (
        [node("Mul", "sum", "column", out="grown"), node("MatMul", "grown", "row")],
        [ones("column", ROW, 1), ones("row", 1, ROW)],
    ),
    "a sum": (
        [node("Add", "sum", "column", out="grown"), node("Add", "grown", "row")],
        [ones("column", ROW, 1), ones("row", 1, ROW)],
    ),
    "rows": (
        [
            node("Mul", "x", "none", out="first"),
            node("Tile", "first", "shape", out="places"),
            node("Gather", "table", "places"),
        ],
        [number("none", 0), whole("shape", 1, ROW // 2), ones("table", 1, ROW)],
    ),
    "a size that is read": (
        [
            node("ReduceMax", "x", out="one"),
            node("Mul", "one", "huge", out="much"),
            node("Reshape", "much", "flat", out="shape"),
            node("ConstantOfShape", "shape"),
        ],
        [number("huge", GIGABYTE), whole("flat", 1)],
    ),
    "constants alone": ([node("Add", "column", "row")], [ones("column", ROW, 1), ones("row", 1, ROW)]),
    "again and again": (
        [node("Concat", f"d{place}", f"d{place}", out=f"d{place + 1}", axis=0) for place in range(28)]
        + [node("Identity", "d28")],
        [],
    ),
}
BOMBS["again and again"][0][0].input[:] = ["sum", "sum"]


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("name", BOMBS)
def test_what_a_graph_makes_has_a_bound(name: str, tmp_path: Path) -> None:
    session = open_session(written(tmp_path / "bomb.onnx", *BOMBS[name]))
    with pytest.raises(ResourceError, match="more memory than a graph may take") as caught:
        ask(session)
    assert "Available memory of" in str(caught.value.__cause__), "the bound refuses it, and not the machine"


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the system does not say what a process holds")
def test_nothing_is_computed_while_a_graph_is_loaded(tmp_path: Path) -> None:
    """What is folded then is kept outside of the session's memory: here 16 tables of 64 MB, each a constant."""
    count = 16
    values = [np.full((1, 1), place, np.float32) for place in range(count)]
    own = [onnx.numpy_helper.from_array(value, f"one{place}") for place, value in enumerate(values)]
    constants = [whole("shape", 1 << 12, 1 << 12), *own]
    nodes = []
    for place in range(count):
        nodes += [node("Expand", f"one{place}", "shape", out=f"square{place}")]
        nodes += [node("Mul", f"square{place}", "sum", out=f"more{place}")]
    nodes += [node("Max", *(f"more{place}" for place in range(count)))]
    path = written(tmp_path / "graph.onnx", nodes, constants)

    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = held()
    session = open_session(path)
    assert held() - before < 512 << 20
    del session


def test_64_gigabytes_are_refused_by_the_bound_of_any_machine(tmp_path: Path) -> None:
    path = written(tmp_path / "bomb.onnx", [node("ConstantOfShape", "shape")], [whole("shape", 1 << 34)])
    with pytest.raises(ResourceError) as caught:
        ask(open_session(path))
    assert "Available memory of" in str(caught.value.__cause__)


@pytest.mark.usefixtures("little")
def test_the_bound_holds_beside_packed_matrices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime counts these without refusing them; more of them than the bound would leave none."""
    monkeypatch.setattr(onnx_session, "memory_bound", lambda: 1 << 20)
    nodes = [
        node("Expand", "sum", "shape", out="wide"),
        node("MatMul", "wide", "matrix", out="product"),
        node("ReduceSum", "product", "last", out="one"),
        node("Expand", "one", "huge"),
    ]
    constants = [whole("shape", 1, 2048), ones("matrix", 2048, 2048), whole("last", 1), whole("huge", 1, GIGABYTE)]
    session = open_session(written(tmp_path / "bomb.onnx", nodes, constants))
    with pytest.raises(ResourceError) as caught:
        ask(session)
    assert "Available memory of" in str(caught.value.__cause__)


def test_each_session_keeps_its_own_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = whole("shape", 64 << 18)  # 64 MB
    path = written(tmp_path / "graph.onnx", [node("ConstantOfShape", "shape")], [shape])
    sessions = []
    for bound in (32 << 20, 256 << 20, 32 << 20):
        monkeypatch.setattr(onnx_session, "memory_bound", lambda bound=bound: bound)
        sessions.append(open_session(path))
    for _ in range(2):  # what was refused leaves the others as they were
        for session in (sessions[0], sessions[2]):
            with pytest.raises(ResourceError):
                ask(session)
        assert ask(sessions[1]).shape == (64 << 18,)


def test_sessions_that_are_made_at_once_get_each_their_own_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "graph.onnx", [node("ConstantOfShape", "shape")], [whole("shape", 64 << 18)])
    bounds = threading.local()
    monkeypatch.setattr(onnx_session, "memory_bound", lambda: bounds.own)
    register = onnxruntime.create_and_register_allocator

    def slowly(place: Any, arena: Any) -> None:
        register(place, arena)
        time.sleep(0.02)

    monkeypatch.setattr(onnxruntime, "create_and_register_allocator", slowly)
    made: dict[int, Any] = {}

    def load(place: int) -> None:
        bounds.own = (32 << 20) if place % 2 else (256 << 20)
        made[place] = open_session(path)

    threads = [threading.Thread(target=load, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bounds.own = 0
    for place, session in made.items():
        if place % 2:
            with pytest.raises(ResourceError):
                ask(session)
        else:
            assert len(ask(session)) == 64 << 18


def sparse() -> Any:
    values, places = make.make_tensor("s", kinds.FLOAT, [1], [1.0]), make.make_tensor("i", kinds.INT64, [1], [0])
    return make.make_sparse_tensor(values, places, [GIGABYTE])


def outside() -> Any:
    own = kinds(name="w", data_type=kinds.FLOAT, dims=[1], data_location=kinds.EXTERNAL)
    own.external_data.add(key="location", value="weights.onnx")
    return own


def branch() -> Any:
    return make.make_graph([node("Identity", "floats", out="y")], "b", [], [make.make_tensor_value_info("y", 1, None)])


def model_with(path: Path, change: Callable[[Any], object]) -> Path:
    """A harmless graph after a change of what stands around it."""
    proto = onnx.load(written(path, [node("Identity", "floats")], []))
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


FOREIGN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "sparse constants": (
        lambda path: written(path, [node("Add", "sum", "s")], [], sparse_initializer=[sparse()]),
        "sparse",
    ),
    "a sparse constant": (
        lambda path: written(path, [make.make_node("Constant", [], ["states"], sparse_value=sparse())], []),
        "sparse",
    ),
    "weights elsewhere": (lambda path: written(path, [node("Add", "sum", "w")], [outside()]), "another file"),
    "weights elsewhere, in a constant": (
        lambda path: written(path, [make.make_node("Constant", [], ["states"], value=outside())], []),
        "another file",
    ),
    "another operator": (lambda path: written(path, [node("RandomNormalLike", "floats")], []), "RandomNormalLike"),
    "a loop": (lambda path: written(path, [node("Loop", "", "", "sum", body=branch())], []), "graph within a graph"),
    "another library": (lambda path: written(path, [node("Add", "sum", "sum", domain="x.y")], []), r"x\.y\.Add"),
    "functions": (lambda path: model_with(path, lambda proto: proto.functions.add(name="Add")), "functions"),
    "a training": (lambda path: model_with(path, lambda proto: proto.training_info.add()), "training"),
    "nodes out of order": (
        lambda path: written(path, [node("Add", "later", "sum"), node("Identity", "sum", out="later")], []),
        "out of order",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_export_writes_is_refused_before_it_is_loaded(name: str, tmp_path: Path) -> None:
    made, said = FOREIGN[name]
    with pytest.raises(ArtifactError, match=said):
        open_session(made(tmp_path / "graph.onnx"))


def reading(path: Path, times: int, *shape: int) -> Path:
    """A graph in which so many nodes read one constant."""
    nodes = [node("Add", "sum" if place == 0 else f"s{place - 1}", "w", out=f"s{place}") for place in range(times)]
    return written(path, [*nodes, node("Identity", f"s{times - 1}")], [ones("w", *shape)])


@pytest.mark.parametrize(
    ("made", "is_harmless"),
    [
        (lambda path: reading(path, 1, 1 << 10, 1 << 10), True),
        (lambda path: reading(path, 8, 1 << 9, 1 << 10), True),
        (lambda path: reading(path, 64, 1 << 9, 1 << 10), False),
        (lambda path: reading(path, 1, 1 << 20, 1), False),
        (lambda path: reading(path, 1, 1 << 20), True),
        (
            lambda path: written(
                path,
                [node("Unsqueeze", "w", "one", out="v"), node("Add", "sum", "v")],
                [ones("w", 1 << 20), whole("one", 1)],
            ),
            True,  # computed for each answer
        ),
    ],
    ids=["once", "by a few", "by many", "a column", "a vector", "a vector made a column"],
)
def test_constants_cannot_grow_far_beyond_the_file(
    made: Callable[[Path], Path], is_harmless: bool, tmp_path: Path
) -> None:
    """Kernels keep packed copies of a matrix, with at least 16 columns."""
    path = made(tmp_path / "graph.onnx")
    if not is_harmless:
        with pytest.raises(ArtifactError, match="constants may take"):
            open_session(path)
        return
    assert see_harmless(path) <= MOST_SHARE * path.stat().st_size + FLOOR
    open_session(path)


def test_a_failing_graph_says_nothing_of_what_it_read(tmp_path: Path) -> None:
    path = written(tmp_path / "graph.onnx", [node("Gather", "table", "x")], [ones("table", 1, 1)])
    with pytest.raises(ArtifactError, match="failed while it was computed") as caught:
        run_session(open_session(path), ["states"], {"x": torch.tensor([[31_415]])})
    assert "31415" in str(caught.value.__cause__)
    assert "31415" not in str(caught.value)


@pytest.mark.parametrize(
    ("free", "threads", "bound"),
    [
        (8 << 30, 4, 4 << 30),
        (8 << 30, 2, 2 << 30),
        (8 << 30, 64, 4 << 30),
        (1 << 30, 1, LEAST_MEMORY),
        (1 << 40, 4, MOST_MEMORY),
        (0, 4, MOST_MEMORY),
        (0, 1, MOST_MEMORY // 4),
    ],
)
def test_a_process_has_its_share_of_the_free_memory(
    free: int, threads: int, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = type("FourCores", (), {"cores": 4})
    monkeypatch.setattr(onnx_session, "inspect_machine", lambda: cores)
    monkeypatch.setattr(onnx_session, "free_memory", lambda: free)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert memory_bound() == bound
