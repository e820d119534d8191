"""Whether a prescription held: two finished runs, paired on the recipe's validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example
from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Comparison, compare
from tunesmith.experiment import Experiment
from tunesmith.judging import Candidate, see_same_labels
from tunesmith.redacted_data import load_data
from tunesmith.scoring import Measure
from tunesmith.scoring.choosing import chosen_by
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.tasks import Task


@dataclass(frozen=True)
class Followed:
    """The comparison by what the recipe chooses by, the number of examples, those left out, and what to know of it."""

    comparison: Comparison
    examples: int
    left_out: int
    notes: tuple[str, ...]


def follow(experiment: Experiment, followed: Path, against: Path) -> Followed:
    """Compare the run that followed a prescription with the one that did not, by the recipe's validation split.

    Texts that either model learnt from are left out. Both chose their checkpoint by validation, which flatters both;
    the test split is not looked at.

    Raises:
        ArtifactError: a run cannot be loaded, or the two have different labels.
        DataError: nothing is left to compare on.
        RecipeError: the task has not the recipe's metric.
    """
    ours, theirs = (Candidate.load(_artifact(path)) for path in (followed, against))
    see_same_labels(ours, theirs)
    task = experiment.task
    validation = load_data(experiment.data, task, experiment.seed).splits.validation
    learnt, notes = set[int](), ["Both runs chose their checkpoint by validation; the test split was not looked at."]
    for candidate in (ours, theirs):
        known = candidate.learnt(("train", "unlabelled"))
        if known is None:
            said = "its data cannot be read, or has changed"
            notes.append(f"Whether {candidate.folder} learnt from validation is not known: {said}.")
        learnt |= known or set()
    fresh = [example for example in validation if text_key(example.content) not in learnt]
    if len(fresh) < 2:
        raise DataError("No validation example is left that neither model learnt from.", where="data.validation")
    one, other = (
        _measure(candidate, fresh, ours.predictor.task, experiment.training.metric) for candidate in (ours, theirs)
    )
    found = compare(one, other, seed=experiment.seed)
    return Followed(found, len(fresh), len(validation) - len(fresh), tuple(notes))


def _measure(candidate: Candidate, examples: Sequence[Example], task: Task, metric: str) -> Measure:
    answers = candidate.predictor.predict(examples)
    return chosen_by(with_worst_subgroup(task.measures(examples, answers), task.metric, examples), metric, task.metric)


def _artifact(path: Path) -> Path:
    return path / "artifact" if (path / "artifact").is_dir() else path
