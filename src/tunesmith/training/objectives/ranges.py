"""What the settings of objectives may be."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.errors import RecipeError


def check_positive(objective: str, settings: Mapping[str, float]) -> None:
    """Refuse numbers of 0 or less where these would take the objective's effect away.

    Raises:
        RecipeError: there is one; the message names it.
    """
    for name, value in settings.items():
        if value <= 0:
            raise RecipeError(
                f"Objective {objective} with {name} of 0 or less has no effect.",
                where=f"objective.{name}",
                to_do="Use a positive number, or objective: task.",
            )
