"""Predictions as rows of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tunesmith.data.records import Example, Label, Prediction, Span


def prediction_row(prediction: Prediction) -> dict[str, object]:
    """A prediction as plain values, ready for JSON (no number becomes null)."""
    row: dict[str, object] = {"id": prediction.id, "label": plain_label(prediction.label)}
    answer = answer_of(prediction)
    if answer is not None:
        row["answer"] = answer
    row["confidence"] = plain_number(prediction.confidence)
    if prediction.scores:
        row["scores"] = {label: plain_number(score) for label, score in prediction.scores.items()}
    if prediction.span_scores:
        row["span_scores"] = [plain_number(score) for score in prediction.span_scores]
    if prediction.vector:
        row["vector"] = list(prediction.vector)
    return row


def answer_of(prediction: Prediction) -> str | None:
    """The text of an answer that was found in a passage, empty for "no answer"; None for other kinds of task."""
    label = prediction.label
    is_found = isinstance(label, tuple) and any(isinstance(item, Span) for item in label)
    if not prediction.scores or not (is_found or "" in prediction.scores):
        return None
    return next(iter(prediction.scores))


def plain_label(label: Label | None, text: str = "") -> object:
    """A label as plain values; spans with their words, where these are out of `text`."""
    if isinstance(label, tuple):
        return [_plain_span(item, text) if isinstance(item, Span) else item for item in label]
    return plain_number(label) if isinstance(label, float) else label


def _plain_span(span: Span, text: str) -> dict[str, object]:
    return {**asdict(span), **({"text": text[span.start : span.end]} if text else {})}


def plain_number(value: float) -> float | None:
    """A number, or None where it is none or has no end, which JSON has no word for."""
    return value if math.isfinite(value) else None


def write_predictions(
    path: Path, split: str, examples: Sequence[Example], predictions: Sequence[Prediction], *, append: bool
) -> None:
    """Write one JSON line per example: split, id, text, gold label and answer."""
    with path.open("a" if append else "w", encoding="utf-8") as file:
        for example, prediction in zip(examples, predictions, strict=True):
            row = {
                "split": split,
                "text": example.text,
                **({"second": example.second} if example.second else {}),
                "gold": plain_label(example.label, example.text if answer_of(prediction) is not None else ""),
                **prediction_row(prediction),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
