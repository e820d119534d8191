"""Study: what is varied, and the cells and runs that follow from it."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from tunesmith.components import from_settings
from tunesmith.errors import RecipeError, TunesmithError, nearest
from tunesmith.experiment import Experiment
from tunesmith.recipes import changed_at, read_recipe

Changes = Mapping[str, object]
"""Dotted keys of a recipe, such as "training.epochs", and their values."""


@dataclass(frozen=True)
class Cell:
    """One variant of the recipe: its name, and what it changes."""

    name: str
    changes: Changes


@dataclass(frozen=True)
class Run:
    """One training run of a cell, and the folder that it writes."""

    cell: str
    seed: int
    experiment: Experiment
    folder: Path


@dataclass(frozen=True)
class Study:
    """A recipe in several variants, each run with several seeds.

    Attributes:
        recipe: the recipe that all cells start from (required), as in a file for "tunesmith run", without a seed.
        vary: what is varied: a key such as training.epochs with a list of values, or a name of your own with named sets
            of keys and values. Every value of one is combined with every value of the others.
        seeds: the seeds of each cell's runs.
        baseline: the cell that the others are compared with; empty means the first.
        split: the examples to judge by: "test", or "validation" while settings are still being chosen.
        name: a name for the study and its folder; empty means the file's.
    """

    recipe: dict[str, Any]
    vary: dict[str, list[Any] | dict[str, Any]]
    seeds: tuple[int, ...] = (13, 14, 15)
    baseline: str = ""
    split: Literal["test", "validation"] = "test"
    name: str = ""

    def __post_init__(self) -> None:
        if "seed" in self.recipe:
            raise RecipeError(
                "A study's recipe has no seed.", where="recipe.seed", to_do="Remove it, and list the seeds in 'seeds'."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise RecipeError("There must be a seed, and none twice.", where="seeds", to_do="Write seeds: [1, 2, 3].")
        cells = [cell.name for cell in self.cells()]
        if twice := [name for name in cells if cells.count(name) > 1]:
            raise RecipeError(
                f"Two cells have the name '{twice[0]}'.",
                where="vary",
                to_do="Give the values names of their own: 'vary: {way: {first: {method.rank: 4}, ...}}'.",
            )
        if self.baseline and self.baseline not in cells:
            raise RecipeError(
                f"There is no cell '{self.baseline}'.{nearest(self.baseline, cells)}",
                where="baseline",
                to_do=f"The cells are {', '.join(cells[:12])}.",
            )

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a study's file.

        Raises:
            RecipeError: the file cannot be read, a key is unknown, or a value is wrong.
        """
        given = read_recipe(Path(path), "study")
        for key in ("recipe", "vary"):
            if not isinstance(given.get(key, {} if key in _KEYS - given.keys() else None), Mapping) or not given.get(
                key
            ):
                raise RecipeError(
                    f"A study needs '{key}' with keys and values below it.",
                    where=str(path),
                    to_do="See examples/compare_methods.yaml.",
                )
        with placed(str(path)):
            study = from_settings(cls, given)
            return study if study.name else replace(study, name=Path(path).stem)

    def cells(self) -> tuple[Cell, ...]:
        """Every combination of what is varied, in the file's order.

        Raises:
            RecipeError: there is nothing to vary, or a key is none.
        """
        axes = [list(_variants(key, values)) for key, values in self.vary.items()]
        found = []
        for chosen in itertools.product(*axes):
            changes: dict[str, object] = {}
            for name, own in chosen:
                if twice := sorted(changes.keys() & own.keys()):
                    raise RecipeError(f"'{twice[0]}' is varied twice.", where=f"vary: {name}", to_do="Set it once.")
                changes |= own
            found.append(Cell("+".join(name for name, _ in chosen), changes))
        return tuple(found)

    def compared_with(self) -> str:
        """The name of the baseline's cell."""
        return self.baseline or self.cells()[0].name

    def runs(self, folder: Path) -> tuple[Run, ...]:
        """Every cell with every seed, the first seed of all cells before the second.

        Raises:
            RecipeError: a cell's recipe is wrong; the error says which.
        """
        return tuple(
            Run(cell.name, seed, self.experiment(cell, seed), folder / cell.name / f"seed-{seed}")
            for seed in self.seeds
            for cell in self.cells()
        )

    def experiment(self, cell: Cell, seed: int) -> Experiment:
        """The recipe of one run."""
        recipe: dict[str, object] = dict(self.recipe)
        with placed(f"cell '{cell.name}'"):
            for key, value in cell.changes.items():
                recipe = changed_at(recipe, key.split("."), value)
            return Experiment.from_mapping({**recipe, "name": f"{self.name} {cell.name}", "seed": seed})


_KEYS = {field.name for field in dataclasses.fields(Study)}


def _variants(key: str, values: Sequence[object] | Mapping[str, object]) -> Iterator[tuple[str, Changes]]:
    """The name and the changes of each value of what is varied."""
    if not values:
        raise RecipeError("There is nothing to vary.", where=f"vary.{key}", to_do="List at least one value.")
    if not isinstance(values, Mapping):
        for value in values:
            yield _named(_name_of(key, value)), {_checked(key): value}
        return
    for name, changes in values.items():
        if not isinstance(changes, Mapping):
            raise RecipeError(
                f"'{name}' must hold keys of the recipe and their values, not {changes!r}.",
                where=f"vary.{key}",
                to_do=f"Write '{name}: {{method: lora, training.learning_rate: 1e-3}}', or a plain list of values.",
            )
        yield _named(str(name)), {_checked(str(own)): value for own, value in changes.items()}


def _name_of(key: str, value: object) -> str:
    """The name of a cell's value: a component by its name and settings, others as "epochs=3"."""
    if isinstance(value, Mapping):
        rest = [f"{name}={item}" for name, item in value.items() if name != "name"]
        return "-".join([str(value.get("name", key)), *rest])
    return str(value) if isinstance(value, str) and "." not in key else f"{key.rpartition('.')[2]}={value}"


def _named(name: str) -> str:
    """The name with what cannot stand in a folder's name replaced."""
    return re.sub(r"[^\w.=,+-]+", "-", name).strip(".-") or "-"


def _checked(key: str) -> str:
    parts = key.split(".")
    if not all(parts) or len(parts) > 2 or parts[0] in ("name", "seed"):
        raise RecipeError(
            f"'{key}' is no key that can be varied.",
            where="vary",
            to_do="Write section or section.key, such as method or training.epochs; seeds stand in 'seeds'.",
        )
    return key


@contextmanager
def placed(place: str) -> Iterator[None]:
    """A block whose errors also say in which file or cell they are."""
    try:
        yield
    except TunesmithError as error:
        where = f"{place}: {error.where}" if error.where else place
        raise type(error)(error.what, where=where, to_do=error.to_do) from error
