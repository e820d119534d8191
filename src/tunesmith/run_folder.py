"""The folder of a run: where it may be, what it may replace, and whether the disk has room for it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from tunesmith.components import settings_of
from tunesmith.compression import Compressor
from tunesmith.errors import CheckpointError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import MANIFEST, file_hash, need_space
from tunesmith.preparation import Prepared
from tunesmith.writing import refused

RECIPE = "recipe.yaml"
_WRITTEN = {
    *(RECIPE, "artifact", "checkpoints", "log.jsonl", "learning_rate.json"),
    *("metrics.json", "predictions.jsonl", "report.html", "trackers", "wandb"),
    *("supervised", "students", "semi_supervision.json"),
    *("compressed", ".compressed.compressing", "compressed.json"),
}
_DRAFT = re.compile(r"\.artifact-.*|\..*\.draft|\.DS_Store")


def of(name: str, folder: str | Path | None) -> Path:
    """The folder of a new run: runs/`name` if none is given."""
    return Path("runs") / name if folder is None else Path(folder)


def existing(folder: str | Path) -> Path:
    """The folder of a run that has begun.

    Raises:
        CheckpointError: the folder holds no run.
    """
    place = Path(folder)
    if not (place / RECIPE).is_file():
        raise CheckpointError(
            "There is no run to resume.", where=str(place), to_do="Give the --out folder of an earlier 'tunesmith run'."
        )
    return place


def vet(place: Path, *, overwrite: bool) -> None:
    """See whether a run may write to `place`; nothing is changed.

    Raises:
        RecipeError: it is a file or lies in one; it holds a run and `overwrite` is not set; it holds anything else.
    """
    above = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    if not above.is_dir():
        raise RecipeError(
            "The output folder's name belongs to a file.", where=str(above), to_do="Choose another --out."
        )
    if Path.cwd().is_relative_to(place.absolute()):
        raise RecipeError(
            "The output folder holds the folder you are in.", where=str(place), to_do="Choose another --out."
        )
    names = sorted(path.name for path in place.iterdir()) if above == place.absolute() else []
    if not names:
        return
    if not overwrite:
        raise RecipeError(
            "The output folder is not empty.",
            where=str(place),
            to_do="Use 'tunesmith resume' to go on, --overwrite to start anew, or another --out.",
        )
    foreign = [name for name in names if name not in _WRITTEN and not _DRAFT.fullmatch(name)]
    if foreign or RECIPE not in names:
        strange = f"it holds '{foreign[0]}', which no run writes" if foreign else f"it has no {RECIPE}"
        raise RecipeError(
            f"--overwrite replaces an earlier run only, and this folder is none: {strange}.",
            where=str(place),
            to_do="Choose another --out, or empty the folder yourself.",
        )


def room_for(parameters: int, learning: int, steps: Sequence[Compressor] = ()) -> int:
    """The most bytes that a run keeps on disk: the artifact, the best weights, and three checkpoints while one is made.

    A checkpoint has the learning weights, the optimiser's two averages of each, and one of the weights themselves.
    """
    return 4 * (parameters + learning * (1 + 3 * 4)) + room_for_chain(parameters, steps) + (16 << 20)


def room_for_chain(parameters: int, steps: Sequence[Compressor]) -> int:
    """The most bytes that a chain keeps on disk beside the artifact that it begins at.

    These are an artifact of each step, one more while it is made, and the result; and of one step at a time, for each
    training, the best weights and two checkpoints, three while one is made. In a checkpoint every weight learns, and
    none is averaged.
    """
    if not steps:
        return 0
    trainings = max(step.trainings for step in steps)
    checkpoints = trainings * (1 + 2 * 3) + 3 * (trainings > 0)
    return (4 * parameters + (16 << 20)) * (len(steps) + 2) + 4 * parameters * checkpoints


def begin(place: Path, recipe: str, size: int, *, overwrite: bool, keep: str = "") -> None:
    """Empty the folder, or make it, and put the recipe into it, after a second look: much time may have passed.

    A part of an earlier run may be kept by its name.

    Raises:
        RecipeError: see `vet`.
        ResourceError: the disk has fewer than `size` bytes left, or the folder cannot be written.
    """
    vet(place, overwrite=overwrite)
    need_space(next(path for path in (place.absolute(), *place.absolute().parents) if path.is_dir()), size)
    with refused(place, to_do="Choose another --out folder."):
        place.mkdir(parents=True, exist_ok=True)
        for path in sorted(place.iterdir(), key=lambda path: path.name == RECIPE):  # what makes it a run goes last
            if path.name == keep:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (place / RECIPE).write_text(recipe, encoding="utf-8")


def run_id(experiment: Experiment, prepared: Prepared) -> str:
    """The fingerprint of all that decides the weights; a checkpoint of another is refused.

    That is the recipe, what the data, the model and the prepared task hold, and what the files and artifacts hold that
    the recipe names beside the data: lexicons, tables, teachers, judges.
    """
    recipe = experiment.to_mapping()
    named = _hashes(_texts({key: value for key, value in recipe.items() if key != "data"}))
    parts = [recipe, prepared.fingerprints, prepared.backbone.identity, settings_of(prepared.task), named]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def files_of(experiment: Experiment) -> dict[str, str]:
    """The sha256 of every file that the recipe names, its splits among them, and of the manifests of its artifacts."""
    places = [*experiment.data.located().values(), experiment.data.located_items(), *_texts(experiment.to_mapping())]
    return _hashes(place for place in places if place)


def _hashes(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        for path in (Path(text), Path(text.partition("!")[0]), Path(text) / MANIFEST):
            if path.is_file():
                state = path.stat()
                found[text] = _hash_of(path, state.st_mtime_ns, state.st_size)
                break
    return found


@lru_cache(maxsize=256)
def _hash_of(path: Path, _written: int, _size: int) -> str:
    """A study asks for each of its runs; a file is read anew when it was written since."""
    return file_hash(path)


def _texts(value: object) -> Iterator[str]:
    """All texts in nested settings that could be a path: no part of one is longer than file systems allow."""
    if isinstance(value, str):
        parts = Path(value).parts
        if "\0" not in value and parts and all(len(part.encode()) < 256 for part in parts):
            yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
