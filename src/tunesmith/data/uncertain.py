"""How much an example counts, and how likely each of its labels is: columns of training data with unsure labels."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tunesmith.data.records import Example, Finding
from tunesmith.errors import LabelError

TOLERANCE = 0.01
"""By so much a row's chances may miss the sum of 1, as rounded numbers do; they are divided by their sum."""


def read_weight(value: object, where: str) -> float:
    """A finite number of 0 or more.

    Raises:
        LabelError: the value is another.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number >= 0):
        raise LabelError(
            f"The weight {value!r} is not a number of 0 or more.",
            where=where,
            to_do="Give each row of data.weight a number; 1 is usual, 0 leaves the example out.",
        )
    return number


def read_chances(value: object, kind: str, where: str) -> tuple[Mapping[str, float], ...]:
    """The chances of labels: {"good": 0.9, "bad": 0.1}, as an object or its JSON; for spans a list with one per word.

    Those of classes are one mapping whose numbers sum to 1; of several classes each lies in [0, 1] by itself.

    Raises:
        LabelError: the value is another.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise _refused(f"The chances {str(value)[:60]!r} are no JSON.", where) from error
    if kind == "spans":
        if not isinstance(value, list):
            raise _refused("The chances are not a list with an object for each word.", where)
        return tuple(_distribution(one, where, sums=True) for one in value)
    return (_distribution(value, where, sums=kind == "class"),)


def _distribution(value: object, where: str, *, sums: bool) -> Mapping[str, float]:
    if not isinstance(value, Mapping) or not value:
        raise _refused(f"The chances {str(value)[:60]!r} are not an object from label to probability.", where)
    numbers = [
        float(one) if isinstance(one, int | float) and not isinstance(one, bool) else -1 for one in value.values()
    ]
    if any(not 0 <= number <= 1 + TOLERANCE for number in numbers):
        raise _refused(f"The chances {str(dict(value))[:80]} do not all lie between 0 and 1.", where)
    total = sum(numbers)
    if sums and abs(total - 1) > TOLERANCE:
        raise _refused(f"The chances {str(dict(value))[:80]} sum to {total:.3g}, not to 1.", where)
    whole = total if sums else 1.0
    return {str(name): min(number / whole, 1.0) for name, number in zip(value, numbers, strict=True)}


def _refused(what: str, where: str) -> LabelError:
    return LabelError(
        what,
        where=where,
        to_do='Give data.chances such as {"good": 0.9, "bad": 0.1}; for spans a list with one per word.',
    )


def certain(examples: Sequence[Example]) -> Sequence[Example]:
    """Examples to judge by: their labels are taken as they stand, and each counts alike."""
    if all(example.weight == 1 and not example.chances for example in examples):
        return examples
    return tuple(replace(example, weight=1.0, chances=()) for example in examples)


def weighed(examples: Sequence[Example]) -> tuple[Sequence[Example], list[Finding]]:
    """The training examples without those of weight 0, and what their weights and chances are."""
    kept = [example for example in examples if example.weight > 0]
    found = []
    if left := len(examples) - len(kept):
        message = f"train: {left:,} examples of weight 0 were left out (data.weight)."
        found.append(Finding("weight_zero", "note", message, left))
    weights = [example.weight for example in kept]
    if weights and (min(weights) != 1 or max(weights) != 1):
        message = (
            f"train: weights from {min(weights):g} to {max(weights):g}, {sum(weights) / len(weights):.3g} on average."
        )
        found.append(Finding("weights", "note", message, len(weights)))
    sure = [max(chances.values()) for example in kept for chances in example.chances]
    if sure:
        message = (
            f"train: labels are learnt as probabilities; the likeliest has {sum(sure) / len(sure):.3f} on average."
        )
        found.append(Finding("chances", "note", message, len(sure)))
    return (kept if left else examples), found
