"""Sessions of ONNX Runtime: as many threads as torch has, and none of them busy between two calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from tunesmith.errors import ArtifactError, import_extra
from tunesmith.machine import inspect_machine

_EXTRA = "onnx"
TOKENS_AT_ONCE = 4096
"""The most tokens that pass through the body at once: one text may have hundreds of windows."""
SLOWER = ["SkipLayerNormFusion"]
"""Fusions that cost time: sum and normalisation in one have no vector code in ONNX Runtime 1.32, its two parts have."""


def open_session(path: Path) -> Any:
    """A session over a graph, on the CPU, with `torch.get_num_threads()` threads.

    Raises:
        ArtifactError: the graph cannot be read.
        MissingExtraError: ONNX Runtime is not installed.
    """
    runtime = import_extra("onnxruntime", _EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Texts differ in length, so that a plan of memory made for one batch fits no other.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or the head's threads would wait for them
    if not inspect_machine().has_vnni:
        # Without VNNI the sum of two products of 8 bits may leave 16 bits; this takes the exact, slower kernels.
        options.add_session_config_entry("session.x64quantprecision", "1")
    errors = import_extra("onnxruntime.capi.onnxruntime_pybind11_state", _EXTRA)
    try:
        return runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER
        )
    except (
        errors.Fail,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.InvalidArgument,
        errors.NoSuchFile,
    ) as error:
        raise ArtifactError(
            f"ONNX Runtime cannot read the graph: {' '.join(str(error).split())[:160]}",
            where=str(path),
            to_do="Export the artifact again with this version: tunesmith export.",
        ) from error
    except errors.NotImplemented as error:
        raise ArtifactError(
            f"This ONNX Runtime lacks an operator of the graph: {' '.join(str(error).split())[:160]}",
            where=str(path),
            to_do="Install the version that artifact.json names, or a later one.",
        ) from error


def run_session(session: Any, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """The graph's outputs; nothing is computed that these do not need."""
    runtime = import_extra("onnxruntime", _EXTRA)
    how = runtime.RunOptions()
    how.only_execute_path_to_fetches = True
    given = {name: tensor.contiguous().cpu().numpy() for name, tensor in inputs.items()}
    return [torch.from_numpy(row) for row in session.run(list(outputs), given, how)]


class OnnxProgram:
    """A graph in ONNX Runtime."""

    runtime: ClassVar[str] = "onnxruntime"

    def __init__(self, path: Path) -> None:
        """Read a graph.

        Raises:
            ArtifactError: the graph cannot be read.
            MissingExtraError: ONNX Runtime is not installed.
        """
        self.session = open_session(path)

    def ask(self, output: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """One of its outputs, [P, ...], for inputs [P, T]."""
        pieces, length = next(iter(inputs.values())).shape
        rows = max(1, TOKENS_AT_ONCE // max(1, length))
        starts = range(0, max(1, pieces), rows)
        parts = [
            run_session(self.session, (output,), {name: value[at : at + rows] for name, value in inputs.items()})[0]
            for at in starts
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
