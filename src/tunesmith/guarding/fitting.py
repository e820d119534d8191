"""What guards are fitted on, and the form of those that must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.guarding.verdicts import Evidence


@dataclass(frozen=True)
class Seen:
    """Examples with the model's answers, whether these are right, and the evidence; what nobody needs is empty."""

    examples: Sequence[Example] = ()
    predictions: Sequence[Prediction] = ()
    is_correct: Sequence[bool] = ()
    evidence: Sequence[Evidence] = ()


@dataclass(frozen=True)
class Material:
    """What guards are fitted on.

    Attributes:
        learnt: a sample of the training examples, whose texts and vectors say what the model has learnt.
        held_out: examples of the same kind that it has not learnt from (the validation split): limits are set by these.
        outside: texts of another kind, among which a score can be chosen; may be empty.
        labels: the model's labels.
    """

    learnt: Seen
    held_out: Seen
    outside: Seen = field(default_factory=Seen)
    labels: tuple[str, ...] = ()


@runtime_checkable
class Fitted(Protocol):
    """A guard of which something is found on data before it can judge."""

    @property
    def is_fitted(self) -> bool:
        """Whether it can judge as it is."""

    def fitted(self, material: Material) -> Self:
        """A copy that can.

        Raises:
            RecipeError: the material does not suffice.
        """

    def figures(self, material: Material) -> Mapping[str, float]:
        """What is to be known of the fit, by name."""


def not_fitted(name: str) -> RecipeError:
    """The error of a guard that is asked before it was fitted."""
    return RecipeError(
        f"The guard '{name}' has no limit yet.", where=name, to_do="Fit it: tunesmith guard fit ARTIFACT --guards FILE."
    )
