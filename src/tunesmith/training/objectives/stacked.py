"""Several objectives as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from tunesmith.components import build
from tunesmith.data.subgroups import Subgroups
from tunesmith.errors import RecipeError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives.memory import Memories, memory_of
from tunesmith.training.objectives.single import SINGLE, Objective

ATTACKS = ("fgm", "pgd", "freelb")
"""Objectives that ask for a loss as a whole, at several places around the text's vectors."""

UNDER: Mapping[str, tuple[str, ...]] = {
    "r_drop": ATTACKS,
    "supcon": ATTACKS,
    # The teacher reads the text as it is.
    "distillation": ATTACKS,
    "simcse": ATTACKS,
    # FGM draws other mixtures for its second loss; the others repeat them.
    "mixup": ("pgd", "freelb"),
    # These perturb the text's vectors themselves.
    **dict.fromkeys(("smart", "vat", "cutoff"), ()),
    # Its reference would be attacked too.
    "dpo": (),
    # Several passes at one step would count as several steps' losses.
    **dict.fromkeys(("group_dro", "irm"), ()),
}
"""Objectives that make their own passes, and the attacks under which these can be made."""


@dataclass(frozen=True)
class Stack:
    """Put objectives into each other: each takes the next one's value where it would take the task's loss.

    `parts: [l2_sp, fgm, r_drop]` holds the weights and adds, to R-Drop's loss, the same at the worst step of it. The
    order is l2_sp, then one of fgm, pgd and freelb, then one that makes its own passes; each may be left out. The
    passes multiply: FGM's two of R-Drop's two are four.

    Needs: what each part needs.

    Attributes:
        parts: the objectives with their settings, the outermost first.
    """

    parts: tuple[str | dict[str, Any], ...] = ("fgm", "r_drop")

    def __post_init__(self) -> None:
        names = [str(part.get("name")) if isinstance(part, dict) else part for part in self.parts]
        if "stack" in names:
            raise _refused("A stack cannot be a part of a stack.", "Write its parts here.")
        _ = self.objectives  # built now, so that a mistake in a part is found when the recipe is read
        if len(names) < 2:
            raise _refused("A stack needs at least two parts.", f"Name one alone: objective: {(names or ['task'])[0]}.")
        if "task" in names:
            raise _refused("task adds nothing to a stack: all parts begin from the task's loss.", "Remove it.")
        rest = names[1:] if names[0] == "l2_sp" else names
        attacks, last = ([name for name in rest if (name in ATTACKS) == wanted] for wanted in (True, False))
        if "l2_sp" in rest:
            raise _refused("l2_sp can only be the first part, once: an attack does not move weights.", _ORDER)
        if len(attacks) > 1:
            raise _refused(f"{' and '.join(attacks)} cannot be stacked: both attack the text's vectors.", _ORDER)
        if len(last) > 1:
            raise _refused(f"{' and '.join(last)} cannot be stacked: each makes passes of its own.", _ORDER)
        if rest != [*attacks, *last]:
            raise _refused(f"{attacks[0]} cannot stand in {last[0]}, which asks for no other loss.", _ORDER)
        if attacks and last and attacks[0] not in UNDER[last[0]]:
            fit = " or ".join(UNDER[last[0]]) or "l2_sp alone"
            raise _refused(f"{last[0]} means nothing under {attacks[0]}.", f"Before {last[0]} can stand {fit}.")

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The outermost part's value."""
        return _stacked(self.objectives, model, batch, criterion)

    def check(self, model: Model, task: Task) -> None:
        """See that each part has what it needs.

        Raises:
            TunesmithError: one has not.
        """
        for objective in self.objectives:
            objective.check(model, task)

    def memory(self, model: Model, task: Task, subgroups: Subgroups | None) -> Memories:
        """What the parts remember.

        Raises:
            TrainingError: as the parts do.
        """
        return Memories([memory_of(part, model, task, subgroups) for part in self.objectives])

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """The parts as objects."""
        return tuple(build(SINGLE, part, f"objective.parts.{place}") for place, part in enumerate(self.parts))


_ORDER = "The order is l2_sp, then one of fgm, pgd and freelb, then one of the others; each may be left out."


def _stacked(objectives: Sequence[Objective], model: Model, batch: Batch, criterion: Criterion) -> Tensor:
    first, *rest = objectives
    if not rest:
        return first(model, batch, criterion)
    return first(model, batch, replace(criterion, inner=lambda *given: _stacked(rest, *given)))


def _refused(what: str, to_do: str) -> RecipeError:
    return RecipeError(what, where="objective.parts", to_do=to_do)
