"""Checkpoints: safetensors and JSON, written in one step, from which training goes on to the same result.

The order of examples and the dropout of a step depend only on the seed and the step's number, so that a checkpoint
needs no state of any random generator.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.errors import CheckpointError, ResourceError
from tunesmith.models.step_rule import StepRule
from tunesmith.training.averaging import Average
from tunesmith.training.objectives.memory import Memory
from tunesmith.training.optimizer import Optimizer
from tunesmith.writing import refused

KEPT = 2
"""How many checkpoints stay; the older one is there in case the disk damages the newer."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: optimiser steps done.
        best_step, best_value: the step with the best validation so far, and its metric; None before the first.
        waited: validations since the best one.
        seconds: training time so far, over all sessions.
        run_id: the fingerprint of the recipe and the data; another run's checkpoint is refused.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    waited: int = 0
    seconds: float = 0.0
    run_id: str = ""
    finished: bool = field(default=False)


@dataclass(frozen=True)
class Stateful:
    """What has a memory besides the weights: the optimiser, the method between steps, the average, the objective."""

    optimizer: Optimizer
    rule: StepRule | None
    average: Average
    memory: Memory | None = None


def save_checkpoint(folder: Path, learning: Mapping[str, Tensor], states: Stateful, progress: Progress) -> None:
    """Write `folder`/step-N with weights, averages and progress, and remove all but the newest.

    Raises:
        ResourceError: the disk is full; the earlier checkpoints stay.
    """
    with refused(folder), _draft_folder(folder) as draft:
        write_tensors(draft / "weights.safetensors", learning)
        write_tensors(draft / "optimizer.safetensors", states.optimizer.state())
        if states.rule is not None:
            write_tensors(draft / "rule.safetensors", states.rule.state())
        if (averaged := states.average.state()) is not None:
            write_tensors(draft / "average.safetensors", averaged)
        if states.memory is not None:
            write_tensors(draft / "objective.safetensors", states.memory.state())
        (draft / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
        place = folder / f"step-{progress.step:08d}"
        if place.exists():
            shutil.rmtree(place)
        draft.replace(place)
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file, in one step."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, draft)
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        what, to_do = f"The file cannot be written: {error}.", "Free disk space and run: tunesmith resume."
        raise ResourceError(what, where=str(path), to_do=to_do) from error
    draft.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: it is missing or cut short.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The checkpoint file cannot be read: {error}.",
            where=str(path),
            to_do=f"Remove the folder {path.parent.name}; 'resume' then goes on from the checkpoint before it.",
        ) from error


def newest(folder: Path, run_id: str) -> tuple[Path, Progress] | None:
    """The newest checkpoint and its progress, or None.

    Raises:
        CheckpointError: its progress cannot be read, or it belongs to another recipe or other data.
    """
    found = _all(folder)
    if not found:
        return None
    path = found[-1] / "progress.json"
    try:
        progress = Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            "The checkpoint's progress cannot be read.",
            where=str(path),
            to_do=f"Remove the folder {found[-1].name}; 'resume' then goes on from the one before it.",
        ) from error
    if progress.run_id != run_id:
        raise CheckpointError(
            "The recipe or the data changed since this checkpoint was written.",
            where=str(found[-1]),
            to_do="Undo the change, or start anew with 'tunesmith run' and another --out folder.",
        )
    return found[-1], progress


def restore(folder: Path, learning: Mapping[str, Tensor], states: Stateful) -> None:
    """Put a checkpoint's weights, averages and the method's memory in place."""
    put_weights(read_tensors(folder / "weights.safetensors"), learning, folder)
    states.optimizer.load_state(read_tensors(folder / "optimizer.safetensors"))
    if states.rule is not None:
        states.rule.load_state(read_tensors(folder / "rule.safetensors"))
    if (averaged := states.average.state()) is not None:
        put_weights(read_tensors(folder / "average.safetensors"), averaged, folder)
    if states.memory is not None:
        states.memory.load_state(read_tensors(folder / "objective.safetensors"))


def put_weights(kept: Mapping[str, Tensor], learning: Mapping[str, Tensor], where: Path) -> None:
    """Copy saved weights into the learning tensors."""
    if kept.keys() != learning.keys():
        raise CheckpointError(
            "The checkpoint has other weights than this model learns.",
            where=str(where),
            to_do="Start anew with 'tunesmith run'.",
        )
    with torch.no_grad():
        for name, tensor in learning.items():
            tensor.copy_(kept[name])


@contextmanager
def _draft_folder(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".draft-") as temporary:
        draft = Path(temporary) / "checkpoint"
        draft.mkdir()
        yield draft


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())
