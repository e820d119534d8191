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
    row["confidence"] = plain_number(prediction.confidence)
    if prediction.scores:
        row["scores"] = {label: plain_number(score) for label, score in prediction.scores.items()}
    if prediction.span_scores:
        row["span_scores"] = [plain_number(score) for score in prediction.span_scores]
    if prediction.ranks:
        row["ranks"] = dict(prediction.ranks)
    return row


def plain_label(label: Label | None) -> object:
    """A label as plain values."""
    if isinstance(label, tuple):
        return [asdict(item) if isinstance(item, Span) else item for item in label]
    return plain_number(label) if isinstance(label, float) else label


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
                "gold": plain_label(example.label),
                **prediction_row(prediction),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
