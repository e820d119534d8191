"""The model that a recipe starts from, and how much of a text it reads at once."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.models.backbone import Backbone, load
from tunesmith.models.catalogue import locate
from tunesmith.models.scratch import make_backbone
from tunesmith.tasks import Task

SHORTEST = 16
"""The least tokens per window, special tokens included."""


def load_backbone(experiment: Experiment, examples: Sequence[Example]) -> Backbone:
    """The pre-trained body, or one from scratch whose tokenizer is learnt from these training examples."""
    model, kind = experiment.model, experiment.task.body
    if not model.is_scratch:
        return load(locate(model.name), dropout=model.dropout, kind=kind)
    texts = (text for example in examples for text in (example.content, written_label(example, experiment.task)))
    return make_backbone(model.sizes, kind, texts, seed=experiment.seed, dropout=model.dropout)


def written_label(example: Example, task: Task) -> str:
    """The label, where it is a text that the model reads too."""
    return str(example.label) if task.label_kind == "text" and example.label is not None else ""


def window(task: Task, backbone: Backbone) -> int:
    """The tokens per window: what the recipe asks for, or what the model reads.

    Raises:
        RecipeError: the model reads less, or so few tokens make no sense.
    """
    if task.max_length > backbone.max_length:
        raise RecipeError(
            f"max_length is {task.max_length}, but the model reads at most {backbone.max_length} tokens.",
            where="task.max_length",
            to_do=f"Use at most {backbone.max_length}; longer texts are read in windows.",
        )
    if 0 < task.max_length < SHORTEST:
        raise RecipeError(
            f"max_length {task.max_length} leaves no room for text.",
            where="task.max_length",
            to_do=f"Use at least {SHORTEST}.",
        )
    return task.max_length or backbone.max_length
