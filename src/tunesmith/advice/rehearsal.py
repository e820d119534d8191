"""Whether a remedy's recipe can run at all: tried on a few examples of the project, with nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tunesmith.advice.records import Project
from tunesmith.components import name_of
from tunesmith.data.checks import label_names
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.pipeline import rehearse
from tunesmith.preparation import prepare_enlarged
from tunesmith.scoring.subgroups import SMALLEST
from tunesmith.tasks import TASKS, Task


def try_recipe(experiment: Experiment, project: Project) -> None:
    """Make the model of a changed recipe, and try on a few examples what a run would check before it begins.

    Raises:
        TunesmithError: the run would be refused.
    """
    see_same_data(experiment.task, project.experiment.task)
    splits = project.prepared.splits
    kind = experiment.task.label_kind
    few = replace(splits, train=few_of(splits.train, kind), validation=few_of(splits.validation, kind), test=())
    plain = replace(experiment, trackers=(), augmentation=replace(experiment.augmentation, judge=""))
    rehearse(plain, prepare_enlarged(plain, few))


def see_same_data(task: Task, given: Task) -> None:
    """See that a task reads the data of another one, all of it.

    Raises:
        RecipeError: it needs other labels, or would leave out a part of each example.
    """
    own, other = ({part.rstrip("?") for part in one.inputs} for one in (task, given))
    if task.label_kind != given.label_kind or own != other:
        raise RecipeError(
            f"{name_of(TASKS, task)} reads {said_of(task)}, and this project has {said_of(given)}.", where="task"
        )


def said_of(task: Task) -> str:
    """What a task reads, and the form of its labels."""
    return f"{' and '.join(part.rstrip('?') for part in task.inputs)} with labels of kind '{task.label_kind}'"


def few_of(examples: Sequence[Example], kind: str) -> list[Example]:
    """The first examples of each label (where these are few) and subgroup, as many as a subgroup must have."""
    seen: Counter[tuple[str, str]] = Counter()
    chosen = []
    for example in examples:
        labels = set(label_names(example)) if kind in ("class", "classes", "spans") else ()
        keys = [(label, example.subgroup) for label in labels] or [("", example.subgroup)]
        if any(seen[key] < SMALLEST for key in keys):
            chosen.append(example)
            seen.update(keys)
    return chosen
