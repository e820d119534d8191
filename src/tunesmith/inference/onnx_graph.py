"""A trained model's body as an ONNX graph, straight from torch: dynamic shapes asserted, answers compared."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tunesmith.errors import ArtifactError, ModelError, import_extra
from tunesmith.inference.onnx_session import open_session, run_session
from tunesmith.models.anatomy import core, token_type_table
from tunesmith.models.attention import computing_attention
from tunesmith.models.model import Model
from tunesmith.tasks.encoding import Batch
from tunesmith.tasks.heads import SequenceHead, TokenHead

FLOAT_TOLERANCE = 1e-4
"""How far the float32 logits of two forms may be apart, where they are of the usual size."""
SHARE = 3e-5
"""How far a graph's float32 outputs may be from torch's, of the largest: sums in another order leave about 1e-6."""
WAYS = (("sdpa", 23), ("eager", 20))
"""Attention and opset: as one operator, or in the open where that makes a constant of a dimension."""
STATES, LOGITS = "states", "logits"
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


class _Traced(nn.Module):
    """The body, and its head where that can be traced, as a function of tensors alone."""

    def __init__(self, model: Model, names: Sequence[str], *, with_head: bool) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.with_head = with_head

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs."""
        given = dict(zip(self.names, tensors, strict=True))
        kinds = given.pop("token_kinds", None)
        model = self.model
        if model.gives_classes:
            logits: Tensor = model.asked(model.body, given, kinds).logits
            return (logits,)
        states: Tensor = model.asked(core(model.body), given, kinds).last_hidden_state
        if not self.with_head:
            return (states,)
        ids, mask = given["input_ids"], given["attention_mask"]
        pieces, length = ids.shape
        places = torch.arange(length).unsqueeze(0).expand(pieces, length)
        batch = Batch(ids, mask, None, places, mask.bool(), torch.arange(pieces), None, pieces, 1.0)
        return states, model.head(states.float(), batch)


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
    names = input_names(model)
    with_head = can_trace_head(model.head) and not model.gives_classes
    traced = _Traced(model, names, with_head=with_head).eval()
    outputs = (LOGITS,) if model.gives_classes else (STATES, LOGITS)[: 1 + with_head]
    _export(traced, path, names, outputs, opset)
    _see_open_dimensions(path, names, outputs)
    shapes = compared_shapes(longest)
    largest, share = _largest_difference(traced, path, outputs, shapes)
    if not share <= SHARE:
        what = f"The graph's outputs differ by up to {largest:.3g} from torch's, {share:.2g} of the largest."
        raise ArtifactError(what, where=str(path))
    return Graph(names, outputs, opset, attention, shapes, largest, share)


def input_names(model: Model) -> tuple[str, ...]:
    """What the body's graph reads, each [P, T]: ids and mask, token types where it tells these apart, or kinds."""
    names = ["input_ids", "attention_mask"]
    table = token_type_table(model.body)
    if table is not None and table.num_embeddings > 1:
        names.append("token_type_ids")
    return (*names, "token_kinds") if model.kinds is not None else tuple(names)


def can_trace_head(head: nn.Module) -> bool:
    """Whether the head reads nothing but states, so that other programs can ask the graph for its logits."""
    return isinstance(head, SequenceHead) or (isinstance(head, TokenHead) and head.marks is None)


def compared_shapes(longest: int) -> tuple[tuple[int, int], ...]:
    """At least six (pieces, tokens): one piece and several, as short and as long as the model reads."""
    long = min(longest, 512)
    wanted = ((1, 1), (1, 2), (2, 9), (5, 17), (3, max(3, long // 2)), (8, 33), (1, long))
    return tuple(dict.fromkeys((pieces, min(tokens, long)) for pieces, tokens in wanted))


def example_inputs(model: Model, names: Sequence[str], pieces: int, tokens: int) -> list[Tensor]:
    """Inputs of a shape: ids that differ, pieces of several lengths, types and kinds where the graph reads them."""
    drawn = torch.Generator().manual_seed(pieces * 1_000 + tokens)
    mask = torch.ones(pieces, tokens, dtype=torch.long)
    for row in range(1, pieces):
        mask[row, max(1, tokens * (pieces - row) // pieces) :] = 0
    words, types = cast(nn.Embedding, model.body.get_input_embeddings()), token_type_table(model.body)
    limits = {
        "input_ids": words.num_embeddings,
        "token_type_ids": 2 if types is None else types.num_embeddings,
        "token_kinds": 1 if model.kinds is None else model.kinds.table.num_embeddings,
    }
    return [
        mask if name == "attention_mask" else torch.randint(0, limits[name], (pieces, tokens), generator=drawn)
        for name in names
    ]


def _export(traced: _Traced, path: Path, names: Sequence[str], outputs: Sequence[str], opset: int) -> None:
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


def _largest_difference(
    traced: _Traced, path: Path, outputs: Sequence[str], shapes: Sequence[tuple[int, int]]
) -> tuple[float, float]:
    """The largest difference between torch's outputs and the graph's where there is text, and over the largest one."""
    session = open_session(path)
    gaps, sizes = dict.fromkeys(outputs, 0.0), dict.fromkeys(outputs, 0.0)
    for pieces, tokens in shapes:
        given = example_inputs(traced.model, traced.names, pieces, tokens)
        with torch.inference_mode():
            expected = traced(*[tensor.to(traced.model.device) for tensor in given])
        found = run_session(session, outputs, dict(zip(traced.names, given, strict=True)))
        is_text = given[1].bool()
        for name, one, other in zip(outputs, expected, found, strict=True):
            if one.shape != other.shape:
                return math.inf, math.inf
            ours, theirs = (t[is_text] if t.dim() == 3 else t for t in (one.cpu(), other))
            gap = float((ours - theirs).abs().max())
            gaps[name] = max(gaps[name], gap if math.isfinite(gap) else math.inf)
            sizes[name] = max(sizes[name], float(ours.abs().max()))
    # What is zero in both is alike; what is zero in torch alone is not.
    shares = [gap / sizes[name] if sizes[name] else math.inf for name, gap in gaps.items() if gap]
    return max(gaps.values()), max(shares, default=0.0)


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
