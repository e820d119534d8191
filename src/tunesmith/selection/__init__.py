"""Which unlabelled texts to label next (active learning)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tunesmith.selection.pool import Need, Pool
from tunesmith.selection.strategies import (
    BALD,
    Badge,
    Contrastive,
    Coreset,
    Entropy,
    LeastConfidence,
    Margin,
    Random,
)


class QueryStrategy(Protocol):
    """A way to choose among unlabelled texts."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it must know of the pool."""

    def choose(self, pool: Pool, size: int, random: np.random.Generator) -> list[int]:
        """The places of so many texts of the pool, the most wanted first; all of them if it has fewer."""


QUERY_STRATEGIES: dict[str, type[QueryStrategy]] = {
    "random": Random,
    "least_confidence": LeastConfidence,
    "margin": Margin,
    "entropy": Entropy,
    "bald": BALD,
    "coreset": Coreset,
    "badge": Badge,
    "contrastive": Contrastive,
}

__all__ = [
    "BALD",
    "QUERY_STRATEGIES",
    "Badge",
    "Contrastive",
    "Coreset",
    "Entropy",
    "LeastConfidence",
    "Margin",
    "Need",
    "Pool",
    "QueryStrategy",
    "Random",
]
