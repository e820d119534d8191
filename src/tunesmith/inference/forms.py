"""The forms in which an artifact may hold its model: torch's weights, a graph or a GGUF file.

One folder may hold several; its manifest covers all of them, and each names the weights that it was made of.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tunesmith.errors import ArtifactError, nearest
from tunesmith.inference.artifact import (
    ADAPTER,
    DESCRIPTION,
    FORMS,
    TORCH,
    WEIGHTS,
    Loaded,
    file_hash,
    read_artifact,
    read_description,
    seal,
    task_for,
    without_shared,
)
from tunesmith.inference.gguf_form import GGUFS, GgufEntry, GgufForm, write_beside
from tunesmith.inference.graph_network import GraphNetwork, GraphProgram, graph_inputs
from tunesmith.inference.int8 import Quantised, quantise, see_small
from tunesmith.inference.litert_form import LITE_FILE, LITERT, LiteEntry, write_lite_beside
from tunesmith.inference.litert_program import LiteProgram
from tunesmith.inference.llama_cpp import LlamaCppNetwork
from tunesmith.inference.llama_program import LlamaProgram
from tunesmith.inference.onnx_graph import Graph, write_graph
from tunesmith.inference.onnx_session import OnnxProgram
from tunesmith.machine import cpu_flags, inspect_machine
from tunesmith.models.backbone import load_tokenizer
from tunesmith.models.model import Model, count_parameters
from tunesmith.tasks import Task
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Encoded, TextEncoder
from tunesmith.tasks.heads import BodyShape

OnnxForm = Literal["onnx", "onnx-int8"]
"""The forms that hold a graph: in float32, and with its large matrices in 8 bits."""
HEAD = "head.safetensors"
_GRAPHS: Mapping[str, str] = {"onnx": "model.onnx", "onnx-int8": "model-int8.onnx"}
_FILES: Mapping[str, str] = {**_GRAPHS, **GGUFS, LITERT: LITE_FILE}
_VERSIONS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What artifact.json says of a form that is a graph.

    Attributes:
        file: the graph's file.
        graph: what was found when it was written.
        shape: what the head is told of the body when it is made.
        first_kind: the token type that stands for the first kind of token, or None.
        weights_sha256: the float32 weights that it was made of, as the run wrote them.
        share: the file's bytes over those of the float32 weights.
        processor: the processor on which it was made.
        cpu_flags: that processor's instruction sets; 8-bit products may differ on one that has others.
        versions: package -> version, as it was made.
        quantised: what is in 8 bits; None for float32.
        parameters: how many numbers the model has; 0 where that was not written.
    """

    file: str
    graph: Graph
    shape: BodyShape
    first_kind: int | None
    weights_sha256: str
    share: float
    processor: str
    cpu_flags: tuple[str, ...]
    versions: Mapping[str, str]
    quantised: Quantised | None = None
    parameters: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether it has to give the same numbers as torch."""
        return self.quantised is None

    def plain(self) -> dict[str, Any]:
        """The entry as plain values."""
        return asdict(self)


AnyEntry = Entry | GgufEntry | LiteEntry
"""What artifact.json says of a form."""


@dataclass(frozen=True, slots=True)
class Served:
    """An artifact's model in one of its forms, ready to answer."""

    network: Model | GraphNetwork | LlamaCppNetwork
    task: Task
    encoder: TextEncoder
    form: str


def forms_of(folder: Path, description: Mapping[str, object]) -> tuple[str, ...]:
    """The forms that an artifact holds, the one first that is taken where none is asked for."""
    own = str(description.get("form", TORCH))
    further = description.get(FORMS)
    every = [
        own,
        *([TORCH] if (folder / WEIGHTS).is_file() else []),
        *(further if isinstance(further, Mapping) else ()),
    ]
    return tuple(dict.fromkeys(every))


