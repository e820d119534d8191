"""Study: what is varied, and the cells and runs that follow from it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from tunesmith.components import from_settings
from tunesmith.errors import RecipeError, nearest
from tunesmith.experiment import Experiment
from tunesmith.recipes import changed_at, read_recipe
from tunesmith.study.search import Search, Space
from tunesmith.study.variants import Changes, Variant, merged, placed, variants

BASELINE = "baseline"
"""The name of the recipe as it is, beside remedies and trials."""


@dataclass(frozen=True)
class Cell:
    """One variant of the recipe: its name, and what it changes.

    `data` names its data set, `size` is its number of training examples (0: as the recipe says), `way` is all else.
    Cells are compared with the baseline of the same data set and size.
    """

    name: str
    changes: Changes
    way: str = ""
    data: str = ""
    size: int = 0

    @property
    def block(self) -> tuple[str, int]:
        """What cells that are compared have in common."""
        return self.data, self.size


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
        data: data sets, each a name of your own with keys of the recipe and their values (data.name, task.problem).
        sizes: numbers of training examples (data.limit); with four or more a learning curve is fitted.
        remedies: named changes of the recipe, which is itself the cell "baseline": a name of your own with keys and
            values.
        vary: what else is varied: a key such as training.epochs with a list of values, or a name of your own with named
            sets of keys and values. Every value of one is combined with every value of the others, and of the above.
        search: values to be found instead of listed: `over` ranges, by so many `trials`.
        seeds: the seeds of each cell's runs.
        baseline: the cell that the others are compared with; empty means the first. With data sets or sizes its name is
            given without theirs.
        split: the examples to judge by: "validation", or "test", which then no choice may rest on.
        test_at_end: judge the best cell on validation, and the baseline, on the test examples once at the end.
        workers: runs at a time; 0 for as many as the cores and the memory allow (with an accelerator one).
        name: a name for the study and its folder; empty means the file's.
    """

    recipe: dict[str, Any]
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()
    remedies: dict[str, dict[str, Any]] = field(default_factory=dict)
    vary: dict[str, list[Any] | dict[str, Any]] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (13, 14, 15)
    baseline: str = ""
    split: Literal["test", "validation"] = "validation"
    test_at_end: bool = True
    workers: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if "seed" in self.recipe:
            raise RecipeError(
                "A study's recipe has no seed.", where="recipe.seed", to_do="Remove it, and list the seeds in 'seeds'."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise RecipeError("There must be a seed, and none twice.", where="seeds", to_do="Write seeds: [1, 2, 3].")
        if any(size < 1 for size in self.sizes) or len(set(self.sizes)) < len(self.sizes):
            raise RecipeError(
                "Sizes are positive numbers, none twice.", where="sizes", to_do="Write sizes: [50, 100, 200, 400]."
            )
        if self.workers < 0:
            raise RecipeError("workers must not be negative.", where="workers", to_do="Use 0 to let the machine say.")
        self._see_search()
        cells = [cell.name for cell in self.cells()]
        if twice := [name for name in cells if cells.count(name) > 1]:
            raise RecipeError(
                f"Two cells have the name '{twice[0]}'.",
                where="vary",
                to_do="Give the values names of their own: 'vary: {way: {first: {method.rank: 4}, ...}}'.",
            )
        ways = list(dict.fromkeys(cell.way for cell in self.cells()))
        if self.baseline and self.baseline not in ways:
            raise RecipeError(
                f"There is no cell '{self.baseline}'.{nearest(self.baseline, ways)}",
                where="baseline",
                to_do=f"The cells are {', '.join(ways[:12])}.",
            )

    def _see_search(self) -> None:
        """See that there is something to vary, and that a search stands alone."""
        varied = [name for name in ("data", "sizes", "remedies", "vary") if self.__dict__[name]]
        if self.search and varied:
            raise RecipeError(
                f"A search and '{varied[0]}' do not go together.",
                where=varied[0],
                to_do="Search first, then compare what was found in a study of its own; ranges stand in search.over.",
            )
        if not self.search and not varied:
            raise RecipeError(
                "There is nothing to vary.", where="vary", to_do="Give vary, remedies, data, sizes or search."
            )
        if self.search:
            self.searching()

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a study's file.

        Raises:
            RecipeError: the file cannot be read, a key is unknown, or a value is wrong.
        """
        given = read_recipe(Path(path), "study")
        for key in ("recipe", *(key for key in _HELD if key in given)):
            if not isinstance(given.get(key), Mapping) or not given[key]:
                raise RecipeError(
                    f"A study needs '{key}' with keys and values below it.",
                    where=str(path),
                    to_do="See examples/compare_methods.yaml.",
                )
        with placed(str(path)):
            study = from_settings(cls, given)
            return study if study.name else replace(study, name=Path(path).stem)

    def searching(self) -> tuple[Search, Space]:
        """The settings of the search, and what it searches over.

        Raises:
            RecipeError: a range is none, or a setting is wrong.
        """
        search = from_settings(Search, self.search, "search")
        return search, search.space()

    def cells(self) -> tuple[Cell, ...]:
        """Every combination of what is varied, in the file's order; of a search only the baseline.

        Raises:
            RecipeError: there is nothing to vary, or a key is none.
        """
        sets: list[Variant] = list(variants("data", "", self.data)) if self.data else [("", {})]
        sizes: list[Variant] = [(f"limit={size}", {"data.limit": size}) for size in self.sizes] or [("", {})]
        axes = [list(variants("vary", key, values)) for key, values in self.vary.items()]
        if self.remedies:
            axes.insert(0, [(BASELINE, {}), *variants("remedies", "", self.remedies)])
        found = []
        for (data, size), chosen in itertools.product(
            itertools.product(sets, zip(sizes, self.sizes or (0,), strict=True)), itertools.product(*axes)
        ):
            (limit, limited), count = size
            way = "+".join(name for name, _ in chosen) or BASELINE
            parts = [data[0], limit, *(name for name, _ in chosen)]
            name = "+".join(part for part in parts if part) or BASELINE
            changes = {**merged([data, (limit, limited)], "data"), **merged(chosen, "vary")}
            found.append(Cell(name, changes, way, data[0], count))
        return tuple(found)

    def compared_with(self) -> str:
        """The way of the baseline's cells."""
        return self.baseline or self.cells()[0].way

    def runs(self, folder: Path) -> tuple[Run, ...]:
        """Every cell with every seed, the first seed of all cells before the second.

        Raises:
            RecipeError: a cell's recipe is wrong; the error says which.
        """
        return tuple(self.run_of(cell, seed, folder) for seed in self.seeds for cell in self.cells())

    def run_of(self, cell: Cell, seed: int, folder: Path) -> Run:
        """The run of a cell with a seed."""
        return Run(cell.name, seed, self.experiment(cell, seed), folder / cell.name / f"seed-{seed}")

    def experiment(self, cell: Cell, seed: int) -> Experiment:
        """The recipe of one run; unless test is the judge, it leaves the test examples alone."""
        recipe: dict[str, object] = dict(self.recipe)
        with placed(f"cell '{cell.name}'"):
            for key, value in cell.changes.items():
                recipe = changed_at(recipe, key.split("."), value)
            if self.split != "test":
                recipe = changed_at(recipe, ("evaluation", "test"), value=False)
            made = Experiment.from_mapping({**recipe, "name": f"{self.name} {cell.name}", "seed": seed})
            if made.compress:
                raise RecipeError(
                    "A study compares models as they were trained.",
                    where="compress",
                    to_do="Leave it out, and compress the best run's artifact with 'tunesmith compress'.",
                )
            return made


_HELD: Sequence[str] = ("data", "remedies", "vary", "search")
