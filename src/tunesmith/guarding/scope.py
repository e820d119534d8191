"""A guard against requests that are none of the known intents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError, nearest
from tunesmith.guarding.fitting import Material, not_fitted
from tunesmith.guarding.thresholds import alarm_limit
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict


@dataclass(frozen=True)
class OutOfScope:
    """Answer "I don't know" to requests that are none of the known intents.

    A model that has learnt a class for what is out of scope is asked for its probability; of any other, one minus the
    highest probability is taken. Both have a limit by the rate of false alarms, so that they can be compared.

    Attributes:
        label: the class for what is out of scope; empty where the model has none.
        alarm_rate: the share of in-scope requests that may be refused; it sets the limit.
        limit: the score above which a request is refused; fitted.
    """

    label: str = ""
    alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    limit: float | None = None

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the answer."""
        return frozenset()

    @property
    def is_fitted(self) -> bool:
        """Whether it has a limit."""
        return self.limit is not None

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Pass."""
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Withhold an answer that is likely out of scope, or that says so itself."""
        if self.limit is None:
            raise not_fitted("out_of_scope")
        value = self.score(prediction)
        if value > self.limit or (self.label and prediction.label == self.label):
            return Verdict("unknown", "out_of_scope", {"limit": self.limit, "value": value})
        return prediction

    def score(self, prediction: Prediction) -> float:
        """How likely the request is out of scope; the higher the likelier."""
        return prediction.scores.get(self.label, 0.0) if self.label else 1 - prediction.confidence

    def fitted(self, material: Material) -> OutOfScope:
        """A copy with its limit.

        Raises:
            RecipeError: the model has no such label, or there are too few in-scope examples.
        """
        if self.label and self.label not in material.labels:
            raise RecipeError(
                f"The model has no label '{self.label}'.{nearest(self.label, material.labels)}",
                where="out_of_scope.label",
                to_do="Leave it empty for a model that has no class for what is out of scope.",
            )
        held = material.held_out
        inside = [
            self.score(answer)
            for example, answer in zip(held.examples, held.predictions, strict=True)
            if not self.label or example.label != self.label
        ]
        return replace(self, limit=alarm_limit(inside, self.alarm_rate))

    def figures(self, material: Material) -> Mapping[str, float]:
        """The limit, and the share of the outside that it catches."""
        outside = material.outside.predictions
        caught = sum(isinstance(self.after(Example("", ""), one, Evidence()), Verdict) for one in outside)
        return {"limit": self.limit or 0.0} | ({"outside caught": caught / len(outside)} if outside else {})
