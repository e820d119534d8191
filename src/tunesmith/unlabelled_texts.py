"""Texts without labels in a run: whether the recipe can use them, and what each step learns from them."""

from __future__ import annotations

from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.preparation import Prepared
from tunesmith.semi_supervision import Texts
from tunesmith.training.beside import Beside


def see_unused(experiment: Experiment) -> None:
    """See that a single run, which promotes nothing, is not asked to learn from texts without labels.

    Raises:
        RecipeError: it is.
    """
    if experiment.semi_supervision.uses_texts:
        raise RecipeError(
            "Texts without labels are learnt from by a student, which is compared with a supervised model.",
            where="semi_supervision",
            to_do="Use promotion.run and promotion.resume, as the command line does, in place of pipeline.run.",
        )


def see_texts(experiment: Experiment, prepared: Prepared) -> None:
    """See that texts without labels can be learnt from.

    Raises:
        RecipeError: the task or the recipe lacks what is needed, or there is no validation split to promote by.
    """
    if not experiment.semi_supervision.uses_texts:
        return
    experiment.semi_supervision.check(prepared.task, experiment.augmenters)
    for name in ("chances", "subgroups"):
        if experiment.data.__dict__[name]:
            raise RecipeError(
                f"Labels that a model gives have no {name}, so they cannot be learnt from beside those of people.",
                where=f"data.{name}",
                to_do="Leave it out, or leave semi_supervision and data.unlabelled out.",
            )
    if not len(prepared.splits.validation):
        raise RecipeError(
            "Without validation examples nothing says whether the texts without labels did any good.",
            where="data.validation",
            to_do="Give data.validation or data.validation_share, or leave semi_supervision and data.unlabelled out.",
        )
    if prepared.learning is not prepared.splits.train:
        raise RecipeError(
            "This task does not learn from single examples, so that texts without labels have no place in its steps.",
            where="semi_supervision",
            to_do="Leave semi_supervision and data.unlabelled out, or choose another task or method.",
        )


def beside_of(experiment: Experiment, prepared: Prepared) -> Beside | None:
    """What each step learns from texts without labels; None where there are none."""
    splits, settings = prepared.splits, experiment.training
    if not len(splits.unlabelled):
        return None
    size = settings.batch_size * settings.accumulate
    limits = (size, settings.batch_size, settings.max_tokens, experiment.seed)
    texts = Texts(splits.unlabelled, experiment.augmenters, splits.train, prepared.encoder, *limits)
    return experiment.semi_supervision.beside(texts)
