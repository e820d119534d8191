"""A guard that would rather say "I don't know" than be wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import RecipeError
from tunesmith.guarding.fitting import Material, Seen, not_fitted
from tunesmith.guarding.thresholds import risk_floor
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class ConfidenceFloor:
    """Answer "I don't know" where the model is not sure enough; of labelled spans, drop those that it is not sure of.

    The floor is given, or found for a wished risk: the share of wrong answers among those that are given stays below it
    with a stated certainty (Geifman and El-Yaniv 2017). The guarantee is for texts like the validation split, and for
    spans it takes each span as one answer, though those of a text hang together.

    Attributes:
        least: the lowest confidence that is answered; none for a floor that is found.
        risk: the share of wrong answers that is borne; needed where no floor is given.
        doubt: the probability that the risk is higher in spite of this.
        coverage, bound: the share of the validation answers that was given, and what their risk is below; found.
    """

    least: Annotated[float, Field(ge=0, le=1)] | None = None
    risk: Share | None = None
    doubt: Share = 0.05
    coverage: float | None = None
    bound: float | None = None

    def __post_init__(self) -> None:
        if self.least is None and self.risk is None:
            raise RecipeError(
                "The guard needs a floor, or a risk to find one for.",
                where="confidence_floor",
                to_do="Give least: 0.8, or risk: 0.05 and fit it.",
            )

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the answer."""
        return frozenset()

    @property
    def is_fitted(self) -> bool:
        """Whether it has a floor."""
        return self.least is not None

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Pass."""
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Withhold an answer below the floor, or its spans that are; an answer without probability passes."""
        if self.least is None:
            raise not_fitted("confidence_floor")
        if prediction.span_scores and isinstance(prediction.label, tuple):
            sure = [place for place, score in enumerate(prediction.span_scores) if score >= self.least]
            if len(sure) == len(prediction.span_scores):
                return prediction
            return _with_spans(prediction, sure)
        if isinstance(prediction.label, tuple) and not prediction.label:
            return prediction
        if prediction.confidence < self.least:
            return Verdict("unknown", "low_confidence", {"limit": self.least, "value": prediction.confidence})
        return prediction

    def fitted(self, material: Material) -> ConfidenceFloor:
        """A copy with the lowest floor that keeps the risk; one whose floor is given stays as it is.

        Raises:
            RecipeError: no floor does, or the answers have no probabilities.
        """
        if self.risk is None:
            return self
        judged = list(_judged(material.held_out))
        if not judged or any(math.isnan(sure) for sure, _ in judged):
            raise RecipeError(
                "There are no answers with probabilities to find a floor by.",
                where="confidence_floor",
                to_do="Leave the guard out for this task, or give labelled examples.",
            )
        floor = risk_floor([sure for sure, _ in judged], [wrong for _, wrong in judged], self.risk, self.doubt)
        return replace(self, least=floor.least, coverage=floor.coverage, bound=floor.bound)

    def figures(self, material: Material) -> Mapping[str, float]:
        """The floor, its coverage, and the bound of its risk."""
        found = {"least": self.least, "coverage": self.coverage, "risk below": self.bound}
        return {name: value for name, value in found.items() if value is not None}


def _judged(seen: Seen) -> Iterator[tuple[float, bool]]:
    """The confidence of each answer, and whether it is wrong; of spans each is one, of no spans none."""
    for example, answer, is_correct in zip(seen.examples, seen.predictions, seen.is_correct, strict=True):
        if isinstance(answer.label, tuple):
            if answer.span_scores:
                gold: Sequence[object] = example.label if isinstance(example.label, tuple) else ()
                yield from (
                    (score, span not in gold) for span, score in zip(answer.label, answer.span_scores, strict=True)
                )
            elif answer.label:
                yield answer.confidence, not is_correct
        else:
            yield answer.confidence, not is_correct


def _with_spans(prediction: Prediction, kept: Sequence[int]) -> Prediction:
    """The answer with some of its spans."""
    assert isinstance(prediction.label, tuple)
    spans = tuple(one for one in prediction.label if isinstance(one, Span))
    scores = tuple(prediction.span_scores[place] for place in kept)
    return replace(
        prediction,
        label=tuple(spans[place] for place in kept),
        span_scores=scores,
        confidence=min(scores) if scores else prediction.confidence,
    )
