"""Learning from labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.augmentation import Augmenter
from tunesmith.semi_supervision.views import Texts
from tunesmith.tasks import Task


@dataclass(frozen=True)
class LabelledOnly:
    """Texts without labels are not used."""

    @property
    def uses_texts(self) -> bool:
        """No."""
        return False

    def check(self, task: Task, augmenters: Sequence[Augmenter]) -> None:
        """Always possible."""

    def beside(self, texts: Texts) -> None:
        """Nothing."""
