"""A smaller student, made of its teacher's own layers, that learns from the teacher's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunesmith.compression.layer_drop import LayerDrop, drop, layers_in
from tunesmith.compression.pruning import check_rate
from tunesmith.compression.trained import Compressed, Lesson, Trained, Workshop
from tunesmith.errors import RecipeError
from tunesmith.inference.artifact import load_artifact
from tunesmith.models.anatomy import number_of_layers
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.training.criterion import check_comparable
from tunesmith.training.objectives.distillation import Distillation


@dataclass(frozen=True)
class Distill:
    """A student of some of the teacher's layers learns the teacher's soft answers beside the labels.

    The student starts from a trained network, since one that starts at random does not get far on a few examples (Sanh
    et al. 2019, sec. 3; Turc et al. 2019). What is learnt is described at the objective `distillation`. Where a step
    before took layers out, the student is what that step left.

    Needs: a task whose outputs can be compared, and the teacher's tokenizer: `vocabulary` comes after it.

    Attributes:
        layers: how many stay; 0 for half of the teacher's, or for those that are left.
        keep: which, as for layer_drop.
        epochs: passes over the training examples.
        learning_rate: the peak rate; none means the recipe's.
        alpha: the teacher's share of the loss, above 0 and at most 1.
        temperature: T, which softens the answers of both.
        hidden: weight of the squared difference of the layers' states; 0 leaves them free.
        attention: weight of the squared difference of the attention scores; 0 leaves them free.
        teacher: the model as it was before any step, or as this step found it.
    """

    layers: int = 0
    keep: Literal["even", "top", "bottom"] | tuple[int, ...] = "even"
    epochs: int = 3
    learning_rate: float | None = None
    alpha: float = 0.5
    temperature: float = 2.0
    hidden: float = 0.0
    attention: float = 0.0
    teacher: Literal["original", "before"] = "original"

    def __post_init__(self) -> None:
        self._student()
        self._objective("a teacher")
        check_rate("distill", self.learning_rate)
        if self.epochs < 1:
            raise RecipeError("epochs must be at least 1.", where="distill.epochs")

    def _student(self) -> LayerDrop:
        return LayerDrop(self.layers, self.keep, 0)

    def _objective(self, teacher: str) -> Distillation:
        return Distillation(teacher, self.alpha, self.temperature, self.hidden, self.attention)

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return 1

    def check(self, model: Model, task: Task) -> None:
        """Raise an error where the task's outputs cannot be compared, or the body's layers are not known."""
        check_comparable(task, "distillation")
        count = layers_in(model, "distill")
        if self.layers or not isinstance(self.keep, str):
            self._student().kept(count)

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Make the student and let it learn."""
        folder = workshop.original if self.teacher == "original" else workshop.before
        count, whole = (number_of_layers(body) for body in (trained.model.body, load_artifact(folder).model.body))
        # A number of layers may have been reached by a step before.
        takes = self.layers != count if self.layers else not isinstance(self.keep, str) or count == whole
        kept = self._student().kept(count) if takes else list(range(count))
        if takes:
            drop(trained.model, kept)
        lesson = Lesson("student", self.epochs, self.learning_rate, self._objective(str(folder)))
        workshop.teach(trained, lesson)
        said = (
            f"The student has {len(kept)} layers ({', '.join(map(str, kept))} of the {count} that it was made of); its "
            f"teacher, {'the original' if self.teacher == 'original' else 'the model before this step'}, has {whole}."
        )
        return Compressed(trained, {"layers": kept, "teacher_layers": whole}, (said,))
