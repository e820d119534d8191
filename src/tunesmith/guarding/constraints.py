"""A guard that lets only answers of a given form out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import re2
from pydantic import Field

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import RecipeError
from tunesmith.guarding.json_form import check_form, has_form
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class AnswerConstraints:
    """Withhold answers that are not of the form that was agreed on.

    Labels (a class, several, or those of spans) can be restricted; written answers can be held to a pattern, a form of
    JSON, a length, and kept free of words. A word of letters must stand alone; one with Chinese characters may stand
    anywhere.

    Attributes:
        labels: the labels that may be answered; empty for all.
        together: by label those that must stand beside it.
        apart: pairs of labels that must not stand together.
        pattern: a regular expression (RE2, which takes linear time) that a written answer must match as a whole.
        form: a JSON schema that a written answer must fit: type, properties, required, additionalProperties, items,
            enum, minimum, maximum, minLength, maxLength, minItems, maxItems.
        least_characters, most_characters: the length of a written answer; 0 for no limit.
        forbidden: words that a written answer must not have.
    """

    labels: tuple[str, ...] = ()
    together: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    apart: tuple[tuple[str, str], ...] = ()
    pattern: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)
    least_characters: Count = 0
    most_characters: Count = 0
    forbidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = "answer_constraints"
        if 0 < self.most_characters < self.least_characters:
            raise RecipeError("most_characters is below least_characters.", where=f"{where}.most_characters")
        if any(not word.strip() for word in self.forbidden):
            raise RecipeError("A forbidden word is empty.", where=f"{where}.forbidden", to_do="Leave it out.")
        try:
            re2.compile(self.pattern)
        except re2.error as error:
            raise RecipeError(
                "The pattern is no regular expression of RE2, which has no look-around and no back-references.",
                where=f"{where}.pattern",
                to_do="Write it without these, or use form, labels or forbidden.",
            ) from error
        check_form(self.form, f"{where}.form")

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the answer."""
        return frozenset()

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Pass."""
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Withhold what has not the form."""
        return self._of_labels(prediction) or self._of_text(prediction) or prediction

    def _of_labels(self, prediction: Prediction) -> Verdict | None:
        given = _labels(prediction)
        if self.labels and (strange := given - set(self.labels)):
            return Verdict("unknown", "label_not_allowed", {"value": len(strange)})
        if broken := sum(one in given and other in given for one, other in self.apart):
            return Verdict("unknown", "labels_contradict", {"value": broken})
        if lacking := sum(not set(others) <= given for one, others in self.together.items() if one in given):
            return Verdict("unknown", "label_missing", {"value": lacking})
        return None

    def _of_text(self, prediction: Prediction) -> Verdict | None:
        if not isinstance(prediction.label, str):
            return None
        answer, size = prediction.label, len(prediction.label)
        if size < self.least_characters:
            return Verdict("refuse", "answer_too_short", {"limit": self.least_characters, "value": size})
        if self.most_characters and size > self.most_characters:
            return Verdict("refuse", "answer_too_long", {"limit": self.most_characters, "value": size})
        if self._forbidden is not None and (found := len(self._forbidden.findall(answer))):
            return Verdict("refuse", "forbidden_words", {"limit": 0, "value": found})
        if self.pattern and not self._pattern.fullmatch(answer):
            return Verdict("refuse", "answer_malformed")
        if self.form and not _fits(answer, self.form):
            return Verdict("refuse", "answer_malformed")
        return None

    @cached_property
    def _pattern(self) -> Any:
        return re2.compile(self.pattern)

    @cached_property
    def _forbidden(self) -> Any:
        """All forbidden words as one pattern; None without any."""
        forms = [
            rf"\b{re2.escape(word)}\b" if word.replace(" ", "").isalnum() and word.isascii() else re2.escape(word)
            for word in self.forbidden
        ]
        return re2.compile(f"(?i){'|'.join(forms)}") if forms else None


def _labels(prediction: Prediction) -> set[str]:
    """The labels that an answer has."""
    label = prediction.label
    if isinstance(label, str):
        return {label}
    if isinstance(label, tuple):
        return {one.label if isinstance(one, Span) else str(one) for one in label}
    return set()


def _fits(answer: str, form: Mapping[str, Any]) -> bool:
    try:
        return has_form(json.loads(answer), form)
    except (ValueError, RecursionError):
        return False
