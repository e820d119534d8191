"""Sessions of ONNX Runtime: as many threads as torch has, none busy between two calls, and memory with an end."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import ArtifactError, ResourceError, import_extra
from tunesmith.inference.graph_file import see_harmless
from tunesmith.machine import free_memory, inspect_machine

_EXTRA = "onnx"
TOKENS_AT_ONCE = 4096
"""The most tokens that pass through the body at once: one text may have hundreds of windows."""
SLOWER = ["SkipLayerNormFusion"]
"""Fusions that cost time: sum and normalisation in one have no vector code in ONNX Runtime 1.32, its two parts have."""
UNBOUNDED = ["ConstantFolding", "AttentionFusion", "UnsqueezeElimination"]
"""What makes constants anew while a graph is loaded, outside of its memory; exports leave nothing to do for it."""
LEAST_MEMORY, MOST_MEMORY = 1 << 30, 16 << 30
"""Bytes that a graph may take while it answers, on small machines and on large ones."""
_REGISTERING = threading.Lock()
_LEFT = re.compile(r"Available memory of (\d+)")
_NO_MEMORY = ("Available memory of", "Failed to allocate memory", "bad allocation", "bad_alloc")
"""How ONNX Runtime says that a session's memory, or the machine's, does not suffice."""
_FAR_TOO_MANY = 1 << 46
"""Numbers of 4 bytes, of which no process can address that many."""
_ASKS_MUCH = bytes.fromhex(
    "08093a3f0a170a016e120179220f436f6e7374616e744f6653686170651201675a0f0a016e120a0a08080712040a02080162"
    "100a0179120b0a09080112050a0312016d42040a001014"
)
"""A graph that gives n [1] zeros y: ConstantOfShape(n)."""


def open_session(path: Path) -> Any:
    """A session over a graph, on the CPU, with `torch.get_num_threads()` threads and memory up to `memory_bound`.

    Raises:
        ArtifactError: the graph cannot be read, or has what no export writes.
        MissingExtraError: ONNX Runtime is not installed.
    """
    runtime = import_extra("onnxruntime", _EXTRA)
    constants = see_harmless(path)
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
        return _bounded_session(runtime, path, options, constants)
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


def memory_bound() -> int:
    """The bytes that a graph may take while it answers: half of what is free, by this process's share of the cores."""
    cores = max(1, inspect_machine().cores)
    free = free_memory() or 2 * MOST_MEMORY
    share = min(1.0, torch.get_num_threads() / cores)
    return min(MOST_MEMORY, max(LEAST_MEMORY, int(free * share / 2)))


def _bounded_session(runtime: Any, path: Path, options: Any, constants: int) -> Any:
    """A session with an arena of its own, out of which all that its graph computes is taken.

    ONNX Runtime sets a bound only for arenas of its environment. It has one arena for each place; a session keeps the
    one that was there when it was made, so that each can have its own, made anew before it. Packed matrices are counted
    among what was taken but not refused, and beyond the bound the rest becomes a number below 0, which is read as
    endless (bfc_arena.cc: Reserve, Extend, 1.32). So what constants may take at most is added to the bound, and what is
    left is looked at. A bound of 0 is none either.

    Raises:
        ArtifactError: nothing is left, since the graph's constants took more than was foreseen.
    """
    place = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    bound = constants + memory_bound()
    most = {"max_mem": bound, "arena_extend_strategy": -1}
    arena = runtime.OrtArenaCfg({**most, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1})
    options.add_session_config_entry("session.use_env_allocators", "1")
    cpu = ["CPUExecutionProvider"]
    with _REGISTERING:
        runtime.create_and_register_allocator(place, arena)
        session = runtime.InferenceSession(str(path), options, providers=cpu, disabled_optimizers=[*SLOWER, *UNBOUNDED])
        left = _rest(runtime, runtime.InferenceSession(_ASKS_MUCH, options, providers=cpu))
    if not 0 < left <= bound:
        raise ArtifactError(
            "The graph's constants took more memory than their sizes tell.",
            where=str(path),
            to_do="Do not load it. No export writes such a graph.",
        )
    return session


def _rest(runtime: Any, asking: Any) -> int:
    """The bytes that are left in a session's arena, as ONNX Runtime tells them to who asks for too many; 0 for none."""
    errors = import_extra("onnxruntime.capi.onnxruntime_pybind11_state", _EXTRA)
    how = runtime.RunOptions()
    how.log_severity_level = 4
    try:
        asking.run(["y"], {"n": np.array([_FAR_TOO_MANY])}, how)
    except (errors.Fail, errors.RuntimeException, errors.EPFail, MemoryError) as error:
        told = _LEFT.search(str(error))
        return int(told[1]) if told else 0
    return 0


def run_session(session: Any, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """The graph's outputs; nothing is computed that these do not need.

    Raises:
        ResourceError: the graph asks for more memory than its session may take.
        ArtifactError: it fails otherwise. What ONNX Runtime says may hold what was read, and is left out.
    """
    runtime = import_extra("onnxruntime", _EXTRA)
    errors = import_extra("onnxruntime.capi.onnxruntime_pybind11_state", _EXTRA)
    how = runtime.RunOptions()
    how.only_execute_path_to_fetches = True
    how.log_severity_level = 4
    given = {name: tensor.contiguous().cpu().numpy() for name, tensor in inputs.items()}
    try:
        return [torch.from_numpy(row) for row in session.run(list(outputs), given, how)]
    except (errors.Fail, errors.InvalidArgument, errors.RuntimeException, errors.EPFail, MemoryError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
            raise ResourceError(
                f"The graph asks for more memory than a graph may take here ({memory_bound() >> 20} MB).",
                where="ONNX Runtime",
                to_do="If you trust it, free memory, or give this process more threads; else do not load it.",
            ) from error
        raise ArtifactError(
            f"The graph failed while it was computed ({type(error).__name__}).",
            where="ONNX Runtime",
            to_do="Export the artifact again with this version: tunesmith export.",
        ) from error


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
