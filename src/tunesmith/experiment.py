"""Experiment: the one typed configuration, to and from YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import yaml

from tunesmith.augmentation import AUGMENTERS, Augmenter
from tunesmith.augmentation.expand import Augmentation
from tunesmith.components import build, from_settings, name_of, settings_of
from tunesmith.compression import COMPRESSORS, Compressor, Converting, Distill, Sparsity, Vocabulary
from tunesmith.data.dataset import Data
from tunesmith.errors import RecipeError, nearest
from tunesmith.methods import METHODS, Full, Method
from tunesmith.models.pretrained import Pretrained
from tunesmith.recipes import read_recipe, with_changes
from tunesmith.sections import Compression, Evaluation, Training
from tunesmith.semi_supervision import SEMI_SUPERVISION, Alarms, LabelledOnly, SemiSupervision
from tunesmith.tasks import TASKS, Task
from tunesmith.training.averaging import AVERAGINGS, Averaging, NoAveraging
from tunesmith.training.objectives import OBJECTIVES, Objective, TaskLoss
from tunesmith.training.optimizer import OPTIMIZERS, AdamW, OptimizerSettings
from tunesmith.training.tracking import Tracker

FAMILIES: Mapping[str, Mapping[str, type]] = {
    "task": TASKS,
    "method": METHODS,
    "objective": OBJECTIVES,
    "optimizer": OPTIMIZERS,
    "semi_supervision": SEMI_SUPERVISION,
    "averaging": AVERAGINGS,
}
SECTIONS: Mapping[str, type] = {
    "model": Pretrained,
    "data": Data,
    "augmentation": Augmentation,
    "alarms": Alarms,
    "training": Training,
    "evaluation": Evaluation,
    "compression": Compression,
}
LISTS: Mapping[str, Mapping[str, type]] = {"augmenters": AUGMENTERS, "compress": COMPRESSORS}
"""Families of which a recipe names several members."""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides what a run does.

    Attributes:
        task: the kind of problem (required).
        data: the examples (required).
        model: the pre-trained model.
        method: which weights learn.
        objective: what is minimised.
        optimizer: how a gradient becomes a step.
        averaging: which average of the weights over the steps is kept, if any.
        training: how long and how fast.
        evaluation: how the result is judged.
        augmenters: what makes further training examples.
        augmentation: how many, and which are kept.
        semi_supervision: how the texts of data.unlabelled are learnt from.
        alarms: signs that this has gone astray, by which its model is not promoted.
        compress: the steps that make the trained model smaller, one after the other.
        compression: what these steps may cost.
        trackers: where numbers are logged while training.
        name: a name for reports.
        seed: the source of all randomness.
    """

    task: Task
    data: Data
    model: Pretrained = field(default_factory=Pretrained)
    method: Method = field(default_factory=Full)
    objective: Objective = field(default_factory=TaskLoss)
    optimizer: OptimizerSettings = field(default_factory=AdamW)
    averaging: Averaging = field(default_factory=NoAveraging)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    augmenters: tuple[Augmenter, ...] = ()
    augmentation: Augmentation = field(default_factory=Augmentation)
    semi_supervision: SemiSupervision = field(default_factory=LabelledOnly)
    alarms: Alarms = field(default_factory=Alarms)
    compress: tuple[Compressor, ...] = ()
    compression: Compression = field(default_factory=Compression)
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    name: str = "experiment"
    seed: int = 13

    def __post_init__(self) -> None:
        if not self.name.strip(" .") or set(self.name) & set("/\\") or not self.name.isprintable():
            raise RecipeError(
                f"The name {self.name!r} cannot be a folder's.", where="name", to_do="Use letters, digits, - and _."
            )
        if not 0 <= self.seed < 2**32:
            raise RecipeError("seed must be at least 0 and below 2^32.", where="seed")
        if self.semi_supervision.uses_texts != bool(self.data.unlabelled):
            lacks = "data.unlabelled" if self.semi_supervision.uses_texts else "semi_supervision"
            raise RecipeError(
                "Texts without labels need both data.unlabelled and semi_supervision.",
                where=lacks,
                to_do="Name a file, or rest, in data.unlabelled and a member of semi_supervision, or leave both out.",
            )
        see_chain(self.compress)
        kinds = [type(one) for one in self.augmenters]
        if twice := [kind for kind in kinds if kinds.count(kind) > 1]:
            name = next(name for name, kind in AUGMENTERS.items() if kind is twice[0])
            raise RecipeError(f"augmenters names {name} twice.", where="augmenters", to_do="Name each once.")
        if self.training.balance_subgroups and not self.data.subgroups:
            raise RecipeError(
                "There are no subgroups to balance.",
                where="training.balance_subgroups",
                to_do="Name the columns that tell them apart in data.subgroups.",
            )
        if self.model.is_scratch and not isinstance(self.method, Full):
            raise RecipeError(
                "Of a model from scratch every weight learns.", where="method", to_do="Use method: full, or remove it."
            )
        if self.model.is_scratch and self.training.learning_rate is None:
            raise RecipeError(
                "A model from scratch needs a learning rate; that of fine-tuning is too low for it.",
                where="training.learning_rate",
                to_do="1e-3 with a warm-up is a usual one for small models.",
            )

    @classmethod
    def from_yaml(cls, path: str | Path, changes: Sequence[str] = ()) -> Self:
        """Read a recipe; `changes` such as "training.epochs=1" override keys.

        Raises:
            RecipeError: the file cannot be read, a key is unknown, or a value is wrong.
        """
        return cls.from_mapping(with_changes(read_recipe(Path(path)), changes))

    @classmethod
    def from_mapping(cls, recipe: Mapping[str, object]) -> Self:
        """Make an experiment from a recipe's keys and values."""
        known = [item.name for item in dataclasses.fields(cls)]
        for key in recipe:
            if key not in known:
                raise RecipeError(
                    f"Unknown key '{key}'.{nearest(str(key), known)}",
                    where="the recipe's top level",
                    to_do=f"Known keys: {', '.join(known)}.",
                )
        for key in ("task", "data"):
            if not recipe.get(key):
                raise RecipeError(
                    f"The recipe has no '{key}'.",
                    where="the recipe's top level",
                    to_do=f"Add '{key}:'; 'tunesmith new' writes an example.",
                )
        values: dict[str, Any] = {}
        for key, given in recipe.items():
            if key in FAMILIES:
                values[key] = build(FAMILIES[key], _mapping_or_name(key, given), key)
            elif key in SECTIONS:
                named = {"name": given} if key == "model" and isinstance(given, str) else _mapping(key, given)
                values[key] = from_settings(SECTIONS[key], named, key)
            elif key in LISTS:
                values[key] = tuple(build(LISTS[key], _mapping_or_name(key, one), key) for one in _list(key, given))
        rest = from_settings(_Rest, {key: value for key, value in recipe.items() if key not in values}, "")
        return cls(**values, **settings_of(rest))

    def to_mapping(self) -> dict[str, object]:
        """The recipe after defaults, as plain values."""
        recipe: dict[str, object] = {"name": self.name, "seed": self.seed}
        for key, family in FAMILIES.items():
            component = self.__dict__[key]
            recipe[key] = {"name": name_of(family, component), **settings_of(component)}
        for key in SECTIONS:
            recipe[key] = settings_of(self.__dict__[key])
        for key, family in LISTS.items():
            recipe[key] = [{"name": name_of(family, one), **settings_of(one)} for one in self.__dict__[key]]
        recipe["trackers"] = list(self.trackers)
        plain: dict[str, object] = _plain(recipe)
        return plain

    def to_yaml(self) -> str:
        """The recipe after defaults, as YAML."""
        return yaml.safe_dump(self.to_mapping(), allow_unicode=True, sort_keys=False)


