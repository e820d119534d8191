"""The training examples of a recipe, and changed copies of them where it asks for these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tunesmith.augmentation import AUGMENTERS
from tunesmith.augmentation.audit import Audit
from tunesmith.augmentation.expand import KINDS, OUT_OF_FOLD, expand
from tunesmith.components import name_of
from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Finding, Splits
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.learnt_from import learnt_by, sources_of
from tunesmith.out_of_fold import judged_by, out_of_fold
from tunesmith.redacted_data import load_data


def enlarged(experiment: Experiment, splits: Splits) -> tuple[Splits, Audit | None]:
    """The splits with changed copies of training examples, where the recipe asks for them, and what came of these.

    Raises:
        RecipeError: the labels would not hold when words of a text change.
        ArtifactError: the judge cannot be loaded.
    """
    if not experiment.augmenters:
        return splits, None
    task, settings = experiment.task, experiment.augmentation
    if task.label_kind not in KINDS or {"turns", "history"} & set(task.inputs):
        raise RecipeError(
            "The labels of this task need not hold when single words of a text change.",
            where="augmenters",
            to_do="Leave augmenters out.",
        )
    names = {name_of(AUGMENTERS, one): one for one in experiment.augmenters}
    judge, doubt = None, []
    if settings.judge == OUT_OF_FOLD:
        judge = out_of_fold(experiment, splits.train, settings.folds)
    elif settings.judge:
        predictor = Predictor.load(settings.judge)
        judge = judged_by(predictor)
        doubt = _doubt_of(Path(settings.judge), predictor, splits.train)
    train, audit = expand(
        splits.train,
        names,
        settings,
        seed=experiment.seed,
        held_out=[*splits.validation, *splits.test],
        judge=judge,
    )
    audit.notes += doubt
    is_own = settings.judge == OUT_OF_FOLD
    audit.judge = f"{settings.folds} models that did not see their sources" if is_own else settings.judge
    return replace(splits, train=train), audit


def _doubt_of(folder: Path, judge: Predictor, examples: Sequence[Example]) -> list[Finding]:
    """What makes a given judge's verdicts doubtful: what it learnt by heart it gets right, and copies of it easily."""
    learnt = learnt_by(sources_of(folder), judge.task)
    if learnt is None:
        said = f"Whether the judge {folder} learnt from the sources is not known: its data cannot be read as it was."
        return [Finding("judge_unknown", "warning", said)]
    count = sum(text_key(example.content) in learnt for example in examples)
    if not count:
        return []
    said = (
        f"The judge {folder} was trained on or chosen by {count:,} of the {len(examples):,} sources, so it passes "
        f"copies of these too easily; augmentation.judge: {OUT_OF_FOLD} asks models that did not see them."
    )
    return [Finding("judge_learnt", "warning", said, count)]


def without_judges(experiment: Experiment) -> Experiment:
    """The same recipe, whose copies no model is trained to judge: for what shall not train anything."""
    if experiment.augmentation.judge != OUT_OF_FOLD:
        return experiment
    return replace(experiment, augmentation=replace(experiment.augmentation, judge=""))


def examples_made(experiment: Experiment) -> tuple[Splits, Audit]:
    """The splits with the copies of training examples, and what came of these, without a model to learn.

    Raises:
        RecipeError: the recipe names no augmenter.
    """
    loaded = load_data(experiment.data, experiment.task, experiment.seed)
    splits, audit = enlarged(experiment, loaded.splits)
    if audit is None:
        raise RecipeError(
            "The recipe names no augmenters.",
            where="augmenters",
            to_do=f"Add augmenters: [swap_words], or any of {', '.join(AUGMENTERS)}.",
        )
    return splits, audit
