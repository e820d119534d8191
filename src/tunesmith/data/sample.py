"""Sample: rows of one form, as a user's files may have them, with the settings that they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHOWN = 3
"""The lines of a file that its beginning has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of one form.

    Attributes:
        title: the form in words.
        files: name -> content; the first holds the examples.
        recipe: section -> the settings that these files need, their own names among them.
        media: files that the rows name.
    """

    title: str
    files: Mapping[str, str]
    recipe: Mapping[str, Mapping[str, Any]]
    media: tuple[str, ...] = ()

    def beginnings(self) -> dict[str, list[str]]:
        """The first lines of each file."""
        return {name: content.splitlines()[:_SHOWN] for name, content in self.files.items()}


def sample(
    title: str,
    name: str,
    *rows: str,
    data: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    media: tuple[str, ...] = (),
) -> Sample:
    """A sample of one file: the one to learn from, unless `data` names another split."""
    named = {**({} if "test" in (data or {}) else {"train": name}), **(data or {})}
    return Sample(title, {name: lines(*rows)}, {"data": named, **({"task": task} if task else {})}, media)


def lines(*rows: str) -> str:
    """The content of a file with these lines."""
    return "\n".join(rows) + "\n"
