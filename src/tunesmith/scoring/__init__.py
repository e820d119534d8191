"""How good answers are: measures that know their value and can be computed again on resampled examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_CELLS = 4_000_000
"""Numbers held at once while resampling; about 32 MB."""


class Measure(Protocol):
    """A metric of one set of answers. A value that is not defined (no positives, a constant) is nan."""

    @property
    def name(self) -> str:
        """The metric's name in reports, such as "macro_f1"."""

    @property
    def size(self) -> int:
        """The number of examples."""

    @property
    def higher_is_better(self) -> bool:
        """False for errors such as "mae"."""

    def value(self) -> float:
        """The metric over all examples."""

    def resampled(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """The metric of each row of resampled examples: [B, N] indices -> B values."""


@dataclass(frozen=True, eq=False)
class SummedMeasure:
    """A metric that depends only on sums over examples, such as accuracy, F1, AUC or the mean error.

    `statistics` [N, K] holds what each example adds, dense or sparse; `finish` turns sums [B, K] into B values.
    """

    name: str
    statistics: NDArray[np.float64] | csr_array
    finish: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    higher_is_better: bool = True

    @property
    def size(self) -> int:
        """The number of examples."""
        return int(self.statistics.shape[0])

    def value(self) -> float:
        """The metric over all examples."""
        sums = np.asarray(self.statistics.sum(axis=0), dtype=np.float64).reshape(1, -1)
        return float(self.finish(sums)[0])

    def resampled(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """The metric of each row of resampled examples: [B, N] indices -> B values."""
        values = np.empty(len(indices))
        rows = rows_at_once(self.size)
        for start in range(0, len(indices), rows):
            part = indices[start : start + rows]
            values[start : start + rows] = self.finish(np.asarray(times_drawn(part, self.size) @ self.statistics))
        return values


@dataclass(frozen=True, eq=False)
class RankMeasure:
    """A metric that needs the examples side by side, such as a rank correlation.

    `columns` [N, K] holds one row per example; `whole` computes the metric of any rows [n, K].
    """

    name: str
    columns: NDArray[Any]
    whole: Callable[[NDArray[Any]], float]
    higher_is_better: bool = True

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(self.columns)

    def value(self) -> float:
        """The metric over all examples."""
        return self.whole(self.columns)

    def resampled(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """The metric of each row of resampled examples: [B, N] indices -> B values."""
        return np.array([self.whole(self.columns[row]) for row in indices], dtype=np.float64)


def mean_measure(name: str, values: NDArray[np.float64], *, higher_is_better: bool = True) -> SummedMeasure:
    """The mean of one number per example [N]."""
    statistics = np.column_stack([values, np.ones(len(values))])
    return SummedMeasure(name, statistics, lambda sums: divide(sums[:, 0], sums[:, 1]), higher_is_better)


def times_drawn(indices: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    """How often each of `size` examples is in each resample: [B, N] indices -> [B, size]."""
    counts = np.empty((len(indices), size))
    for number, row in enumerate(indices):
        counts[number] = np.bincount(row, minlength=size)
    return counts


def divide(above: NDArray[np.float64], below: NDArray[np.float64], otherwise: float = np.nan) -> NDArray[np.float64]:
    """Divide element by element; where `below` is zero the result is `otherwise`."""
    result = np.full(np.broadcast_shapes(above.shape, below.shape), otherwise)
    np.divide(above, below, out=result, where=below != 0)
    return result


def rows_at_once(size: int) -> int:
    """How many resamples of `size` examples are held in memory together."""
    return max(1, _CELLS // max(size, 1))
