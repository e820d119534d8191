"""A graph that asks for a machine's memory costs its own answers, and neither the worker nor its other models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import TASK_CASES, build_model
from tests.service.running import saved
from tests.service.test_sharing import working
from tunesmith.inference import forms
from tunesmith.inference.artifact import Origin, file_hash, save_artifact
from tunesmith.inference.forms import Entry, keep_only
from tunesmith.inference.onnx_graph import Graph
from tunesmith.service.versions import read_version

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
HUGE = 1 << 34
"""Numbers of 4 bytes: 64 GB."""
NAMES = ("input_ids", "attention_mask", "token_type_ids")


def graph_that_bursts(path: Path, width: int, vocabulary: int, at: int) -> None:
    """A table of embeddings; where a token with this number stands it wants 64 GB of zeros too."""
    make, kinds = onnx.helper, onnx.TensorProto
    table = np.random.default_rng(0).standard_normal((vocabulary, width)).astype(np.float32)
    whole = {"one": [1], "at": at, "huge": [HUGE]}
    constants = [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in whole.items()]
    nodes = [
        make.make_node("Equal", ["input_ids", "at"], ["is_there"]),
        make.make_node("Cast", ["is_there"], ["places"], to=kinds.INT64),
        make.make_node("ReduceMax", ["places"], ["times"], keepdims=0),
        make.make_node("Mul", ["times", "huge"], ["more"]),
        make.make_node("Max", ["more", "one"], ["shape"]),
        make.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        make.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        make.make_node("Gather", ["table", "input_ids"], ["rows"]),
        make.make_node("Add", ["rows", "zero"], ["states"]),
    ]
    given = [make.make_tensor_value_info(name, kinds.INT64, ["batch", "length"]) for name in NAMES]
    gives = [make.make_tensor_value_info("states", kinds.FLOAT, ["batch", "length", width])]
    graph = make.make_graph(nodes, "g", given, gives, [*constants, onnx.numpy_helper.from_array(table, "table")])
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=9), path)


def hostile(folder: Path, model_folder: Path, at: str) -> Path:
    """An artifact in the form onnx whose graph bursts at a token, with a manifest that fits."""
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(model_folder, task, examples)
    save_artifact(folder, model, task, encoder, Origin("name: bad\n", {}, "tiny", {}, 1), "")
    config: Any = model.body.config
    number = encoder.tokenizer.get_vocab()[at]
    graph_that_bursts(folder / "model.onnx", config.hidden_size, config.vocab_size, number)
    told = Graph(NAMES, ("states",), 20, "eager", (), 0.0)
    weights = file_hash(folder / "model.safetensors")
    forms._add(
        folder, model, "onnx", Entry("model.onnx", told, model.shape, model.first_kind, weights, 1.0, "", (), {})
    )
    keep_only(folder, "onnx")
    return folder


def test_a_graph_that_bursts_on_the_trial_is_refused_and_the_worker_answers_on(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    good = read_version(saved(tmp_path / "good", "good", tiny_model_folder, *TASK_CASES["single_label"]))
    bad = read_version(hostile(tmp_path / "bad", tiny_model_folder, at="[CLS]"))
    with working() as (_, ask):
        assert "facts" in ask(do="load", **good.slot.plain)
        refused = ask(do="load", **bad.slot.plain)["refused"]
        assert "asks for more memory than a graph may take" in refused[0]
        assert ask(do="answer", slot=good.slot.name, questions=[{"text": "good film"}])["rows"]


def test_a_graph_that_bursts_on_some_text_fails_on_that_alone(tiny_model_folder: Path, tmp_path: Path) -> None:
    bad = read_version(hostile(tmp_path / "bad", tiny_model_folder, at="london"))
    with working() as (_, ask):
        assert "facts" in ask(do="load", **bad.slot.plain)
        plain, deadly = ({"text": text} for text in ("good film", "good film in london"))
        before = ask(do="answer", slot=bad.slot.name, questions=[plain])["rows"]
        assert "ResourceError" in ask(do="answer", slot=bad.slot.name, questions=[deadly])["failure"]
        assert ask(do="answer", slot=bad.slot.name, questions=[plain])["rows"] == before
