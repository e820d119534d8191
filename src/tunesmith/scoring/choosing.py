"""The one measure by which models are compared, where a recipe names it."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.errors import RecipeError, nearest
from tunesmith.scoring import Measure


def chosen_by(measures: Sequence[Measure], asked: str, usual: str) -> Measure:
    """The measure with the name that is `asked`, or the task's usual one where that is empty.

    Raises:
        RecipeError: there is no such measure.
    """
    named = {measure.name: measure for measure in measures}
    name = asked or usual
    if name not in named:
        raise RecipeError(
            f"Unknown metric '{name}'.{nearest(name, named)}",
            where="training.metric",
            to_do=f"Use one of {', '.join(named)}.",
        )
    return named[name]