def entry_of(folder: Path, description: Mapping[str, object], form: str) -> AnyEntry:
    """What an artifact says of a form.

    Raises:
        ArtifactError: it cannot be read.
    """
    told = description.get(FORMS)
    unfit = ArtifactError(
        f"What the artifact says of its form '{form}' cannot be read.",
        where=str(folder / DESCRIPTION),
        to_do="Export it again with this version: tunesmith export.",
    )
    kind: TypeAdapter[AnyEntry] = TypeAdapter(GgufEntry if form in GGUFS else LiteEntry if form == LITERT else Entry)
    try:
        entry = kind.validate_python(told[form] if isinstance(told, Mapping) else None)
    except (ValidationError, KeyError) as error:
        raise unfit from error
    if entry.file != _FILES.get(form):  # a path could leave the folder, whose files alone were verified
        raise unfit
    return entry


def read_form(
    folder: Path, description: Mapping[str, object], *, labels: tuple[str, ...] = (), backend: str = ""
) -> Served:
    """Read an artifact that was verified, in the form that `backend` names or else in its own.

    Raises:
        ArtifactError: it has no such form, or the form cannot be read.
        MissingExtraError: the form's packages are not installed.
    """
    held = forms_of(folder, description)
    form = backend or held[0]
    if form not in held:
        made = f", or make it: tunesmith export ARTIFACT --form {form}" if form in _FILES else ""
        raise ArtifactError(
            f"The artifact has no form '{form}': it holds {', '.join(held)}.{nearest(form, held)}",
            where=str(folder),
            to_do=f"Leave --backend out{made}.",
        )
    if form not in (TORCH, *_FILES):
        raise ArtifactError(
            f"This version does not know the form '{form}'.",
            where=str(folder),
            to_do="Load it with the version of Tunesmith that wrote it.",
        )
    if form == TORCH:
        loaded = read_artifact(folder, description, labels=labels)
        return Served(loaded.model, loaded.task, loaded.encoder, form)
    task, entry = task_for(description, folder, labels), entry_of(folder, description, form)
    tokenizer = load_tokenizer(folder)
    encoder = TextEncoder.of(tokenizer, int(str(description["max_length"])), str(description["prefix"]))
    head = task.build_head(entry.shape)
    try:
        head.load_state_dict(load_file(folder / HEAD))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise ArtifactError(
            "The head's weights do not fit the task.", where=str(folder / HEAD), to_do="Export the artifact again."
        ) from error
    pooling = str(description["pooling"])
    if isinstance(entry, GgufEntry):
        program = LlamaProgram(folder / entry.file)
        return Served(LlamaCppNetwork(program, head, ends=entry.ends, pooling=pooling).eval(), task, encoder, form)
    if isinstance(entry, LiteEntry):
        reader: GraphProgram = LiteProgram(folder / entry.file, entry.graph.lengths)
    else:
        warn_of_saturation(entry, folder)
        reader = OnnxProgram(folder / entry.file)
    graph = entry.graph
    network = GraphNetwork(reader, head, graph.inputs, graph.outputs, pooling=pooling, first_kind=entry.first_kind)
    return Served(network.eval(), task, encoder, form)


def warn_of_saturation(entry: Entry, folder: Path) -> None:
    """Say where 8-bit products were made for a processor whose sums are exact, and this one's may not be."""
    if entry.quantised is not None and not entry.quantised.reduced_range and not inspect_machine().has_vnni:
        _log.warning(
            "%s: its 8-bit matrices were made for a processor with VNNI (%s), which this one lacks: it takes slower, "
            "exact kernels. Export it here for faster ones, and see 'tunesmith parity'.",
            folder,
            entry.processor,
        )


