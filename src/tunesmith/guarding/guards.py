"""Several guards in a row, what they need, and what they did so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from tunesmith.components import name_of
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, RecipeError
from tunesmith.guarding import GUARDS, Guard, Toxicity
from tunesmith.guarding.fitting import Fitted, not_fitted
from tunesmith.guarding.verdicts import NOTHING, After, Before, Evidence, Need, Verdict

Moment = Literal["before", "after"]
Count = tuple[str, Moment, str]
"""The guard's name, the moment, and what it did: "pass", "change", "refuse" or "unknown"."""


class Guards:
    """Guards in their order: the first that objects ends it, and what one changes the next one sees.

    Attributes:
        members: the guards.
        counts: how often each guard did what, for metrics.
    """

    def __init__(self, members: Sequence[Guard]) -> None:
        """Raises a RecipeError where a guard must be fitted first."""
        self.members = tuple(members)
        self.counts: Counter[Count] = Counter()
        self._named = [(name_of(GUARDS, one), one) for one in self.members]
        for name, one in self._named:
            if isinstance(one, Fitted) and not one.is_fitted:
                raise not_fitted(name)

    @property
    def needs(self) -> frozenset[Need]:
        """What the guards must be told; whoever serves asks the model for it, a batch at a time."""
        return frozenset().union(*(one.needs for one in self.members))

    @property
    def needs_vector(self) -> bool:
        """Whether an embedding of each text is needed."""
        return "vector" in self.needs

    @property
    def models(self) -> Mapping[str, frozenset[Moment]]:
        """The folders of further models, and at which moments each must be asked."""
        moments: Mapping[str, frozenset[Moment]] = {
            "text": frozenset({"before"}),
            "answer": frozenset({"after"}),
            "both": frozenset({"before", "after"}),
        }
        found: dict[str, frozenset[Moment]] = {}
        for one in self.members:
            if isinstance(one, Toxicity):
                found[one.artifact] = found.get(one.artifact, frozenset()) | moments[one.of]
        return found

    def before(self, example: Example, evidence: Evidence = NOTHING) -> Before:
        """The example as the model may see it, or the objection of the first guard that has one."""
        for name, guard in self._named:
            found = guard.before(example, evidence)
            if isinstance(found, Verdict):
                self.counts[name, "before", found.action] += 1
                return found
            self.counts[name, "before", "pass" if found is example else "change"] += 1
            example = found
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence = NOTHING) -> After:
        """The answer as it may go out, or the objection of the first guard that has one."""
        for name, guard in self._named:
            found = guard.after(example, prediction, evidence)
            if isinstance(found, Verdict):
                self.counts[name, "after", found.action] += 1
                return found
            self.counts[name, "after", "pass" if found is prediction else "change"] += 1
            prediction = found
        return prediction

    def before_many(self, examples: Sequence[Example], evidence: Sequence[Evidence] = ()) -> list[Before]:
        """`before` for each example, with its evidence.

        Raises:
            DataError: there is evidence, and not for each.
        """
        return [self.before(one, told) for one, told in zip(examples, _each(evidence, len(examples)), strict=True)]

    def after_many(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], evidence: Sequence[Evidence] = ()
    ) -> list[After]:
        """`after` for each example and its answer, with its evidence.

        Raises:
            DataError: there is not an answer for each, or evidence and not for each.
        """
        if len(predictions) != len(examples):
            raise DataError(f"There are {len(examples)} examples and {len(predictions)} answers.")
        told = _each(evidence, len(examples))
        return [self.after(*row) for row in zip(examples, predictions, told, strict=True)]


def _each(evidence: Sequence[Evidence], size: int) -> Sequence[Evidence]:
    if evidence and len(evidence) != size:
        raise DataError(f"There are {size} examples and evidence for {len(evidence)}.")
    return evidence or [NOTHING] * size


def check_order(members: Sequence[Guard]) -> None:
    """See that there is a guard.

    Raises:
        RecipeError: there is none.
    """
    if not members:
        raise RecipeError("No guard is named.", where="guards", to_do=f"Name some of {', '.join(GUARDS)}.")
