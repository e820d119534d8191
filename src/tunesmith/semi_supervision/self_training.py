"""Self-training: a model's confident answers become the labels of its student."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tunesmith.augmentation import Augmenter
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.semi_supervision.pseudo_labels import (
    WITH,
    WITHOUT,
    Balance,
    Judged,
    Sentence,
    Survey,
    balanced,
    chosen_thresholds,
    class_of,
    pseudo_labelled,
    survey,
)
from tunesmith.semi_supervision.views import Texts
from tunesmith.tasks import Task


@dataclass(frozen=True)
class SelfTraining:
    """Train a student, from the pre-trained weights, on the labels and on the confident answers of its teacher.

    Lee 2013 ("Pseudo-label", sec. 2) and Xie et al. 2020 (noisy student, sec. 2): the supervised model is the first
    teacher, each student the next one. The noise is what the recipe has for everyone: dropout, and the augmenters,
    which also make copies of pseudo-labelled texts. Confidences are those of the calibrated model.

    Needs: labels that are one class, or spans; a validation split.

    Attributes:
        rounds: students, one after the other.
        threshold: the least confidence of an answer; "validation" chooses one for each class, the lowest from which its
            answers to the validation examples are right at the rate `precision` (a class without one gives no labels).
        precision: see `threshold`.
        sentence: of spans: how sure an answer is, as its "least" sure word, or as its words on average ("mean").
        balance: how many of each class are learnt from, the surest first: shares as among the "labelled" examples, all
            classes "equal", or "none" for all that are confident. Texts with spans and texts without are two classes.
    """

    rounds: int = 1
    threshold: float | Literal["validation"] = "validation"
    precision: float = 0.9
    sentence: Sentence = "least"
    balance: Balance = "labelled"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise RecipeError("rounds must be at least 1.", where="semi_supervision.rounds")
        for name in ("threshold", "precision"):
            value = self.__dict__[name]
            if isinstance(value, float) and not 0 <= value <= 1:
                raise RecipeError(f"{name} must lie between 0 and 1.", where=f"semi_supervision.{name}")

    @property
    def uses_texts(self) -> bool:
        """Yes."""
        return True

    @property
    def learns_from_answers(self) -> bool:
        """The student learns from what its teacher answered before."""
        return True

    def check(self, task: Task, augmenters: Sequence[Augmenter]) -> None:
        """See that answers can be labels.

        Raises:
            RecipeError: they cannot.
        """
        if task.label_kind not in ("class", "spans"):
            raise RecipeError(
                "Self-training needs labels that are one class, or spans.",
                where="semi_supervision",
                to_do="Leave semi_supervision and data.unlabelled out, or use such a task.",
            )

    def beside(self, texts: Texts) -> None:
        """Nothing: the student's examples are all there is to learn from."""

    def surveyed(self, labelled: Sequence[Example], texts: Judged, validation: Judged, teacher: str) -> Survey:
        """The teacher's answers, and the examples that its student learns from."""
        counts = Counter(class_of(example.label) for example in labelled)
        classes = sorted({*counts, *((WITH, WITHOUT) if isinstance(labelled[0].label, tuple) else ())})
        if self.threshold == "validation":
            thresholds = chosen_thresholds(validation, classes, self.precision, self.sentence)
        else:
            thresholds = dict.fromkeys(classes, float(self.threshold))
        examples = pseudo_labelled(
            texts, thresholds, self.sentence, lambda found: balanced(found, counts, self.balance), teacher
        )
        return replace(survey(texts, validation, thresholds, self.sentence), examples=examples)
