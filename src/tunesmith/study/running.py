"""The runs of a study, each in a process of its own, so that its memory is its own and its end is no other's."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tunesmith import run_folder
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.study.judged import Judged
from tunesmith.study.plan import Run
from tunesmith.study.program import Order
from tunesmith.training.tracking import announce
from tunesmith.writing import refused

LOCK = ".running"
JOURNAL = "journal.jsonl"
"""Every start and every end of a run, in the order of time."""

_PATIENCE = 30.0
"""Seconds that interrupted runs are given to end by themselves."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what it cost and what it answered, or what went wrong."""

    run: Run
    cost: Mapping[str, float | None]
    failure: str = ""
    judged: Judged | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


def said_of(run: Run) -> Path:
    """The file with what a run printed as JSON; it is whole only when the run has ended well."""
    return run.folder.with_name(f"{run.folder.name}.json")


def log_of(run: Run) -> Path:
    """The file with a run's warnings and errors."""
    return run.folder.with_name(f"{run.folder.name}.log")


def finished(run: Run) -> Outcome | None:
    """The outcome of a run that ended well, or None."""
    said = _said(run)
    try:
        judged = Judged.of_plain(said["judged"])
    except (KeyError, TypeError):
        return None
    is_whole = isinstance(said.get("cost"), dict) and (run.folder / "artifact").is_dir()
    return Outcome(run, said["cost"], "", judged, said["sizes"]) if is_whole else None


def _said(run: Run) -> dict[str, Any]:
    """What a run printed; empty where it has not ended well."""
    try:
        said = json.loads(said_of(run).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def is_as_planned(run: Run) -> bool | None:
    """Whether the run's folder holds a run of this very recipe and these very files; None where it holds none."""
    if not (run.folder / run_folder.RECIPE).is_file():
        return None
    try:
        written = Experiment.from_yaml(run.folder / run_folder.RECIPE)
    except RecipeError:  # cut short, or of another version
        return False
    said = _said(run)
    is_of_these_files = not said or said.get("files") == run_folder.files_of(run.experiment)
    return is_of_these_files and written.to_mapping() == run.experiment.to_mapping()


def known(run: Run) -> Outcome | None:
    """The outcome of a run of this very recipe that ended well, or None."""
    return finished(run) if is_as_planned(run) else None


def see_folders(runs: Sequence[Run], *, overwrite: bool) -> None:
    """See whether every run may write to its folder; nothing is changed.

    Raises:
        RecipeError: a folder holds a run of another recipe, or anything else.
    """
    for run in runs:
        planned = is_as_planned(run)
        if planned is False and not overwrite:
            raise RecipeError(
                "The folder holds a run of another recipe or of other data: a file was changed since.",
                where=str(run.folder),
                to_do="Choose another --out, or give --overwrite to replace the runs that differ.",
            )
        if not planned:
            run_folder.vet(run.folder, overwrite=overwrite)


@dataclass(frozen=True)
class Place:
    """Where the runs of a study are done: its folder, its lock's file descriptor, and the split that it judges by."""

    folder: Path
    lock: int
    split: str

    def note(self, event: str, run: Run, told: Mapping[str, Any]) -> None:
        """Write a line of the journal."""
        row = {"event": event, "cell": run.cell, "seed": run.seed, "time": round(time.time(), 2), **told}
        with refused(self.folder / JOURNAL), (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Started:
    """A run whose process goes on."""

    def __init__(self, run: Run, process: subprocess.Popen[bytes], place: Place) -> None:
        self.run, self._process, self._place = run, process, place
        self._began = time.monotonic()

    def outcome(self) -> Outcome | None:
        """How it ended, or None while it goes on."""
        code = self._process.poll()
        if code is None:
            return None
        done = finished(self.run) if code == 0 else None
        outcome = done or Outcome(self.run, {}, failure_of(self.run, code))
        seconds = round(time.monotonic() - self._began, 2)
        self._place.note("end", self.run, {"seconds": seconds, "failure": outcome.failure})
        return outcome

    def interrupt(self) -> None:
        """Interrupt it, if it has not ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, and wait until it has ended."""
        self._process.kill()
        self._process.wait()


def start(run: Run, threads: int, place: Place) -> Started:
    """Begin a run, or go on with it where it stopped, in a process of its own with so many threads (0: its choice).

    Raises:
        ResourceError: its files cannot be written.
    """
    planned = is_as_planned(run)
    recipe = run.folder.with_name(f"{run.folder.name}.yaml")
    if not planned:
        with refused(run.folder, to_do="Choose another --out folder."):
            run.folder.parent.mkdir(parents=True, exist_ok=True)
            recipe.write_text(run.experiment.to_yaml(), encoding="utf-8")
    order = Order(str(run.folder), "" if planned else str(recipe), planned is False, place.split, threads)
    command = [sys.executable, "-m", "tunesmith.study.program", json.dumps(asdict(order))]
    place.note("start", run, {"threads": threads})
    with refused(log_of(run)), said_of(run).open("w") as said, log_of(run).open("w") as log:
        # The lock is handed on: while a run lives, even after its parent, no other study writes here.
        process = subprocess.Popen(command, stdout=said, stderr=log, pass_fds=(place.lock,))
    return Started(run, process, place)


def end_all(running: Sequence[Started], patience: float = _PATIENCE) -> None:
    """Interrupt runs and wait for their end; those that do not end in time are killed, and go on from a checkpoint.

    An interruption typed at a terminal has reached them already; what is sent here only reaches those that still live.
    """
    until = time.monotonic() + patience
    reminder = time.monotonic() + min(2.0, patience)
    waiting = list(running)
    is_reminded = False
    while waiting and time.monotonic() < until:
        if not is_reminded and time.monotonic() > reminder:
            is_reminded = True
            for one in waiting:
                one.interrupt()
        waiting = [one for one in waiting if one.outcome() is None]
        time.sleep(0.05)
    for one in waiting:
        one.kill()


def failure_of(run: Run, code: int) -> str:
    """What a failed run said last, in one line."""
    lines = [line for line in log_of(run).read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [number for number, line in enumerate(lines) if "Error" in line]
    how = f"it was stopped by signal {-code}" if code < 0 else f"it ended with code {code}"
    return f"{lines[told[-1]] if told and code >= 0 else how} (see {log_of(run)})"


@contextmanager
def alone(folder: Path) -> Iterator[int]:
    """A block in which no other study runs in the folder; the lock's file descriptor is for the runs' processes.

    Runs outlive a study that was killed, so they are waited for.

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
            announce([f"A study, or the last runs of one that was stopped, go on in {folder}; waiting for them."])
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
