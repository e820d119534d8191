"""Rows of answers turned back into predictions, for what judges them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.data.records import Label, Prediction, Span


def prediction_of(row: Mapping[str, Any], kind: str, name: str) -> Prediction:
    """The prediction that `prediction_row` made this row of."""
    return Prediction(
        name,
        _label(row["label"], kind),
        math.nan if row.get("confidence") is None else float(row["confidence"]),
        {label: math.nan if score is None else score for label, score in row.get("scores", {}).items()},
        tuple(math.nan if score is None else score for score in row.get("span_scores", ())),
        tuple(row.get("vector", ())),
        uncertainty=float(row.get("uncertainty", math.nan)),
    )


def _label(label: Any, kind: str) -> Label:
    if isinstance(label, list):
        spans = kind in {"spans", "answers"}
        return tuple(Span(one["start"], one["end"], one["label"]) for one in label) if spans else tuple(label)
    return float(label) if kind == "number" and label is not None else str(label)
