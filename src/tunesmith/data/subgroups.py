"""Parts of the data by the values of columns, of which the worst shall be judged, or learnt, as well as the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tunesmith.data.records import Example, Finding
from tunesmith.errors import DataError, RecipeError

LABEL = "label"
"""In place of a column: the example's own class."""


@dataclass(frozen=True)
class Subgroups:
    """The subgroups of the training examples: their names in order, and how many examples each has."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Subgroups | None:
        """Those of the examples; None where one belongs to none."""
        counts = Counter(example.subgroup for example in examples)
        return cls(tuple(sorted(counts)), tuple(counts[name] for name in sorted(counts))) if "" not in counts else None

    def number(self, example: Example) -> int:
        """The place of the example's subgroup among the names."""
        return self._places[example.subgroup]

    def members(self, examples: Iterable[Example]) -> tuple[tuple[int, ...], ...]:
        """The places of the examples of each subgroup."""
        places: list[list[int]] = [[] for _ in self.names]
        for place, example in enumerate(examples):
            places[self.number(example)].append(place)
        return tuple(map(tuple, places))

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def columns_of(subgroups: Sequence[str]) -> tuple[str, ...]:
    """The columns that must be read to tell subgroups apart."""
    return tuple(name for name in subgroups if name != LABEL)


def check_subgroups(subgroups: Sequence[str], label_kind: str) -> None:
    """See that the columns are named once, and that labels are classes where they tell subgroups apart.

    Raises:
        RecipeError: they are not.
    """
    if len(set(subgroups)) < len(subgroups):
        raise RecipeError("A column is named twice.", where="data.subgroups", to_do="Name each once.")
    if LABEL in subgroups and label_kind not in ("class", ""):
        raise RecipeError(
            f"Labels tell subgroups apart only where each text has one class; these are: {label_kind}.",
            where="data.subgroups",
            to_do="Name columns alone.",
        )


def in_subgroup(example: Example, subgroups: Sequence[str]) -> Example:
    """The example with the name of its subgroup, such as "source=web, label=good".

    Raises:
        DataError: it has no value in one of the columns.
    """
    values = {name: example.label if name == LABEL else example.attributes.get(name) for name in subgroups}
    missing = [name for name, value in values.items() if value in (None, "")]
    if missing:
        raise DataError(
            f"The row has no value in '{missing[0]}', so it belongs to no subgroup (data.subgroups).",
            where=example.origin or example.id,
            to_do="Give each row a value, or leave the column out of data.subgroups.",
        )
    return replace(example, subgroup=", ".join(f"{name}={value}" for name, value in values.items()))


def subgroup_findings(splits: Mapping[str, Sequence[Example]]) -> list[Finding]:
    """How many examples of each subgroup each split has, and which of the others have no training example."""
    found = []
    counts = {split: Counter(example.subgroup for example in examples) for split, examples in splits.items()}
    for split, count in counts.items():
        listed = "; ".join(f"{name}: {size:,}" for name, size in sorted(count.items())[:SHOWN])
        more = f"; and {len(count) - SHOWN} more" if len(count) > SHOWN else ""
        found.append(Finding("subgroups", "note", f"{split}: {len(count)} subgroups ({listed}{more}).", len(count)))
        unseen = sorted(set(count) - set(counts.get("train", count)))
        if unseen:
            message = f"{split}: {len(unseen)} subgroups have no training example."
            found.append(Finding("unseen_subgroups", "warning", message, len(unseen), tuple(unseen[:3])))
    return found


SHOWN = 12
"""So many subgroups are listed by name."""
