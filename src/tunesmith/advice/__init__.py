"""What ails a project, by a check and a short probe, and what might help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tunesmith.advice.of_data import Imbalanced, Leakage, LongTexts, Scarce
from tunesmith.advice.of_language import OffDomain
from tunesmith.advice.of_learning import Costly, Noisy
from tunesmith.advice.of_words import Shortcut
from tunesmith.advice.records import Project, Remedy, Symptom


class Ailment(Protocol):
    """Something that a project can suffer from, told by one figure and a threshold."""

    def look(self, project: Project) -> Symptom | None:
        """The figure and how bad it is; None where it cannot be measured."""

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """What might help, where the symptom is named."""


AILMENTS: dict[str, type[Ailment]] = {
    "off_domain": OffDomain,
    "leakage": Leakage,
    "shortcut": Shortcut,
    "noisy": Noisy,
    "scarce": Scarce,
    "imbalanced": Imbalanced,
    "long": LongTexts,
    "costly": Costly,
}
"""Where two are equally bad, the one that stands first must be mended first."""

__all__ = [
    "AILMENTS",
    "Ailment",
    "Costly",
    "Imbalanced",
    "Leakage",
    "LongTexts",
    "Noisy",
    "OffDomain",
    "Project",
    "Remedy",
    "Scarce",
    "Shortcut",
    "Symptom",
]
