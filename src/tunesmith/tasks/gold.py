"""An example's label in the form that a task needs, or an error that names the row."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.data.records import Example, Span
from tunesmith.errors import LabelError, nearest


def labels_of(example: Example) -> tuple[str, ...]:
    """The classes of an example, one or several."""
    if isinstance(example.label, str):
        return (example.label,)
    if isinstance(example.label, tuple) and all(isinstance(label, str) for label in example.label):
        return example.label  # type: ignore[return-value]
    raise LabelError(
        f"The label {example.label!r} is not a class.",
        where=example.origin or example.id,
        to_do="Check task.problem and data.label.",
    )


def number_of(example: Example) -> float:
    """The number that labels an example."""
    if isinstance(example.label, float | int):
        return float(example.label)
    raise LabelError(
        f"The label {example.label!r} is not a number.",
        where=example.origin or example.id,
        to_do="Use numbers, or another problem.",
    )


def spans_of(example: Example) -> tuple[Span, ...]:
    """The spans that label an example."""
    if isinstance(example.label, tuple) and all(isinstance(span, Span) for span in example.label):
        return example.label  # type: ignore[return-value]
    raise LabelError(
        f"The label {example.label!r} is not a list of spans.",
        where=example.origin or example.id,
        to_do="Check data.label and the file's format.",
    )


def class_number(label: str, labels: Sequence[str], example: Example) -> int:
    """The number of a class among all; an unknown one is an error that names the nearest."""
    if label not in labels:
        known = ", ".join(labels[:8]) + (" ..." if len(labels) > 8 else "")
        raise LabelError(
            f"Unknown label '{label}'.{nearest(label, labels)}",
            where=example.origin or example.id,
            to_do=f"Known labels: {known}. Correct the row or add the label.",
        )
    return labels.index(label)
