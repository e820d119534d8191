"""Judging an artifact on labelled data, alone or paired against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.errors import ArtifactError, DataError
from tunesmith.evaluation.intervals import Comparison, compare
from tunesmith.evaluation.report import SplitReport, evaluate_split
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor


@dataclass(frozen=True)
class Judgement:
    """The result on a split, and the paired comparison with another artifact (empty without one)."""

    split: SplitReport
    comparisons: tuple[Comparison, ...]

    def plain(self) -> dict[str, object]:
        """The judgement as plain values."""
        return {
            "split": self.split.name,
            "examples": self.split.size,
            "metrics": {name: asdict(estimate) for name, estimate in self.split.metrics.items()},
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def judge_artifact(folder: Path, data: str, against: Path | None) -> Judgement:
    """Measure an artifact on `data` (a file, or the recipe's test split if empty), and against another artifact.

    Raises:
        ArtifactError: an artifact cannot be loaded, or the two have different labels.
        DataError: there is no labelled example to judge by.
    """
    predictor = Predictor.load(folder)
    experiment = Experiment.from_yaml(folder / "recipe.yaml")
    name, examples = examples_to_judge(experiment, data)
    predictions = predictor.predict(examples)
    split = evaluate_split(
        name, predictor.task, examples, predictions, seed=experiment.seed, resamples=experiment.evaluation.resamples
    )
    if against is None:
        return Judgement(split, ())
    other = Predictor.load(against)
    if set(other.task.labels) != set(predictor.task.labels) or other.task.label_kind != predictor.task.label_kind:
        raise ArtifactError(
            "The two artifacts have different labels, so their answers cannot be compared.",
            where=f"{folder} and {against}",
            to_do="Compare models of the same task.",
        )
    theirs = {measure.name: measure for measure in predictor.task.measures(examples, other.predict(examples))}
    ours = predictor.task.measures(examples, predictions)
    return Judgement(
        split,
        tuple(
            compare(measure, theirs[measure.name], seed=experiment.seed) for measure in ours if measure.name in theirs
        ),
    )


def examples_to_judge(experiment: Experiment, data: str) -> tuple[str, Sequence[Example]]:
    """The examples of a file, or of the recipe's test (or else validation) split.

    The file is read as the recipe reads its own, except for its format.
    """
    if data:
        chosen: Data = replace(experiment.data, name="", train="", validation="", test=data, format="auto")
        return Path(data).name, chosen.load_split("test", experiment.task.label_kind).examples
    splits = experiment.data.load(experiment.task.label_kind, experiment.seed).splits
    for name, examples in (("test", splits.test), ("validation", splits.validation)):
        if len(examples):
            return name, examples
    raise DataError("The recipe has no test or validation split.", where="data", to_do="Give --data FILE.")
