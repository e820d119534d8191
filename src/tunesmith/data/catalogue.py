"""Data sets by name: where their files lie below $TUNESMITH_DATA, in the package, or on the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tunesmith.data.data_set import DataSet
from tunesmith.data.data_sets import DATA_SETS
from tunesmith.errors import DataError, nearest

VARIABLE = "TUNESMITH_DATA"
BESIDE = Path("..") / "shared" / "data"
"""Where the data sets are looked for when the variable is not set."""

PACKAGED = "support-finance"


@dataclass(frozen=True, slots=True)
class Known:
    """What a recipe can name: a data set or a model, its licence, and where it would be taken from."""

    name: str
    summary: str
    licence: str
    place: str


def known_data_sets() -> list[Known]:
    """Every data set of the catalogue; the place is empty where it cannot be had."""
    found = []
    for name, entry in DATA_SETS.items():
        folder = _folder_of(name, entry)
        place = "with tunesmith" if name == PACKAGED else str(folder) if folder.is_dir() else "hub" if entry.hub else ""
        found.append(Known(name, entry.summary, entry.licence, place))
    return found


def find(name: str) -> tuple[DataSet, dict[str, str]]:
    """A data set and the path of each split (and of its items): from the package, $TUNESMITH_DATA, or the hub.

    Raises:
        DataError: the name is unknown, or the data set is neither here nor on the hub.
    """
    if name not in DATA_SETS:
        raise DataError(
            f"Unknown data set '{name}'.{nearest(name, DATA_SETS)}",
            where="data.name",
            to_do=f"Use one of {', '.join(DATA_SETS)}; or give data.train.",
        )
    entry = DATA_SETS[name]
    folder = _folder_of(name, entry)
    splits = {"train": entry.train, "validation": entry.validation, "test": entry.test, "items": entry.items}
    if folder.is_dir():
        return entry, {split: str(folder / path) for split, path in splits.items() if path}
    if entry.hub:
        return entry, dict(entry.hub)
    raise DataError(
        f"The data set '{name}' is not on this machine, and the hub has no copy that is read without running code.",
        where=str(folder),
        to_do=f"Put its files there, or set {VARIABLE} to the folder that holds '{entry.folder or name}'.",
    )


LEXICONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "wordnet": ("index.noun", ("wordnet", "/usr/share/wordnet")),
    "cilin": ("new_cilin.txt.xz", ("lexicon-cilin/new_cilin.txt.xz", "lexicon-cilin/new_cilin.txt")),
}
"""By name a lexicon's file, and where it is looked for: below the folder of data sets, or where a system keeps it."""


def find_lexicon(name: str) -> Path:
    """The folder of WordNet's files, or the file of Cilin.

    Raises:
        DataError: it is not there.
    """
    file, places = LEXICONS[name]
    for place in places:
        path = data_folder() / place
        if path.is_file() or (path / file).is_file():
            return path
    how = "Install wordnet-base (Debian, Ubuntu), or put" if name == "wordnet" else "Put"
    raise DataError(
        f"The lexicon '{name}' is not on this machine.",
        where=", ".join(str(data_folder() / place) for place in places),
        to_do=f"{how} its files there, or name a file of synonyms in lexicon.",
    )


def data_folder() -> Path:
    """The folder of data sets: $TUNESMITH_DATA, or ../shared/data."""
    return Path(os.environ.get(VARIABLE, "") or BESIDE)


def _folder_of(name: str, entry: DataSet) -> Path:
    return Path(str(files("tunesmith") / "demo")) if name == PACKAGED else data_folder() / (entry.folder or name)
