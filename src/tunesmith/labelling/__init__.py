"""Labels from rules that are cheap and often wrong: their votes, and what these say together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.labelling.label_models import DawidSkene, Judged, MajorityVote, Moments


class LabelModel(Protocol):
    """A way to come from votes to the probability of each class."""

    def judge(self, votes: NDArray[np.int64], classes: int, labels: Sequence[str] = ()) -> Judged:
        """What the votes [N, M] (class numbers, or `ABSTAINED`) of M functions on N texts say of `classes` classes.

        `labels` are the names of these, for a model that is told something of them.
        """


LABEL_MODELS: dict[str, type[LabelModel]] = {
    "majority": MajorityVote,
    "dawid_skene": DawidSkene,
    "moments": Moments,
}

__all__ = ["LABEL_MODELS", "DawidSkene", "Judged", "LabelModel", "MajorityVote", "Moments"]
