"""How texts without labels are learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tunesmith.augmentation import Augmenter
from tunesmith.data.records import Example
from tunesmith.semi_supervision.alarms import Alarm, Alarms
from tunesmith.semi_supervision.consistency import UDA, FixMatch
from tunesmith.semi_supervision.labelled_only import LabelledOnly
from tunesmith.semi_supervision.pseudo_labels import Judged, Survey
from tunesmith.semi_supervision.self_training import SelfTraining
from tunesmith.semi_supervision.views import Texts
from tunesmith.tasks import Task
from tunesmith.training.beside import Beside


class SemiSupervision(Protocol):
    """A way to learn from texts without labels, or the choice not to."""

    @property
    def uses_texts(self) -> bool:
        """Whether there is anything to do with such texts."""

    def check(self, task: Task, augmenters: Sequence[Augmenter]) -> None:
        """Raise a RecipeError where the task or the recipe lacks what is needed."""

    def beside(self, texts: Texts) -> Beside | None:
        """What each step learns beside its labelled examples; None for nothing."""


@runtime_checkable
class Teaching(Protocol):
    """A way in which students are trained after a supervised model, each judged by its answers to the texts."""

    @property
    def rounds(self) -> int:
        """Students, one after the other."""

    @property
    def learns_from_answers(self) -> bool:
        """Whether a student learns from what its teacher answered before it."""

    def surveyed(self, labelled: Sequence[Example], texts: Judged, validation: Judged, teacher: str) -> Survey:
        """A model's answers to the texts, counted, with the examples that a student learns from."""


SEMI_SUPERVISION: dict[str, type[SemiSupervision]] = {
    "none": LabelledOnly,
    "self_training": SelfTraining,
    "fixmatch": FixMatch,
    "uda": UDA,
}

__all__ = [
    "SEMI_SUPERVISION",
    "UDA",
    "Alarm",
    "Alarms",
    "FixMatch",
    "Judged",
    "LabelledOnly",
    "SelfTraining",
    "SemiSupervision",
    "Survey",
    "Teaching",
    "Texts",
]
