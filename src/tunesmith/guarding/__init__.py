"""What is refused, changed, or answered with "I don't know", before a model is asked and after it answered."""

from __future__ import annotations

from typing import Protocol

from tunesmith.data.records import Example, Prediction
from tunesmith.guarding.confidence import ConfidenceFloor
from tunesmith.guarding.constraints import AnswerConstraints
from tunesmith.guarding.distribution import OutOfDistribution
from tunesmith.guarding.injection import PromptInjection
from tunesmith.guarding.language import Language
from tunesmith.guarding.scope import OutOfScope
from tunesmith.guarding.size import Size
from tunesmith.guarding.toxicity import Toxicity
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict


class Guard(Protocol):
    """Looks at a text before the model is asked, and at its answer after."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it must be told beside the text and the answer."""

    def before(self, example: Example, evidence: Evidence) -> Before:
        """The example as it may go on (itself, or changed), or an objection."""

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """The answer as it may go out (itself, or changed), or an objection."""


GUARDS: dict[str, type[Guard]] = {
    "size": Size,
    "language": Language,
    "prompt_injection": PromptInjection,
    "toxicity": Toxicity,
    "out_of_distribution": OutOfDistribution,
    "out_of_scope": OutOfScope,
    "confidence_floor": ConfidenceFloor,
    "answer_constraints": AnswerConstraints,
}

__all__ = [
    "GUARDS",
    "AnswerConstraints",
    "ConfidenceFloor",
    "Evidence",
    "Guard",
    "Language",
    "OutOfDistribution",
    "OutOfScope",
    "PromptInjection",
    "Size",
    "Toxicity",
    "Verdict",
]
