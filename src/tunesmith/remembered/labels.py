"""Whether a right answer that a client gives fits the labels of the model that had answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunesmith.remembered.records import LabelCheck

LabelKind = Literal["class", "number", "classes", "spans", "text"]


@dataclass(frozen=True, slots=True)
class LabelSchema:
    """The labels of a model: their kind, as the data has it, and their names where these are known."""

    kind: LabelKind
    labels: tuple[str, ...] = ()

    def fault(self, right: Mapping[str, object], characters: int) -> str:
        """What is wrong with a right answer to a text of so many characters; empty for nothing.

        It quotes nothing of the answer, which is the user's text.
        """
        key = {"spans": "spans", "text": "answer"}.get(self.kind, "label")
        if set(right) != {key}:
            return f'Give an object with "{key}" alone.'
        value = right[key]
        if self.kind == "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return "" if is_number else "Give a finite number."
        if self.kind == "text":
            return "" if isinstance(value, str) and value.strip() else "Give a text."
        if self.kind == "class":
            return self._unknown(value)
        if not isinstance(value, list):
            return "Give a list."
        if self.kind == "classes":
            return next((fault for fault in map(self._unknown, value) if fault), "")
        return next((fault for one in value if (fault := self._span_fault(one, characters))), "")

    def _unknown(self, label: object) -> str:
        if isinstance(label, str) and label.strip() and (label in self.labels or not self.labels):
            return ""
        shown = ", ".join(self.labels[:20]) + (", ..." if len(self.labels) > 20 else "")
        return f"A label is none of the model's {len(self.labels)}: {shown}." if shown else "A label is no text."

    def _span_fault(self, span: object, characters: int) -> str:
        if not isinstance(span, Mapping) or not {"start", "end", "label"} <= set(span) <= {
            "start",
            "end",
            "label",
            "text",
        }:
            return "Give spans such as {start, end, label}."
        start, end = span["start"], span["end"]
        are_whole = all(isinstance(border, int) and not isinstance(border, bool) for border in (start, end))
        if not are_whole or not 0 <= start < end <= characters:
            return f"A span does not lie in the text of {characters} characters."
        return self._unknown(span["label"])


def label_check(schemas: Mapping[str, LabelSchema]) -> LabelCheck:
    """A check by the schemas of the models that are served, by name; the mapping may change while it is used."""

    def check(model: str, right: Mapping[str, object], characters: int) -> str:
        schema = schemas.get(model)
        return schema.fault(right, characters) if schema else "The model that answered is not served any more."

    return check
