"""Golden examples: labelled ones by which a version is judged, as they were when the service began."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError, nearest
from tunesmith.evaluation.non_inferiority import Terms
from tunesmith.inference.artifact import read_description, task_of
from tunesmith.judging import examples_of_file, unknown_labels
from tunesmith.learnt_from import sources_of
from tunesmith.service.engine import ServiceError
from tunesmith.service.jobs import Limits
from tunesmith.service.questions import question_of, texts_of
from tunesmith.service.versions import Version
from tunesmith.tasks import Task

KINDS = ("class", "classes", "number", "spans", "answers")
"""The kinds of label whose main metric follows from what a service answers."""


@dataclass(frozen=True)
class Golden:
    """The golden examples of a model.

    Attributes:
        path: the file, which must stay as it is.
        sha256: its digest when the service began.
        task: what judges answers to them.
        examples: as they were then.
        questions: the same as workers take them, without labels.
        terms: what a version must show.
        notes: what to know of them.
    """

    path: Path
    sha256: str
    task: Task
    examples: Sequence[Example]
    questions: Sequence[Mapping[str, Any]]
    terms: Terms
    notes: tuple[str, ...] = ()

    @property
    def plain(self) -> dict[str, object]:
        """What those who run the service may know of it."""
        return {
            "sha256": self.sha256,
            "examples": len(self.examples),
            "metric": self.task.metric,
            "margin": self.terms.margin,
            "calibration_margin": self.terms.calibration,
        }

    def learnt_by(self, version: Version) -> Collection[int] | None:
        """The places of those that a version learnt from; None where it is not noted in its artifact."""
        found = [one for one in version.learnt if (one.sha256, one.examples) == (self.sha256, len(self.examples))]
        return frozenset(found[0].places) if found else None

    def without(self, places: Collection[int]) -> Golden:
        """The same, but for some."""
        kept = [place for place in range(len(self.examples)) if place not in places]
        return replace(
            self,
            examples=[self.examples[place] for place in kept],
            questions=[self.questions[place] for place in kept],
        )

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is what it was."""
        return self.path.is_file() and _digest(self.path) == self.sha256


def read_goldens(given: Sequence[str], versions: Sequence[Version], terms: Terms) -> dict[str, Golden]:
    """The golden examples of each model that has some, from NAME=FILE, or FILE where one model is served.

    Raises:
        RecipeError: no such model is served, or it is named twice.
        ServiceError: the model's answers cannot be judged by labels.
        DataError: the file cannot be read, has too few examples, or one that no request may ask.
    """
    found: dict[str, Golden] = {}
    for one in given:
        name, equals, file = one.partition("=")
        if not equals and len(versions) == 1:
            name, file = versions[0].model, one
        version = next((version for version in versions if version.model == name), None)
        if version is None or not file:
            known = [version.model for version in versions]
            raise RecipeError(
                f"No model is served as '{name}'.{nearest(name, known)}" if file else "It is not said of which model.",
                where=f"--golden {one}",
                to_do=f"Write NAME=FILE, with one of {', '.join(known)}.",
            )
        if name in found:
            raise RecipeError(
                f"'{name}' has two files of golden examples.", where=f"--golden {one}", to_do="Join them."
            )
        found[name] = read_golden(Path(file), version, terms)
    return found


def read_golden(path: Path, version: Version, terms: Terms) -> Golden:
    """The golden examples of a version, read as `evaluate` reads a file for its artifact."""
    folder = version.slot.folder
    task = task_of(read_description(folder), folder)
    fields = {name.rstrip("?") for name in task.inputs}
    if task.label_kind not in KINDS or task.reads_labels or not fields <= {"text", "second", "marks"}:
        raise ServiceError(
            f"The answers of '{version.model}' ({version.task}) cannot be judged by golden examples: "
            f"a service's answers do not tell {task.metric}, by which such models are compared.",
            where=f"--golden {version.model}={path}",
            to_do="Leave it out for this model. Compare versions before they are loaded: tunesmith evaluate NEW "
            "--against OLD --data FILE.",
        )
    if not path.is_file():
        raise DataError("There is no such file.", where=f"--golden {version.model}={path}", to_do="Give a file.")
    sha256 = _digest(path)
    try:
        examples = list(examples_of_file(sources_of(folder)[0].experiment.data, task, str(path)))
    except DataError as error:
        raise DataError(
            error.what,
            where=error.where,
            to_do=f"Write labelled examples of the model's task ({version.task}) as its training data are, or as JSON "
            f"lines with the usual names. 'tunesmith evaluate {folder} --data {path}' reads the file alike.",
        ) from error
    least = terms.fewest()
    if len(examples) < least:
        raise DataError(
            f"It has {len(examples)} examples; with a margin of {terms.margin:g} at least {least} are needed, even "
            "by a version that answers all of them as the one before does.",
            where=str(path),
            to_do="Label more examples, or give a wider --margin.",
        )
    questions = [question_of(example, task.inputs) for example in examples]
    _see_lengths(examples, questions, version)
    golden = Golden(path, sha256, task, examples, questions, terms, tuple(unknown_labels(task.labels, examples)))
    return replace(golden, notes=(*golden.notes, *_of_learnt(golden, version)))


def _of_learnt(golden: Golden, version: Version) -> list[str]:
    """A sentence where not all examples are known to be new to the version."""
    places = golden.learnt_by(version)
    if places is None:
        return [
            f"Whether version {version.id} learnt from them is not known; 'tunesmith golden' notes it in artifacts."
        ]
    return [f"Version {version.id} learnt from {len(places)} of them, which are left out."] if places else []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _see_lengths(examples: Sequence[Example], questions: Sequence[Mapping[str, Any]], version: Version) -> None:
    limits = Limits()
    for example, question in zip(examples, questions, strict=True):
        if not _may_be_asked(texts_of(question), version, limits):
            raise DataError(
                f"No request may ask this example: it has more than {limits.body.characters} characters or "
                f"{limits.tokens} tokens, or half of a surrogate pair.",
                where=example.origin or example.id,
                to_do="Shorten it, or take it out.",
            )


def _may_be_asked(texts: Sequence[str], version: Version, limits: Limits) -> bool:
    if sum(map(len, texts)) > limits.body.characters:
        return False
    try:
        return version.counter.count(texts) <= limits.tokens
    except UnicodeEncodeError:
        return False
