"""What a model knows of texts without labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError

Need = Literal["probabilities", "draws", "vectors", "labelled"]
"""What a strategy must know: class probabilities, the same with dropout, vectors, and all of it of labelled texts."""


def _none() -> NDArray[np.float64]:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class Pool:
    """Texts without labels as a model sees them; what no strategy asks for may be left out.

    Attributes:
        size: the number of texts N.
        probabilities: of each class [N, C].
        draws: the same with dropout, T times [T, N, C].
        vectors: of the texts [N, H].
        labelled_vectors: of the texts that have labels already [L, H].
        labelled_probabilities: of each class of these [L, C].
    """

    size: int
    probabilities: NDArray[np.float64] = field(default_factory=_none)
    draws: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0, 0)))
    vectors: NDArray[np.float64] = field(default_factory=_none)
    labelled_vectors: NDArray[np.float64] = field(default_factory=_none)
    labelled_probabilities: NDArray[np.float64] = field(default_factory=_none)

    def __post_init__(self) -> None:
        """See that each part has a row per text.

        Raises:
            DataError: one has not.
        """
        for name, rows in (("probabilities", self.probabilities), ("vectors", self.vectors)):
            if rows.size and len(rows) != self.size:
                raise DataError(f"The pool has {self.size} texts and {len(rows)} rows of {name}.")
        if self.draws.size and self.draws.shape[1] != self.size:
            raise DataError(f"The pool has {self.size} texts and {self.draws.shape[1]} in each draw.")
