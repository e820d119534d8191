"""Every error that a user can cause, as one tree.

    TunesmithError
    ├── RecipeError        a key, a value or a component of the recipe
    ├── DataError          a file, a row or a column of the data
    │   └── LabelError     a label that the task does not know or cannot use
    ├── ModelError         a pre-trained model that cannot be found, read or trusted
    ├── TrainingError      a run that cannot go on (a loss that is not a number, a method without effect)
    ├── CheckpointError    a checkpoint that is missing, cut short or of another run
    ├── ArtifactError      an artifact that is damaged, changed or of another label schema
    │   └── UntrustedError  an artifact that no trusted key has signed
    ├── ResourceError      too little disk or memory, or a file of state that cannot be used
    ├── RefusedError       a request to a service that is turned away, with a stable code (access/refusals.py)
    ├── StoreError         a database of answers that cannot be used (remembered.refusals, beside FeedbackError)
    └── MissingExtraError  an optional package that the recipe needs

Each says what was wrong, where, and what to do; the command line prints the three and leaves with exit code 2.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


class TunesmithError(Exception):
    """An error with a cause that the user can mend: `what` was wrong, `where`, and what `to_do`."""

    def __init__(self, what: str, *, where: str = "", to_do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.to_do = to_do

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"where: {self.where}")
        if self.to_do:
            lines.append(f"do:    {self.to_do}")
        return "\n".join(lines)


class RecipeError(TunesmithError):
    """A key, a value or a component of the recipe is wrong."""


class DataError(TunesmithError):
    """A file, a row or a column of the data is wrong."""


class LabelError(DataError):
    """A label is unknown to the task, or of the wrong kind for it."""


class ModelError(TunesmithError):
    """A pre-trained model cannot be found, read or trusted."""


class TrainingError(TunesmithError):
    """Training cannot go on, or would have no effect."""


class CheckpointError(TunesmithError):
    """A checkpoint is missing, cut short, or belongs to another run."""


class ArtifactError(TunesmithError):
    """An artifact is damaged, was changed, or has another label schema."""


class UntrustedError(ArtifactError):
    """No trusted key has signed an artifact."""


class ResourceError(TunesmithError):
    """There is too little disk or memory for what was asked."""


class MissingExtraError(TunesmithError):
    """An optional package is not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known name closest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def nearest_file(path: Path) -> str:
    """The same for the first part of a path that is not there, among what lies where it should be."""
    while not path.parent.is_dir() and path != path.parent:
        path = path.parent
    try:
        return nearest(path.name, (other.name for other in path.parent.iterdir()))
    except OSError:  # a folder that may not be listed
        return ""


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra of Tunesmith installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"The package '{module.partition('.')[0]}' is not installed.",
            to_do=f"Install it with: pip install 'tunesmith[{extra}]'",
        ) from error
