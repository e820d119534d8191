"""Guards fitted for an artifact: which examples, what the model says of them, and the limits that follow."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tunesmith.data.data_sets import DATA_SETS
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.data.source import Source as File
from tunesmith.data.sources import iterate, usable
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, RecipeError, ResourceError, TunesmithError
from tunesmith.guarding import Guard
from tunesmith.guarding.evidence import answered
from tunesmith.guarding.fitting import Fitted, Material, Seen
from tunesmith.guarding.saved import NAME, Saved, fingerprint_of, read_guards, write_guards
from tunesmith.guarding.verdicts import Need
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import Candidate, examples_to_judge, load_splits

LEARNT = 4000
"""So many training examples tell what a model has learnt."""


@dataclass(frozen=True)
class Fit:
    """Guards as they were fitted, where they are, and on how many examples."""

    path: Path
    saved: Saved
    learnt: int
    held_out: int
    outside: int


def fit_guards(artifact: Path, guards: Path, *, data: str = "", outside: str = "", out: Path | None = None) -> Fit:
    """Fit the guards of a file for an artifact, and write them as guards.json.

    Args:
        artifact: whose answers are guarded.
        guards: the file of guards.
        data: labelled examples by which limits are set; the recipe's validation split if empty.
        outside: a file, or the test split of a known data set, of texts of another kind; or empty.
        out: the folder to write; "guards" beside the artifact if left out, since an artifact is sealed.

    Raises:
        RecipeError: a guard is unknown, or cannot be fitted on these examples.
        DataError: there are no examples.
        ResourceError: guards of another artifact lie there.
    """
    asked = read_guards(guards)
    folder = artifact.resolve().parent / "guards" if out is None else out
    if folder.resolve().is_relative_to(artifact.resolve()):
        raise RecipeError(
            "Nothing can be put into an artifact, which is sealed.", where="--out", to_do="Name a folder beside it."
        )
    _see_free(folder / NAME, artifact)
    waiting = [one for one in asked.members if isinstance(one, Fitted)]
    candidate = Candidate.load(artifact)
    material = material_for(candidate, waiting, data, outside) if waiting else Material(Seen(), Seen())
    members: list[Guard] = []
    figures = []
    for one in asked.members:
        fitted = one.fitted(material) if isinstance(one, Fitted) else one
        members.append(fitted)
        figures.append(dict(fitted.figures(material)) if isinstance(fitted, Fitted) else {})
    saved = Saved(tuple(members), fingerprint_of(artifact), tuple(figures))
    sizes = [len(part.examples) for part in (material.learnt, material.held_out, material.outside)]
    return Fit(write_guards(folder, saved), saved, *sizes)


def _see_free(place: Path, artifact: Path) -> None:
    """Guards of another artifact are not written over: a service that has them would end with it.

    Raises:
        ResourceError: such lie there.
    """
    if not place.exists():
        return
    before = read_guards(place)
    if before.artifact_sha256 and before.artifact_sha256 != fingerprint_of(artifact):
        raise ResourceError(
            "Guards that were fitted on another artifact lie there already.",
            where=str(place),
            to_do=f"Name another folder, such as --out {shlex.quote(f'{place.parent}-{artifact.resolve().name}')}, or "
            "remove these if that artifact is gone.",
        )


def material_for(candidate: Candidate, guards: Sequence[Guard], data: str, outside: str) -> Material:
    """What these guards are fitted on: examples with answers and evidence.

    Raises:
        DataError: there is no validation split and no --data, or the training texts cannot be read.
    """
    needs: frozenset[Need] = frozenset().union(*(one.needs for one in guards))
    predictor, task = candidate.predictor, candidate.predictor.task
    try:
        splits = load_splits(candidate)
    except TunesmithError as error:
        raise DataError(
            f"The training texts cannot be read: {error.what}",
            where=error.where or str(candidate.folder),
            to_do="Guards are fitted where the recipe's data is: run this in the folder of training.",
        ) from error
    held = list(splits.validation)
    if data:
        _, judged = examples_to_judge(candidate, data, ())
        held = list(judged)
    if not held:
        raise DataError("The recipe has no validation split.", where="data.validation", to_do="Give --data FILE.")
    sample = drawn(splits.train, LEARNT, candidate.experiment.seed)
    learnt = seen_by(predictor, sample, needs) if "vector" in needs else Seen(sample)
    other = seen_by(predictor, texts_of(outside, task.inputs), needs) if outside else Seen()
    return Material(learnt, seen_by(predictor, held, needs), other, task.labels)


def drawn(examples: Sequence[Example], most: int, seed: int) -> list[Example]:
    """At most so many examples, drawn by the seed."""
    if len(examples) <= most:
        return list(examples)
    places = np.random.default_rng(seed).permutation(len(examples))[:most]
    return [examples[int(place)] for place in sorted(places)]


def seen_by(predictor: Predictor, examples: Sequence[Example], needs: frozenset[Need]) -> Seen:
    """Examples with the model's answers and evidence; whether these are right is known where there are labels."""
    predictions, evidence = answered(predictor, examples, needs)
    correct = [
        one.label is not None and predictor.task.is_correct(one, answer)
        for one, answer in zip(examples, predictions, strict=True)
    ]
    return Seen(examples, predictions, correct, evidence)


def texts_of(data: str, inputs: tuple[str, ...]) -> list[Example]:
    """The texts of a file, or of the test split of a known data set.

    Raises:
        DataError: there are none.
    """
    found = list(iterate(_file(data, inputs), Tally()))
    if not found:
        raise DataError("There are no texts of another kind.", where=data, to_do="Give a file with some texts.")
    return [replace(one, label=None) for one in found]


def _file(data: str, inputs: tuple[str, ...]) -> File:
    """A file of texts, or the test split of a known data set of classes; else its validation or its training split."""
    if data not in DATA_SETS or Path(data).exists():
        return File(data, inputs=inputs)
    named = Data(name=data)
    paths = named.located()
    path = next(paths[split] for split in ("test", "validation", "train") if split in paths)
    return usable(named.source(path, "class", inputs))
