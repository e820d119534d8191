"""The recipe of a chain of compression steps, from an artifact, names of steps, and changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tunesmith.compression import COMPRESSORS
from tunesmith.errors import RecipeError, nearest
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import verify
from tunesmith.learnt_from import Source
from tunesmith.recipes import with_changes

CHANGEABLE = ("compression", "training", "evaluation", "optimizer")
"""The sections of a trained model's recipe that may be changed before it is compressed."""


def planned(artifact: Path, names: Sequence[str], changes: Sequence[str]) -> Experiment:
    """The recipe of an artifact with the steps of these names, or else its own, and with changes.

    A change such as "head_prune.share=0.5" is one of every step of that name; others are changes of the recipe's
    sections that say how steps are judged and trained.

    Raises:
        RecipeError: a step, a key or a value is wrong, or there is no step.
        ArtifactError: there is no artifact.
    """
    verify(artifact)
    own = Source.of(artifact).experiment.to_mapping()
    given = cast("list[dict[str, object]]", own["compress"])
    steps: list[dict[str, object]] = [{"name": name} for name in names] or [dict(step) for step in given]
    rest = []
    for change in changes:
        key = change.partition("=")[0].strip().partition(".")[0]
        of_step = [step for step in steps if step["name"] == key]
        if not of_step:
            if key in COMPRESSORS:
                raise RecipeError(
                    f"There is no step {key} to change.", where="--set", to_do="Name it in --steps, or leave this out."
                )
            if key not in CHANGEABLE:
                raise RecipeError(
                    f"'{key}' was settled when the model was trained.",
                    where="--set",
                    to_do=f"Change a step, such as head_prune.share=0.5, or {', '.join(CHANGEABLE)}.",
                )
            rest.append(change)
        for step in of_step:
            step |= cast("dict[str, object]", with_changes({key: {}}, [change])[key])
    if not steps:
        raise RecipeError(
            "There is nothing to do: neither --steps nor the recipe's 'compress' names a step.",
            where="--steps",
            to_do=f"Name some of {', '.join(COMPRESSORS)}, parted by commas.",
        )
    for name in (str(step["name"]) for step in steps):
        if name not in COMPRESSORS:
            raise RecipeError(
                f"Unknown step '{name}'.{nearest(name, COMPRESSORS)}",
                where="--steps",
                to_do=f"Use some of {', '.join(COMPRESSORS)}, parted by commas.",
            )
    return Experiment.from_mapping({**with_changes(own, rest), "compress": steps})
