"""Whole layers taken out of the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunesmith.compression.pruning import check_rate
from tunesmith.compression.trained import Compressed, Lesson, Trained, Workshop
from tunesmith.errors import ModelError, RecipeError
from tunesmith.models.anatomy import number_of_layers
from tunesmith.models.model import Model
from tunesmith.models.shapes import keep_layers, say_layers
from tunesmith.tasks import Task


@dataclass(frozen=True)
class LayerDrop:
    """Whole layers are taken out; the embeddings stay, and what stays is trained on (Sajjad et al. 2023, sec. 3).

    Needs: a body whose layers are a list, which an encoder-decoder's are not.

    Attributes:
        layers: how many stay; 0 for half of them.
        keep: which: spread evenly, with the first and the last; the top ones; the bottom ones; or their numbers, from 0
            for the lowest.
        epochs: passes over the training examples afterwards; 0 for no training.
        learning_rate: the peak rate of this training; none means the recipe's.
    """

    layers: int = 0
    keep: Literal["even", "top", "bottom"] | tuple[int, ...] = "even"
    epochs: int = 1
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        for key in ("layers", "epochs"):
            if vars(self)[key] < 0:
                raise RecipeError(f"{key} must not be negative.", where=f"layer_drop.{key}")
        check_rate("layer_drop", self.learning_rate)
        if isinstance(self.keep, tuple) and self.layers:
            raise RecipeError(
                "layers and the numbers in keep say the same thing twice.", where="layer_drop", to_do="Give one."
            )

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return int(self.epochs > 0)

    def check(self, model: Model, task: Task) -> None:
        """Raise an error where the body's layers are not known, or it has not these."""
        self.kept(layers_in(model, "layer_drop"))

    def kept(self, count: int) -> list[int]:
        """Which of `count` layers stay.

        Raises:
            RecipeError: there are no such layers, or all would stay.
        """
        if not isinstance(self.keep, str):
            strange = [number for number in self.keep if not 0 <= number < count]
            if strange or not self.keep or len(set(self.keep)) < len(self.keep) or len(self.keep) == count:
                shown = ", ".join(map(str, self.keep)) or "none"
                raise RecipeError(
                    f"The model has {count} layers, 0 to {count - 1}, of which these cannot be those to keep: {shown}.",
                    where="layer_drop.keep",
                    to_do="Name some of them, each once.",
                )
            return sorted(self.keep)
        stay = self.layers or (count + 1) // 2
        if not 0 < stay < count:
            raise RecipeError(
                f"Of {count} layers {stay} cannot stay when some are taken out.",
                where="layer_drop.layers",
                to_do=f"Use 1 to {count - 1}." if count > 1 else "Leave layer_drop out.",
            )
        return spread(count, stay) if self.keep == "even" else _end(count, stay, is_top=self.keep == "top")

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Take the layers out and train on."""
        count = number_of_layers(trained.model.body)
        kept = self.kept(count)
        drop(trained.model, kept)
        if self.epochs:
            workshop.teach(trained, Lesson("recovery", self.epochs, self.learning_rate))
        said = f"Of {count} layers {', '.join(map(str, kept))} stay (0 is the lowest)."
        return Compressed(trained, {"layers": kept, "before": count}, (said,))


def layers_in(model: Model, step: str) -> int:
    """How many layers a body has.

    Raises:
        ModelError: they are not known.
    """
    try:
        return number_of_layers(model.body)
    except ModelError as error:
        raise ModelError(error.what, where=f"compress, {step}", to_do=f"Leave {step} out for this model.") from error


def drop(model: Model, kept: list[int]) -> None:
    """Take all layers out of a model but these."""
    keep_layers(model.body, kept)
    for config in (model.body.config, model.config):
        say_layers(config, kept)
    model.plain = frozenset(model.state_dict())


def spread(count: int, stay: int) -> list[int]:
    """`stay` of `count` places, evenly, with the first and the last; of one, the last."""
    if stay == 1:
        return [count - 1]
    return [round(place * (count - 1) / (stay - 1)) for place in range(stay)]


def _end(count: int, stay: int, *, is_top: bool) -> list[int]:
    return list(range(count - stay, count)) if is_top else list(range(stay))
