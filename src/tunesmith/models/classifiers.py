"""Models that were trained to classify: what each of their outputs means, and where the layer is that gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig

from tunesmith.components import build
from tunesmith.errors import ModelError, TunesmithError
from tunesmith.tasks import TASKS, SentencePairs, ZeroShotClassification

CLASSIFIERS = (
    "Name an artifact of task sentence_pairs (encoder: cross, problem: classification), or a checkpoint with its "
    "classifier."
)
"""What to do where no classifier of pairs of texts is."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of pairs of texts.

    Attributes:
        classes: what its outputs mean, in their order.
        has_own_head: whether its last layer is a head of Tunesmith on a bare body, and not part of the body.
        pooling: how the body's token states become one below such a head.
    """

    classes: tuple[str, ...]
    has_own_head: bool
    pooling: str = ""


def see_torch_weights(folder: Path) -> None:
    """See that a folder is no artifact that holds its model in another form than torch's.

    Raises:
        ModelError: it is one.
    """
    told = object_in(folder / "artifact.json") if (folder / "artifact.json").is_file() else {}
    form = told.get("form", "torch")
    if form != "torch":
        what = f"The artifact holds its model in the form {form} only, from which nothing can learn."
        raise ModelError(what, where=str(folder), to_do="Name the artifact that it was made from.")


def classifier_in(folder: Path) -> Classifier:
    """What kind of classifier a folder holds.

    Raises:
        ModelError: an artifact that does not judge pairs of texts, or names of classes that contradict each other.
    """
    if not (folder / "artifact.json").is_file():
        return Classifier(class_names(folder / "config.json"), has_own_head=False)
    description = object_in(folder / "artifact.json")
    try:
        task = build(TASKS, cast("Mapping[str, object]", description.get("task") or {}), "task")
    except TunesmithError as error:
        raise ModelError(
            f"The artifact's task cannot be read: {error.what}", where=str(folder), to_do=CLASSIFIERS
        ) from error
    pooling = str(description.get("pooling", ""))
    if isinstance(task, ZeroShotClassification) and task.body == "classifier":
        return Classifier(class_names(folder / "config.json"), _has_head(folder / "model.safetensors"), pooling)
    if not isinstance(task, SentencePairs) or (task.problem, task.encoder) != ("classification", "cross"):
        what = "The artifact does not classify pairs of texts that are read together."
        raise ModelError(what, where=str(folder), to_do=CLASSIFIERS)
    return Classifier(task.labels, has_own_head=True, pooling=pooling if task.pooling == "auto" else task.pooling)


def class_names(path: Path) -> tuple[str, ...]:
    """The names of a classifier's outputs by a configuration's id2label or label2id.

    Raises:
        ModelError: the two contradict each other, leave out a number, or have something else in its place.
    """
    said = object_in(path)
    try:
        by_number = {int(number): str(name) for number, name in _pairs(said, "id2label")}
        by_name = {int(cast(int, number)): name for name, number in _pairs(said, "label2id")}
    except (TypeError, ValueError) as error:
        what = "id2label and label2id of the model's configuration must be numbers with names."
        raise ModelError(what, where=str(path), to_do='Write id2label as {"0": "entailment", ...}.') from error
    if by_number and by_name and by_number != by_name:
        what = "id2label and label2id of the model's configuration contradict each other."
        raise ModelError(what, where=str(path), to_do="Correct the one that is wrong.")
    names = by_number or by_name or {0: "LABEL_0", 1: "LABEL_1"}  # as transformers does where nothing is said
    if sorted(names) != list(range(len(names))):
        what = "The model's configuration does not name each of its classes."
        raise ModelError(what, where=str(path), to_do="Correct id2label.")
    return tuple(names[number] for number in range(len(names)))


def put_names(config: PretrainedConfig, classes: tuple[str, ...]) -> None:
    """Write the classes' names into a configuration, which an artifact keeps, and with them their number."""
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: number for number, name in enumerate(classes)}


def _has_head(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as weights:
            return any(name.startswith("head.") for name in weights.keys())  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError) as error:
        what = "The model's weights cannot be loaded."
        raise ModelError(what, where=str(path), to_do="Copy the model again.") from error


def _pairs(said: Mapping[str, object], key: str) -> list[tuple[str, object]]:
    given = said.get(key)
    return list(given.items()) if isinstance(given, Mapping) else []


def object_in(path: Path) -> Mapping[str, object]:
    """The JSON object of a file; empty where it holds something else.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("The file is not readable JSON.", where=str(path), to_do="Copy the model again.") from error
    return value if isinstance(value, dict) else {}
