"""What the settings that all tasks share may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tunesmith.errors import RecipeError

HELD = "holds_texts"
"""The key of a field's metadata that says in words which texts of the data a prepared task keeps in it by design."""


def check_labels(labels: Sequence[str]) -> None:
    """See that each label is named once and none is empty.

    Raises:
        RecipeError: otherwise.
    """
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice or "" in labels:
        what = f"The label '{twice[0]}' stands twice." if twice else "A label must not be empty."
        raise RecipeError(what, where="task.labels", to_do="Name each label once.")


def check_numbers(*, label_smoothing: float, max_length: int, stride: int, temperature: float) -> None:
    """See that the numbers lie where they have a sense.

    Raises:
        RecipeError: one does not.
    """
    if not 0 <= label_smoothing < 1:
        raise RecipeError("label_smoothing must be at least 0 and below 1.", where="task.label_smoothing")
    for name, value in (("max_length", max_length), ("stride", stride)):
        if value < 0:
            raise RecipeError(f"{name} must not be negative.", where=f"task.{name}")
    if temperature <= 0:
        raise RecipeError("temperature must be positive.", where="task.temperature")


def check_used(problem: str, settings: Mapping[str, tuple[bool, Sequence[str]]]) -> None:
    """See that each setting that is set has a use for this problem; by name, whether it is set and where it has one.

    Raises:
        RecipeError: one has none.
    """
    idle = [name for name, (is_set, problems) in settings.items() if is_set and problem not in problems]
    if idle:
        raise RecipeError(
            f"{idle[0]} has no effect on problem: {problem}.",
            where=f"task.{idle[0]}",
            to_do="Remove it, or choose another problem.",
        )
