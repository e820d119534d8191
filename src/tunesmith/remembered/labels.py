"""Whether a right answer that a client gives fits the labels of the model, and is not the answer that was served."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.remembered.records import LabelCheck
from tunesmith.remembered.stored_text import storable

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
        if not shown:
            return "A label is no text."
        quotes = "" if isinstance(label, str) else " Labels are texts: write them in quotes."
        return f"A label is none of the model's {len(self.labels)}: {shown}.{quotes}"

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


def repeats(
    served: object, right: Mapping[str, object], kept: Mapping[str, object], edits: Sequence[Sequence[int]]
) -> bool:
    """Whether a right answer is the one that was served.

    Masking makes different answers alike. So of written answers the right one is taken as it came, which is not what is
    stored where one was masked; and spans are compared only where none of the served ones ends at a replacement, for it
    may have ended within.

    Args:
        served: the answer as it is stored.
        right: the right answer as it came.
        kept: the right answer as it is stored.
        edits: what masking replaced in the text; see `stored_text.Edit`.
    """
    if not isinstance(served, Mapping):
        return False
    if "label" in right:
        return "label" in served and _same_label(served["label"], kept["label"])
    if "spans" in right:
        mine, given = _places(served.get("spans")), _places(kept["spans"])
        are_whole = mine is not None and not any(
            start == new_start or end == new_end for start, end, _ in mine for *_, new_start, new_end in edits
        )
        return are_whole and mine == given
    written, came = served.get("answer"), right.get("answer")
    if not isinstance(written, str) or not isinstance(came, str):
        return False
    return written.strip() == storable(came).strip()


def _same_label(served: object, right: object) -> bool:
    """Whether labels are the same: of one class, of several in any order, or numbers."""
    if isinstance(served, list) and isinstance(right, list):
        return sorted(map(str, served)) == sorted(map(str, right))
    return served is not None and served == right


def _places(spans: object) -> set[tuple[Any, Any, Any]] | None:
    """Spans as first and last border and label, in no order; None where these are none."""
    if not isinstance(spans, list) or not all(isinstance(one, Mapping) for one in spans):
        return None
    return {(one.get("start"), one.get("end"), one.get("label")) for one in spans}


def label_check(schemas: Mapping[str, LabelSchema]) -> LabelCheck:
    """A check by the schemas of the models that are served, by name; the mapping may change while it is used."""

    def check(model: str, right: Mapping[str, object], characters: int) -> str:
        schema = schemas.get(model)
        return schema.fault(right, characters) if schema else "The model that answered is not served any more."

    return check
