"""What is known of a data set that has a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DataSet:
    """A known data set.

    `train`, `validation`, `test` and `items` (what is recommended) are paths below `folder`; `reading` holds settings
    of `Data` that its form needs; `hub` holds the same splits as paths of the hub, for when the folder is not there.
    """

    summary: str
    licence: str
    train: str = ""
    validation: str = ""
    test: str = ""
    folder: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    hub: Mapping[str, str] = field(default_factory=dict)
    items: str = ""
