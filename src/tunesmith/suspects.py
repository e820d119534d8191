"""Labels that are likely wrong: by models that learnt from the other folds, or by one that is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tunesmith import run_folder
from tunesmith.data.checks import compared_text, label_names
from tunesmith.data.duplicates import near_groups, text_key
from tunesmith.data.records import Example, Prediction, Splits
from tunesmith.data.splits import split
from tunesmith.errors import DataError, RecipeError
from tunesmith.evaluation.results import example_row
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import Candidate
from tunesmith.labelling.confident import Doubt, class_doubts, estimated_noise, span_doubts
from tunesmith.models.model import count_parameters
from tunesmith.pipeline import finish, rehearse
from tunesmith.preparation import prepare_enlarged
from tunesmith.redacted_data import load_data
from tunesmith.scoring.answers import class_of

INCREDIBLE = 0.3
"""An estimated share of wrong labels above which the judging models are to be doubted first."""


@dataclass(frozen=True)
class Suspects:
    """Examples in the order of how doubtful their labels are.

    Attributes:
        examples: all that were judged.
        doubts: one for each, the most doubtful first.
        label_kind: the form of the labels.
        noise: the estimated share of wrong labels; None for spans.
        left_out: examples that the given model learnt from, of which it can say nothing.
        unknown: examples with a label that their judge has never seen, of which it can say nothing either.
    """

    examples: tuple[Example, ...]
    doubts: tuple[Doubt, ...]
    label_kind: str
    noise: float | None
    left_out: int = 0
    unknown: int = 0

    @property
    def warning(self) -> str:
        """What speaks against the doubts themselves; empty where nothing does."""
        if self.noise is None or self.noise <= INCREDIBLE:
            return ""
        return (
            "So many wrong labels are rarely true: models that learnt too little doubt everything. Look at their "
            "reports, and train them longer."
        )

    def rows(self) -> Iterator[dict[str, object]]:
        """Each example as a row with its doubt, the most doubtful first, and a weight for `data.weight`.

        That is 0 for a suspect and else 1; for spans, of which none is called a suspect, it is 1 - doubt.
        """
        for doubt in self.doubts:
            row = example_row(self.examples[doubt.place], self.label_kind)
            certain = 1 - doubt.score if self.label_kind == "spans" else float(not doubt.is_suspect)
            judged = {"doubt": round(doubt.score, 6), "suspect": doubt.is_suspect, "suggested": doubt.suggested}
            yield {**row, **judged, "weight": round(certain, 6), "reason": doubt.reason}


def suspects_by_folds(experiment: Experiment, folder: Path, folds: int, *, quiet: bool = False) -> Suspects:
    """Judge the training examples of a recipe, each by a model that learnt from the other folds.

    Copies of a text, near ones too, and members of a group share a fold. Each fold is a run in a folder of its own;
    what is there already is gone on with.

    Raises:
        RecipeError: there are fewer than two folds, or this task's labels cannot be judged.
        DataError: the training split is too small.
    """
    see_kind(experiment)
    if folds < 2:
        raise RecipeError("There must be at least two folds.", where="--folds", to_do="5 is usual.")
    task = experiment.task
    train = load_data(experiment.data, task, experiment.seed).splits.train
    shares = {f"fold-{number}": 1 / folds for number in range(1, folds + 1)}
    parts = split(with_copies_together(train, len(train) // folds), shares, seed=experiment.seed)
    if any(len(part) == 0 for part in parts.values()):
        raise DataError(f"There are too few training examples for {folds} folds.", where="data.train")
    judged: list[Example] = []
    predictions: list[Prediction] = []
    for name, held in parts.items():
        rest = [example for other, part in parts.items() if other != name for example in part]
        predictor = _learnt(replace(experiment, name=f"{experiment.name} {name}"), rest, held, folder / name, quiet)
        known = known_to(predictor, held)
        judged += known
        predictions += predictor.predict(known, with_labels=True)
    found = judged_suspects(judged, predictions, task.label_kind)
    return replace(found, unknown=len(train) - len(judged))


def with_copies_together(examples: Sequence[Example], largest: int) -> list[Example]:
    """The examples, those that are nearly the same as one group; what has a group of its own keeps it."""
    found = list(examples)
    same: dict[int, list[int]] = {}
    for place, example in enumerate(examples):
        same.setdefault(text_key(example.content), []).append(place)
    copies = list(same.values())
    texts = [compared_text(examples[first]) for first, *_ in copies]
    for number, alike in enumerate(near_groups(texts, largest)):
        places = [place for one in alike for place in copies[one]]
        own = next((found[place].group for place in places if found[place].group), f"near copies {number}")
        for place in places:
            if not found[place].group:
                found[place] = replace(found[place], group=own)
    return found


def known_to(predictor: Predictor, examples: Sequence[Example]) -> list[Example]:
    """The examples of which the model knows every label: it gives others a probability of 0, whatever they say."""
    return [example for example in examples if set(label_names(example)) <= set(predictor.task.labels)]


def _learnt(
    experiment: Experiment, train: Sequence[Example], held: Sequence[Example], place: Path, quiet: bool
) -> Predictor:
    """The model of a fold: made, gone on with, or loaded."""
    prepared = prepare_enlarged(experiment, Splits(train, (), held))
    model = rehearse(experiment, prepared)
    if not (place / run_folder.RECIPE).is_file():
        run_folder.begin(place, experiment.to_yaml(), run_folder.room_for(*count_parameters(model)), overwrite=False)
    return Predictor.load(finish(experiment, prepared, model, place, quiet=quiet).artifact)


def suspects_by_model(experiment: Experiment, split_name: str, artifact: Path) -> Suspects:
    """Judge a split of a recipe by a model that is given; what it learnt from itself is left out and counted.

    Raises:
        RecipeError: this task's labels cannot be judged.
        DataError: the split has no examples, or the model learnt from all of them, or maybe did.
        ArtifactError: the model cannot be loaded.
    """
    see_kind(experiment)
    task = experiment.task
    splits = load_data(experiment.data, task, experiment.seed).splits.named()
    if split_name not in splits:
        raise DataError(
            f"The recipe has no examples in {split_name}.", where="--split", to_do=f"Use {', '.join(splits)}."
        )
    candidate = Candidate.load(artifact)
    learnt = candidate.learnt()
    if learnt is None:  # a model that knows a label by heart finds no fault with it
        raise DataError(
            "Whether the model learnt from these examples is not known: its data cannot be read, or has changed.",
            where=str(artifact),
            to_do="Use --folds, or put the data that it learnt from back in its place.",
        )
    examples = [example for example in splits[split_name] if text_key(example.content) not in learnt]
    if not examples:
        raise DataError("The model learnt from every one of these examples.", where=str(artifact), to_do="Use --folds.")
    known = known_to(candidate.predictor, examples)
    found = judged_suspects(known, candidate.predictor.predict(known, with_labels=True), task.label_kind)
    left = len(splits[split_name]) - len(examples)
    return replace(found, left_out=left, unknown=len(examples) - len(known))


def see_kind(experiment: Experiment) -> None:
    """See that labels are classes or spans.

    Raises:
        RecipeError: they are not.
    """
    if experiment.task.label_kind not in ("class", "spans"):
        raise RecipeError(
            "Only labels that are one class or spans can be judged.", where="task", to_do="Use such a task."
        )


def judged_suspects(examples: Sequence[Example], predictions: Sequence[Prediction], label_kind: str) -> Suspects:
    """Rank examples by what models that did not learn from them answer."""
    if label_kind == "spans":
        return Suspects(tuple(examples), tuple(span_doubts(examples, predictions)), label_kind, None)
    labels = tuple(
        sorted({class_of(example) for example in examples} | {key for one in predictions for key in one.scores})
    )
    number = {label: place for place, label in enumerate(labels)}
    given = np.array([number[class_of(example)] for example in examples], dtype=np.int64)
    chances = np.array([[one.scores.get(label, 0.0) for label in labels] for one in predictions])
    share = estimated_noise(given, chances).share
    return Suspects(tuple(examples), tuple(class_doubts(given, chances, labels)), label_kind, share)
