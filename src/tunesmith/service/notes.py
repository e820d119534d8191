"""What the service notes of batches, answers and versions."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.service.batching import Waiting
from tunesmith.service.engine import Answers
from tunesmith.service.versions import Version


class Notes:
    """Takes note, for metrics."""

    def answered(self, slot: str, batch: Sequence[Waiting], answers: Answers) -> None:
        """A batch was answered."""

    def waits(self, slot: str, length: int) -> None:
        """So many texts wait for a model."""

    def spared(self, reason: str) -> None:
        """A text was not asked any more."""

    def switched(self, version: Version, seconds: float) -> None:
        """A version answers from now on."""

    def released(self, version: Version) -> None:
        """A version was let go."""
