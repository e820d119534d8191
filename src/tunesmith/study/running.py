"""The runs of a study, each in a process of its own, so that its memory is its own and its end is no other's."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunesmith import run_folder
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.study.plan import Run
from tunesmith.training.tracking import announce
from tunesmith.writing import refused

LOCK = ".running"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what it cost, or what went wrong."""

    run: Run
    cost: Mapping[str, float | None]
    failure: str = ""


def said_of(run: Run) -> Path:
    """The file with what a run printed as JSON; it is whole only when the run has ended well."""
    return run.folder.with_name(f"{run.folder.name}.json")


def log_of(run: Run) -> Path:
    """The file with a run's warnings and errors."""
    return run.folder.with_name(f"{run.folder.name}.log")


def finished(run: Run) -> Outcome | None:
    """The outcome of a run that ended well, or None."""
    try:
        said = json.loads(said_of(run).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(said, dict) and isinstance(said.get("cost"), dict)
    return Outcome(run, said["cost"]) if is_whole and (run.folder / "artifact").is_dir() else None


def is_as_planned(run: Run) -> bool | None:
    """Whether the run's folder holds a run of this very recipe; None where it holds none."""
    if not (run.folder / run_folder.RECIPE).is_file():
        return None
    try:
        written = Experiment.from_yaml(run.folder / run_folder.RECIPE)
    except RecipeError:  # cut short, or of another version
        return False
    return written.to_mapping() == run.experiment.to_mapping()


def see_folders(runs: Sequence[Run], *, overwrite: bool) -> None:
    """See whether every run may write to its folder; nothing is changed.

    Raises:
        RecipeError: a folder holds a run of another recipe, or anything else.
    """
    for run in runs:
        planned = is_as_planned(run)
        if planned is False and not overwrite:
            raise RecipeError(
                "The folder holds a run of another recipe: the study's file was changed since.",
                where=str(run.folder),
                to_do="Choose another --out, or give --overwrite to replace the runs that differ.",
            )
        if not planned:
            run_folder.vet(run.folder, overwrite=overwrite)


def carry_out(run: Run, lock: int) -> Outcome:
    """Do a run, or go on with it where it stopped, in a process of its own; a finished one is left as it is."""
    planned = is_as_planned(run)
    known = finished(run) if planned else None
    if known is not None:
        return known
    verb = ["resume", str(run.folder)]
    if not planned:
        with refused(run.folder, to_do="Choose another --out folder."):
            run.folder.parent.mkdir(parents=True, exist_ok=True)
            recipe = run.folder.with_name(f"{run.folder.name}.yaml")
            recipe.write_text(run.experiment.to_yaml(), encoding="utf-8")
        verb = ["run", str(recipe), "--out", str(run.folder), *(["--overwrite"] if planned is False else [])]
    with refused(log_of(run)), said_of(run).open("w") as said, log_of(run).open("w") as log:
        # The lock is handed on: while the process lives, even after its parent, no other study writes here.
        process = subprocess.Popen(
            [sys.executable, "-m", "tunesmith", *verb, "--json"], stdout=said, stderr=log, pass_fds=(lock,)
        )
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # it got the interruption, too
            raise
    done = finished(run) if code == 0 else None
    return done or Outcome(run, {}, failure_of(run, code))


def failure_of(run: Run, code: int) -> str:
    """What a failed run said last, in one line."""
    lines = [line for line in log_of(run).read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [number for number, line in enumerate(lines) if "Error" in line]
    return f"{lines[told[-1]] if told else f'it ended with code {code}'} (see {log_of(run)})"


@contextmanager
def alone(folder: Path) -> Iterator[int]:
    """A block in which no other study runs in the folder; the lock's file descriptor is for the runs' processes.

    A run outlives a study that was killed, so it is waited for.

    Raises:
        ResourceError: the folder cannot be written.
    """
    with refused(folder, to_do="Choose another --out folder."):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            announce([f"A study, or the last run of one that was stopped, still goes on in {folder}; waiting for it."])
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
