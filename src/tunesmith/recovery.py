"""Training between two cuts of a compression: as the recipe trains, on the recipe's own training examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tunesmith.compression import Lesson, Trained
from tunesmith.data.records import Example, Splits
from tunesmith.experiment import Experiment
from tunesmith.methods import Full
from tunesmith.models.backbone import Backbone
from tunesmith.pipeline import fit
from tunesmith.preparation import Prepared, encode
from tunesmith.semi_supervision import LabelledOnly
from tunesmith.tasks.encoding import Encoded
from tunesmith.training.averaging import NoAveraging


class Recovery:
    """Trains a model on; each lesson has a folder below the step's, where it is gone on with after an interruption."""

    def __init__(self, experiment: Experiment, splits: Splits, folder: Path, *, quiet: bool) -> None:
        self._experiment = experiment
        self._splits = splits
        self._folder = folder
        self._quiet = quiet

    def __call__(self, trained: Trained, lesson: Lesson) -> None:
        """Train every weight of the model in place."""
        experiment = taught(self._experiment, lesson)
        rule = trained.model.rule
        experiment.method.apply(trained.model)
        trained.model.rule = rule
        lesson.objective.check(trained.model, trained.task)
        place = self._folder / lesson.name
        place.mkdir(parents=True, exist_ok=True)
        fit(
            experiment, prepared_for(experiment, trained, self._splits, lesson), trained.model, place, quiet=self._quiet
        )
        trained.model.eval()


def taught(experiment: Experiment, lesson: Lesson) -> Experiment:
    """The recipe of a lesson: every weight learns, from the labelled examples alone, and nothing is averaged."""
    own = experiment.training.learning_rate if isinstance(experiment.method, Full) else None
    rate = lesson.learning_rate or (own if isinstance(own, float) else Full().learning_rate)
    precision = "fp32" if lesson.exact else experiment.training.precision
    training = replace(experiment.training, epochs=lesson.epochs, learning_rate=rate, precision=precision, patience=0)
    data = replace(experiment.data, unlabelled="", unlabelled_limit=0)
    plain = replace(experiment, semi_supervision=LabelledOnly(), data=data, augmenters=(), compress=())
    return replace(
        plain,
        training=training,
        objective=lesson.objective,
        method=Full(),
        averaging=NoAveraging(),
        trackers=(),
    )


def prepared_for(experiment: Experiment, trained: Trained, splits: Splits, lesson: Lesson) -> Prepared:
    """What a lesson learns from and is chosen by, in the form that training takes."""
    task, encoder, model = trained.task, trained.encoder, trained.model
    learning = task.arranged(splits.train, experiment.seed)
    encoded_learning = [task.encode(one, encoder) for one in learning]

    def encoded(examples: list[Example]) -> list[Encoded]:
        return [encode(task, example, encoder, is_train=False) for example in examples]

    chosen_by = list(splits.validation) if lesson.chooses else []
    memory = [*encoded(list(splits.items)), *(task.encode(one, encoder) for one in splits.train)]
    backbone = Backbone(
        module=model.body,
        tokenizer=encoder.tokenizer,
        missing=frozenset(),
        hidden_size=int(model.body.config.hidden_size),
        max_length=encoder.max_length,
        pooling=model.pooling,
        prefix=trained.prefix,
        identity=f"compressed {trained.model.config.name_or_path}",
    )
    given = Splits(splits.train, chosen_by, ())
    return Prepared(
        given,
        (),
        backbone,
        task,
        encoder,
        {"validation": encoded(chosen_by)},
        learning,
        encoded_learning,
        memory,
    )
