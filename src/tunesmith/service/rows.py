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


def agreement(given: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """Whether a shadow's row says what was answered: "same", "different", or "unknown" where a guard did not know.

    Numbers are the same to a thousandth, sets of classes in any order.
    """
    if given["label"] is None:
        return "unknown"
    mine, other = given["label"], beside["label"]
    if isinstance(mine, float) and isinstance(other, float):
        return "same" if math.isclose(mine, other, rel_tol=1e-3, abs_tol=1e-3) else "different"
    if isinstance(mine, list) and isinstance(other, list):
        mine, other = sorted(map(str, mine)), sorted(map(str, other))
    return "same" if mine == other else "different"


def _label(label: Any, kind: str) -> Label:
    if isinstance(label, list):
        spans = kind in {"spans", "answers"}
        return tuple(Span(one["start"], one["end"], one["label"]) for one in label) if spans else tuple(label)
    return float(label) if kind == "number" and label is not None else str(label)
