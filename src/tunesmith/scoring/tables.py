"""Results per class, as reports print them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class, or one average over classes; `support` counts its gold items."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title, with a note on how they were counted."""

    title: str
    note: str
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How often each class was taken for which: `counts` [C, C], a row per gold class, a column per answer."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