def add_form(folder: Path, loaded: Loaded, form: OnnxForm, calibration: Sequence[Encoded] = ()) -> Entry:
    """Write a model's body as a graph into the artifact `folder`, which holds its float32 weights, and seal it again.

    Args:
        folder: the artifact.
        loaded: the model of these weights with its task and encoder.
        form: "onnx", or "onnx-int8" for 8 bits.
        calibration: encoded texts, for static scales in 8 bits; without them the scales are dynamic.

    Raises:
        ModelError: the model has no body that can be exported.
        ArtifactError: the graph in 8 bits is not small, or what was written cannot be read back.
        MissingExtraError: the packages of the extra "onnx" are not installed.
    """
    model = loaded.model
    graph_at, is_small = folder / _GRAPHS[form], form == "onnx-int8"
    draft = folder / "float32.onnx" if is_small else graph_at
    quantised = None
    try:
        graph = write_graph(model, draft, loaded.encoder.max_length)
        if is_small:
            quantised = quantise(draft, graph_at, calibration_inputs(model, loaded.encoder, calibration, graph))
    finally:
        if is_small:
            draft.unlink(missing_ok=True)
    float_bytes = (folder / WEIGHTS).stat().st_size
    share = see_small(graph_at, float_bytes) if is_small else graph_at.stat().st_size / float_bytes
    entry = Entry(
        graph_at.name,
        graph,
        model.shape,
        model.first_kind,
        file_hash(folder / WEIGHTS),
        share,
        inspect_machine().processor,
        tuple(sorted(cpu_flags())),
        {name: version(name) for name in _VERSIONS},
        quantised,
        count_parameters(model)[0],
    )
    _add(folder, model, form, entry)
    read_form(folder, read_description(folder), backend=form)
    return entry


def add_gguf(folder: Path, loaded: Loaded, form: GgufForm) -> GgufEntry:
    """Write a language model as a GGUF file into the artifact `folder`, which holds its weights, and seal it again.

    Raises:
        ArtifactError: GGUF has no place for the model or its tokenizer.
        MissingExtraError: the package gguf is not installed.
        ResourceError: the disk is full.
    """
    entry = write_beside(folder, loaded, form)
    _add(folder, loaded.model, form, entry)
    return entry


def add_lite(folder: Path, loaded: Loaded) -> LiteEntry:
    """Write a model's body for LiteRT into the artifact `folder`, which holds its weights, and seal it again.

    Raises:
        ModelError: the body is none of an encoder, or cannot be converted.
        MissingExtraError: the packages of the extra "litert" are not installed.
    """
    entry = write_lite_beside(folder, loaded)
    _add(folder, loaded.model, LITERT, entry)
    read_form(folder, read_description(folder), backend=LITERT)
    return entry


def _add(folder: Path, model: Model, form: str, entry: AnyEntry) -> None:
    """Write the head's weights and what is said of a form, and seal the artifact."""
    weights = without_shared(model)
    save_file({name.removeprefix("head."): w for name, w in weights.items() if name.startswith("head.")}, folder / HEAD)
    description = read_description(folder)
    further = description.get(FORMS)
    forms = {**(further if isinstance(further, Mapping) else {}), form: entry.plain()}
    describe(folder, {**description, FORMS: forms})


def keep_only(folder: Path, form: str) -> None:
    """Take all other forms out of an artifact, and make this one its own; reports on the others go with them."""
    description = read_description(folder)
    further = description.get(FORMS)
    told: dict[str, Any] = dict(further) if isinstance(further, Mapping) else {}
    for other in [name for name in told if name != form]:
        (folder / entry_of(folder, description, other).file).unlink()
        del told[other]
    for name in (WEIGHTS, ADAPTER, "report.html", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    describe(folder, {**description, "form": form, "adapted_by": {}, FORMS: told})


def describe(folder: Path, description: Mapping[str, object]) -> None:
    """Write what an artifact says of itself, and seal it again."""
    text = json.dumps(description, ensure_ascii=False, indent=2) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    seal(folder)


def calibration_inputs(
    model: Model, encoder: TextEncoder, encoded: Sequence[Encoded], graph: Graph
) -> list[dict[str, np.ndarray[Any, np.dtype[np.int64]]]]:
    """The graph's inputs for each piece alone [1, T]: padding would count among the values that are calibrated on."""
    found = []
    for item in encoded:
        for piece in item.pieces:
            alone = Encoded((piece,), None)
            batch = collate_pieces([alone], encoder.tokenizer.pad_token_id or 0, None, 0.0)
            inputs = graph_inputs(batch, graph.inputs, model.first_kind)
            found.append({name: tensor.numpy() for name, tensor in inputs.items()})
    return found
