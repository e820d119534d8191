"""What the nearest trusted examples say of a text's label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CELLS = 8_000_000
"""Similarities held at once; about 64 MB."""


def neighbour_shares(
    vectors: NDArray[np.float64],
    trusted: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    neighbours: int,
    own: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """For each text the share of each class among its nearest trusted examples, by cosine: [N, H] -> [N, C].

    Neighbours weigh by their cosine, those below 0 nothing; a text that no trusted one is like gets shares of 0. `own`
    [N] is the place of each text among the trusted ones, which is not its own neighbour then.
    """
    found = np.zeros((len(vectors), int(labels.max()) + 1))
    unit = _unit(trusted)
    for start in range(0, len(vectors), max(1, _CELLS // max(1, len(trusted)))):
        part = slice(start, start + max(1, _CELLS // max(1, len(trusted))))
        cosines = _unit(vectors[part]) @ unit.T
        if own is not None:
            cosines[np.arange(len(cosines)), own[part]] = -1.0
        count = min(neighbours, cosines.shape[1])
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        weights = np.take_along_axis(cosines, nearest, axis=1).clip(0.0)
        rows = np.repeat(np.arange(len(cosines)), count)
        np.add.at(found[part], (rows, labels[nearest].ravel()), weights.ravel())
    sums = found.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(found, sums, out=np.zeros_like(found), where=sums > 0)
    return shares


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit
