"""A guard against offensive texts and answers, by a classifier that Tunesmith has trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict


@dataclass(frozen=True)
class Toxicity:
    """Refuse texts, or withhold written answers, that a classifier judges offensive.

    The classifier is an artifact of its own (examples/guard_toxicity_en.yaml, guard_toxicity_zh.yaml): one for each
    language. Whoever asks must have its answer; it costs a second model per request. What it cannot do is measured in
    docs/evidence/guards.md: read that before it stands in anyone's way.

    Attributes:
        artifact: the classifier's folder.
        labels: its labels that count as offensive; their probabilities are summed.
        threshold: the probability from which on a text is refused.
        of: what is judged: the "text" before the model, its written "answer" after it, or "both".
    """

    artifact: str
    labels: tuple[str, ...]
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    of: Literal["text", "answer", "both"] = "text"

    def __post_init__(self) -> None:
        if not self.artifact or not self.labels:
            raise RecipeError(
                "The guard needs a classifier and the labels that count as offensive.",
                where="toxicity",
                to_do="Name artifact: FOLDER and labels: [...].",
            )

    @property
    def needs(self) -> frozenset[Need]:
        """The classifier's answer."""
        return frozenset({"model"})

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Refuse an offensive text."""
        if self.of == "answer":
            return example
        return self._objection(evidence, "toxic_text") or example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Withhold an offensive answer; labels are none."""
        if self.of == "text" or not isinstance(prediction.label, str):
            return prediction
        return self._objection(evidence, "toxic_answer") or prediction

    def _objection(self, evidence: Evidence, code: str) -> Verdict | None:
        answer = evidence.answers.get(self.artifact)
        if answer is None:
            raise RecipeError(
                "The classifier of the guard was not asked.",
                where="toxicity",
                to_do="Ask guards with the evidence that they need (Guards.needs, Guards.models).",
            )
        value = sum(answer.scores.get(label, 0.0) for label in self.labels)
        if value >= self.threshold:
            return Verdict("refuse", code, {"limit": self.threshold, "value": value})
        return None