def see_chain(steps: Sequence[Compressor]) -> None:
    """See that no step undoes what one before it did, or finds a model with which it cannot begin.

    Raises:
        RecipeError: one does.
    """
    for one, other in combinations(steps, 2):
        first, second = (name_of(COMPRESSORS, step) for step in (one, other))
        why, to_do = "", ""
        if isinstance(one, Converting):
            why, to_do = "which leaves a form of the model that torch cannot change", f"Put {first} last."
        elif isinstance(one, Sparsity) and not isinstance(other, Sparsity) and settings_of(other).get("epochs"):
            why, to_do = "whose zeros its training would fill again", f"Put {first} after it, or set its epochs to 0."
        elif isinstance(one, Vocabulary) and isinstance(other, Distill) and other.teacher == "original":
            why, to_do = "which takes away pieces that its teacher reads", f"Put {first} after it."
        if why:
            raise RecipeError(f"{second} cannot follow {first}, {why}.", where="compress", to_do=to_do)


@dataclass(frozen=True)
class _Rest:
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    name: str = "experiment"
    seed: int = 13


FILES = (
    "format",
    "text",
    "second",
    "image",
    "audio",
    "id",
    "header",
    "separator",
    "quoted",
    "label_separator",
    "encoding",
)
"""The settings of `data` that say how a file without labels is written; what parts labels also parts a history."""

LABELLED = (*FILES, "label", "label_first", "level_separator", "leave_out", "keep", "group", "items", "subgroups")
"""Those of a file with labels."""


def reading(changes: Sequence[str], used: Sequence[str] = FILES, usual: Data | None = None) -> Data:
    """How a file is written, from changes such as "data.encoding=gb18030" to what is `usual` (or else the defaults).

    Raises:
        RecipeError: a key is unknown or not one of those of `data` that are `used`, or a value is wrong.
    """
    for change in changes:
        key = change.partition("=")[0].strip()
        section, _, name = key.partition(".")
        if section != "data" and "=" in change:
            raise RecipeError(
                f"'{section}' says nothing of a file.", where="--set", to_do="Write --set data.KEY=VALUE."
            )
        if name and name not in used and name in {field.name for field in dataclasses.fields(Data)}:
            raise RecipeError(f"'data.{name}' is of no use here.", where="--set", to_do=f"Use {', '.join(used)}.")
    changed = with_changes({"data": settings_of(usual) if usual else {}}, changes)
    return from_settings(Data, _mapping("data", changed["data"]), "data")


def _mapping(key: str, given: object) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise RecipeError(
            f"'{key}' must hold keys and values, not {given!r}.", where=key, to_do="Indent its settings below it."
        )
    return given


def _list(key: str, given: object) -> Sequence[Any]:
    if not isinstance(given, list):
        raise RecipeError(
            f"'{key}' must be a list, not {given!r}.", where=key, to_do=f"Write {key}: [first, second], or a line each."
        )
    return given


def _mapping_or_name(key: str, given: object) -> str | Mapping[str, object]:
    return given if isinstance(given, str) else _mapping(key, given)


def _plain(value: Any) -> Any:
    """Tuples as lists, so that YAML needs no tags."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
