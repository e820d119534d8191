"""Where a model is made smaller: its data, read again, and the folder of what is under way, held by one process."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunesmith.combining import vet_out
from tunesmith.compression import Workshop
from tunesmith.data.records import Splits
from tunesmith.data.splits import fingerprint
from tunesmith.errors import DataError, RecipeError, ResourceError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import WEIGHTS, file_hash, load_artifact
from tunesmith.learnt_from import Source
from tunesmith.locking import hold
from tunesmith.recovery import Recovery
from tunesmith.training.tracking import announce
from tunesmith.versions import versions
from tunesmith.writing import refused

_PLAN, _LOCK = "plan.json", "lock"


@dataclass(frozen=True)
class Bench:
    """Where a chain is worked on: from what to what it goes, recipe and data, and the folder of what is under way."""

    artifact: Path
    out: Path
    experiment: Experiment
    splits: Splits
    folder: Path
    quiet: bool

    def workshop(self, step: Path, before: Path) -> Workshop:
        """What a step works with."""
        teacher = Recovery(self.experiment, self.splits, step, quiet=self.quiet)
        splits = self.splits
        return Workshop(splits.train, splits.validation, self.artifact, before, teacher, self.experiment.seed)


@contextmanager
def opened_bench(artifact: Path, out: Path, experiment: Experiment, *, quiet: bool) -> Iterator[Bench]:
    """Read the data again, and open or take up the folder of what is under way, which no other process then uses.

    Raises:
        DataError: there are no examples to judge by or to learn from, or the data is not what it was.
        RecipeError: another process has just written to `out`.
        ResourceError: another process works in the folder, or it cannot be written.
    """
    splits = _splits_again(artifact)
    folder = out.parent / f".{out.name}.compressing"
    with refused(folder, to_do="Choose another --out folder."):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("ab")
    with file:
        busy = ResourceError(
            "Another process is compressing to the same place.",
            where=str(out),
            to_do="Wait for it, or choose another --out.",
        )
        hold(file, folder / _LOCK, busy)
        try:
            vet_out(out)  # again, since who held the folder until now may have finished
        except RecipeError:
            if not (folder / _PLAN).exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise
        _take_up(folder, plan_of(artifact, experiment))
        yield Bench(artifact, out, experiment, splits, folder, quiet)


def _splits_again(artifact: Path) -> Splits:
    source = Source.of(artifact)
    splits = source.splits(load_artifact(artifact).task)
    for name, examples in splits.named().items():
        if fingerprint(examples) != source.fingerprints.get(name):
            raise DataError(
                f"The {name} examples are not those of the run: a file has changed since.",
                where=f"data.{name} of {artifact}",
                to_do="Put the file back as it was.",
            )
    if not len(splits.validation) or not len(splits.train):
        raise DataError(
            "There are no validation or no training examples to judge the steps by and to learn from.",
            where="data",
            to_do="Compress a run that had both.",
        )
    return splits


def _take_up(folder: Path, plan: str) -> None:
    """Keep what lies in the folder where it belongs to the same plan, and remove it otherwise."""
    place = folder / _PLAN
    with refused(folder, to_do="Choose another --out folder."):
        known = place.read_text(encoding="utf-8") if place.is_file() else ""
        lying = [path for path in folder.iterdir() if path.name != _LOCK]
        if lying and known != plan:
            announce(["What lay here of an interrupted compression had other steps, and is begun anew."])
            for path in lying:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        place.write_text(plan, encoding="utf-8")


def plan_of(artifact: Path, experiment: Experiment) -> str:
    """What decides the result of a chain."""
    told = [file_hash(artifact / WEIGHTS), experiment.to_mapping(), versions()]
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
