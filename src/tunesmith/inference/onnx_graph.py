"""A trained model's body as an ONNX graph, straight from torch: dynamic shapes asserted, answers compared."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import ArtifactError, ModelError, import_extra
from tunesmith.inference.onnx_session import open_session, run_session
from tunesmith.inference.traced import LOGITS, SHARE, Traced, example_inputs, largest_difference
from tunesmith.models.attention import computing_attention
from tunesmith.models.model import Model

FLOAT_TOLERANCE = 1e-4
"""How far the float32 logits of two forms may be apart, where they are of the usual size."""
WAYS = (("sdpa", 23), ("eager", 20))
"""Attention and opset: as one operator, or in the open where that makes a constant of a dimension."""
_DIMENSIONS = ("batch", "length")
_EXTRA = "onnx"


@dataclass(frozen=True)
class Graph:
    """What was found about a graph when it was written.

    Attributes:
        inputs: the names of its inputs, each [P, T].
        outputs: `states` [P, T, H], and `logits` where the head is in the graph too: [P, C] or, for units, [P, T, K].
        opset: the version of ONNX's operators.
        attention: how attention was exported.
        shapes: the (pieces, tokens) on which it was compared with torch.
        largest_difference: the largest difference there.
        largest_share: the same over the largest number of its output; 0 where that was not written.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    attention: str
    shapes: tuple[tuple[int, int], ...]
    largest_difference: float
    largest_share: float = 0.0


def see_exportable(model: Model) -> None:
    """See that a model's body can be a graph, and that what writes it is installed.

    Raises:
        ModelError: the body is none of an encoder.
        MissingExtraError: the packages of the extra "onnx" are not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(package, _EXTRA)
    if model.kind not in ("encoder", "classifier"):
        what = f"The body is of the kind '{model.kind}', whose answers are not states of tokens or classes alone."
        raise ModelError(what, where="export", to_do="Export encoders to ONNX; causal models have the form gguf.")


def write_graph(model: Model, path: Path, longest: int) -> Graph:
    """Export the body of an encoder to `path`, and compare it with torch on pieces of up to `longest` tokens.

    Raises:
        ModelError: the body is none of an encoder, or no way leads to a graph with open dimensions and equal answers.
        MissingExtraError: the packages of the extra "onnx" are not installed.
    """
    see_exportable(model)
    reasons = []
    was_training = model.training
    model.eval()
    try:
        for attention, opset in WAYS:
            try:
                with computing_attention(model.body, attention):
                    return _written(model, path, longest, attention, opset)
            except (ArtifactError, RuntimeError, TypeError, ValueError) as error:
                reasons.append(f"{attention}: {' '.join(str(error).split())[:160]}")
    finally:
        model.train(was_training)
    raise ModelError(
        f"The body could not be exported: {'; '.join(reasons)}",
        where=type(model.body).__name__,
        to_do="Serve it with torch, or report this.",
    )


def _written(model: Model, path: Path, longest: int, attention: str, opset: int) -> Graph:
    traced = Traced(model).eval()
    names, outputs = traced.names, traced.outputs
    _export(traced, path, names, outputs, opset)
    _see_open_dimensions(path, names, outputs)
    shapes = compared_shapes(longest)
    session = open_session(path)
    every = (example_inputs(model, names, pieces, tokens) for pieces, tokens in shapes)
    largest, share = largest_difference(traced, every, lambda inputs: run_session(session, outputs, inputs))
    if not share <= SHARE:
        what = f"The graph's outputs differ by up to {largest:.3g} from torch's, {share:.2g} of the largest."
        raise ArtifactError(what, where=str(path))
    return Graph(names, outputs, opset, attention, shapes, largest, share)


def compared_shapes(longest: int) -> tuple[tuple[int, int], ...]:
    """At least six (pieces, tokens): one piece and several, as short and as long as the model reads."""
    long = min(longest, 512)
    wanted = ((1, 1), (1, 2), (2, 9), (5, 17), (3, max(3, long // 2)), (8, 33), (1, long))
    return tuple(dict.fromkeys((pieces, min(tokens, long)) for pieces, tokens in wanted))


def _export(traced: Traced, path: Path, names: Sequence[str], outputs: Sequence[str], opset: int) -> None:
    # A dimension of 1 would be taken for a constant.
    given = tuple(tensor.to(traced.model.device) for tensor in example_inputs(traced.model, names, 3, 11))
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            traced,
            given,
            dynamo=True,
            opset_version=opset,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=(tuple(free for _ in names),),
            verbose=False,
        )
    assert program is not None, "the exporter gives a program where it is given no file"
    onnx = import_extra("onnx", _EXTRA)
    proto = program.model_proto
    _tidy(proto)
    onnx.save(proto, path)


def _tidy(proto: Any) -> None:
    """Name the open dimensions, and leave out what the exporter tells of the files of this machine."""
    graph = proto.graph
    names: dict[str, str] = {}
    for value in graph.input:
        for symbol, name in zip(value.type.tensor_type.shape.dim, _DIMENSIONS, strict=False):
            names[symbol.dim_param] = name
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dimension.dim_param)
    functions = [part for function in proto.functions for part in (function, *function.node)]
    values = (*graph.input, *graph.output, *graph.value_info)
    for part in (proto, graph, *graph.node, *graph.initializer, *values, *functions):
        del part.metadata_props[:]
        part.doc_string = ""
    proto.producer_name = "tunesmith"


def _see_open_dimensions(path: Path, names: Sequence[str], outputs: Sequence[str]) -> None:
    """See that the graph took neither the number of pieces nor their length for a constant.

    Raises:
        ArtifactError: it did.
    """
    onnx = import_extra("onnx", _EXTRA)
    graph = onnx.load(path, load_external_data=False).graph
    found = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)}
    if set(found) != {*names, *outputs}:
        raise ArtifactError(f"The graph has the inputs and outputs {', '.join(sorted(found))}.", where=str(path))
    for name, dimensions in found.items():
        open_ones = 1 if name == LOGITS and len(dimensions) == 2 else 2
        for place in range(open_ones):
            if not dimensions[place].dim_param:
                what = f"The graph took the {_DIMENSIONS[place]} of '{name}' for {dimensions[place].dim_value}."
                raise ArtifactError(what, where=str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are not needed here and of its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
