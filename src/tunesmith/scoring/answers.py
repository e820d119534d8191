"""Gold and predicted answers taken out of their records, each in the form that a metric expects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError, LabelError


def check_pairs(examples: Sequence[Example], predictions: Sequence[Prediction]) -> None:
    """Check that there is one prediction per example, in the same order.

    Raises:
        DataError: the numbers or the ids differ.
    """
    if len(examples) != len(predictions):
        raise DataError(
            f"There are {len(examples)} examples but {len(predictions)} predictions.",
            to_do="Give the predictions of exactly these examples.",
        )
    for number, (example, prediction) in enumerate(zip(examples, predictions, strict=True), start=1):
        if example.id != prediction.id:
            raise DataError(
                f"Prediction {number} is of example '{prediction.id}', but example {number} is '{example.id}'.",
                to_do="Put the predictions in the order of the examples.",
            )


def class_of(record: Example | Prediction) -> str:
    """The class, for tasks with one class per text."""
    if isinstance(record.label, str):
        return record.label
    raise _wrong(record, "a class")


def classes_of(record: Example | Prediction) -> frozenset[str]:
    """The classes, for tasks with any number of them; a single class counts as a set of one."""
    if isinstance(record.label, str):
        return frozenset((record.label,))
    if isinstance(record.label, tuple):
        found = frozenset(label for label in record.label if isinstance(label, str))
        if len(found) == len(set(record.label)):
            return found
    raise _wrong(record, "a list of classes")


def number_of(record: Example | Prediction) -> float:
    """The number, for regression."""
    if isinstance(record.label, int | float) and not isinstance(record.label, bool):
        return float(record.label)
    raise _wrong(record, "a number")


def spans_of(record: Example | Prediction) -> frozenset[Span]:
    """The labelled spans; one that is given twice counts once."""
    if isinstance(record.label, tuple):
        found = frozenset(span for span in record.label if isinstance(span, Span))
        if len(found) == len(set(record.label)):
            return found
    raise _wrong(record, "a list of spans")


def all_labels(known: Sequence[str], *found: Iterable[str]) -> tuple[str, ...]:
    """The known labels in their order, then those found beyond them, sorted: a foreign gold label is never right."""
    foreign = set().union(*found) - set(known)
    return (*known, *sorted(foreign))


def _wrong(record: Example | Prediction, wanted: str) -> LabelError:
    place = (record.origin if isinstance(record, Example) else "") or record.id
    if record.label is None:
        return LabelError(
            "An example without a label cannot be scored.",
            where=place,
            to_do="Label it, or leave it out of the evaluation.",
        )
    kind = "label" if isinstance(record, Example) else "predicted label"
    return LabelError(
        f"The {kind} {_short(record.label)} is not {wanted}.",
        where=place,
        to_do="Check the task's kind and the label column.",
    )


def _short(label: object) -> str:
    text = repr(label)
    return text if len(text) <= 80 else f"{text[:77]}..."
