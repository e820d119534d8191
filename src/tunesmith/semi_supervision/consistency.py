"""Consistency: the answer to a text is what its changed copy shall be answered with, in every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.augmentation import AUGMENTERS, Augmenter
from tunesmith.components import build
from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.models.model import Model
from tunesmith.semi_supervision.beside_steps import ConsistentTexts
from tunesmith.semi_supervision.pseudo_labels import Judged, Sentence, Survey, class_of, survey
from tunesmith.semi_supervision.views import Texts
from tunesmith.tasks import Batch, Distributing, Task
from tunesmith.training.beside import Beside
from tunesmith.training.criterion import Criterion

Views = tuple[str | dict[str, Any], ...]
Annealing = Literal["none", "log", "linear", "exp"]
_COURSES: Mapping[str, Callable[[float], float]] = {
    "log": lambda done: 1 - math.exp(-5 * done),
    "linear": lambda done: done,
    "exp": lambda done: math.exp(5 * (done - 1)),
}


@dataclass(frozen=True)
class FixMatch:
    """Where the answer to a text is confident, it is the label of a strongly changed copy (Sohn et al. 2020, eq. 4).

    Each step learns from `ratio` texts for each of its labelled examples, beside these: weight * (1 / n) * the sum of
    the task's loss over the copies whose text has a confident answer, n being the number of all texts of the step (for
    spans, the words of the confident ones stand for their texts). The answers come from the weights as they are at
    that step, without dropout and without a temperature. One further pass without a gradient over the texts, and one
    with a gradient over the confident copies.

    Needs: labels that are one class, or spans; augmenters; a validation split.

    Attributes:
        ratio: texts without labels for each labelled example of a step (mu).
        threshold: the least confidence of an answer (tau).
        weight: weight of the further loss.
        strong: augmenters that make the copy, of which one is drawn; empty takes those of the recipe, which also make
            copies of the labelled examples.
        weak: augmenters of the text that is answered; empty answers the text as it is. Not for spans.
        sentence: of spans: how sure an answer is, as its "least" sure word, or as its words on average ("mean").
    """

    ratio: int = 1
    threshold: float = 0.95
    weight: float = 1.0
    strong: Views = ()
    weak: Views = ()
    sentence: Sentence = "least"

    def __post_init__(self) -> None:
        _check_numbers(self.ratio, self.threshold, self.weight)
        _ = self.strongly, self.weakly  # built now, so that a mistake in one is found when the recipe is read

    @cached_property
    def strongly(self) -> tuple[Augmenter, ...]:
        """The augmenters of the copies; empty for those of the recipe."""
        return _built(self.strong, "strong")

    @cached_property
    def weakly(self) -> tuple[Augmenter, ...]:
        """The augmenters of the texts that are answered."""
        return _built(self.weak, "weak")

    @property
    def uses_texts(self) -> bool:
        """Yes."""
        return True

    @property
    def rounds(self) -> int:
        """One student."""
        return 1

    @property
    def learns_from_answers(self) -> bool:
        """The student answers while it learns."""
        return False

    def check(self, task: Task, augmenters: Sequence[Augmenter]) -> None:
        """See that a text can be changed without changing its label.

        Raises:
            RecipeError: it cannot.
        """
        _check_views(self.strongly or augmenters)
        if task.label_kind not in ("class", "spans") or tuple(task.inputs) != ("text",):
            raise RecipeError(
                "fixmatch needs single texts with one class, or with spans.",
                where="semi_supervision",
                to_do="Leave semi_supervision and data.unlabelled out, or use such a task.",
            )
        if task.label_kind == "spans" and self.weak:
            raise RecipeError(
                "Spans found in a changed text are not those of the text itself.",
                where="semi_supervision.weak",
                to_do="Leave weak out: the text is answered as it is.",
            )

    def beside(self, texts: Texts) -> Beside:
        """The further loss of each step."""
        return ConsistentTexts(texts, self, texts.fitted(self.strongly or texts.augmenters), texts.fitted(self.weakly))

    def loss(self, model: Model, batch: Batch, criterion: Criterion, answers: Sequence[Prediction]) -> Tensor:
        """The task's loss of the copies, whose targets are the answers."""
        return criterion.of(model, model(batch), batch)

    def limit(self, labels: int, step: int, total: int) -> float:
        """All labelled examples are learnt from."""
        return math.inf

    def surveyed(self, labelled: Sequence[Example], texts: Judged, validation: Judged, teacher: str) -> Survey:
        """The student's answers, by its calibrated confidences."""
        return _survey(labelled, texts, validation, self.threshold, self.sentence)


@dataclass(frozen=True)
class UDA:
    """Hold the answers to a text and to a strongly changed copy of it together (Xie et al. 2019, sec. 2.2 and 3).

    weight * (1 / n) * the sum of KL(q || p) over the confident texts of a step, n being the number of all its texts; p
    is the copy's distribution, q that of the text, sharpened by `temperature` and without a gradient. What is said of
    `fixmatch` about passes and dropout holds here too.

    Needs: a task that gives one distribution over classes per text; augmenters; a validation split.

    Attributes:
        ratio: texts without labels for each labelled example of a step.
        threshold: the least confidence of an answer, before it is sharpened.
        temperature: the power 1 / temperature sharpens an answer; 1 leaves it as it is.
        weight: weight of the further loss.
        annealing: training signal annealing (sec. 3.2): a labelled example is left out of a step while the model gives
            its class more than a share that rises from 1 / classes to 1 over the run, as a logarithm ("log"), a line
            ("linear") or an exponential ("exp") does. The one with the least share always stays.
        strong: augmenters that make the copy, of which one is drawn; empty takes those of the recipe, which also make
            copies of the labelled examples.
        weak: augmenters of the text that is answered; empty answers the text as it is.
    """

    ratio: int = 1
    threshold: float = 0.8
    temperature: float = 0.4
    weight: float = 1.0
    annealing: Annealing = "none"
    strong: Views = ()
    weak: Views = ()

    def __post_init__(self) -> None:
        _check_numbers(self.ratio, self.threshold, self.weight)
        if not 0 < self.temperature <= 1:
            raise RecipeError(
                "temperature must lie above 0 and at most 1.",
                where="semi_supervision.temperature",
                to_do="The paper has 0.4 and higher; 1 does not sharpen.",
            )
        _ = self.strongly, self.weakly  # built now, so that a mistake in one is found when the recipe is read

    @cached_property
    def strongly(self) -> tuple[Augmenter, ...]:
        """The augmenters of the copies; empty for those of the recipe."""
        return _built(self.strong, "strong")

    @cached_property
    def weakly(self) -> tuple[Augmenter, ...]:
        """The augmenters of the texts that are answered."""
        return _built(self.weak, "weak")

    @property
    def uses_texts(self) -> bool:
        """Yes."""
        return True

    @property
    def rounds(self) -> int:
        """One student."""
        return 1

    @property
    def learns_from_answers(self) -> bool:
        """The student answers while it learns."""
        return False

    @property
    def sentence(self) -> Sentence:
        """Of no meaning for classes."""
        return "least"

    def check(self, task: Task, augmenters: Sequence[Augmenter]) -> None:
        """See that answers are distributions, and that a text can be changed.

        Raises:
            RecipeError: they are not, or it cannot.
        """
        _check_views(self.strongly or augmenters)
        if not isinstance(task, Distributing) or task.label_kind != "class":
            raise RecipeError(
                "uda needs a task that gives each text one distribution over classes.",
                where="semi_supervision",
                to_do="Use sequence_classification with one class per text, or fixmatch.",
            )

    def beside(self, texts: Texts) -> Beside:
        """The further loss of each step."""
        return ConsistentTexts(texts, self, texts.fitted(self.strongly or texts.augmenters), texts.fitted(self.weakly))

    def loss(self, model: Model, batch: Batch, criterion: Criterion, answers: Sequence[Prediction]) -> Tensor:
        """The mean divergence from the sharpened answers to those to the copies."""
        assert isinstance(criterion.task, Distributing), "check refuses other tasks"
        logits = criterion.task.class_logits(model(batch))
        chances = torch.tensor([list(answer.scores.values()) for answer in answers], device=logits.device)
        return functional.kl_div(
            logits.float().log_softmax(-1), sharpened(chances, self.temperature), reduction="batchmean"
        )

    def limit(self, labels: int, step: int, total: int) -> float:
        """The share from which on a labelled example is left out (sec. 3.2)."""
        if self.annealing == "none":
            return math.inf
        return _COURSES[self.annealing](step / max(total, 1)) * (1 - 1 / labels) + 1 / labels

    def surveyed(self, labelled: Sequence[Example], texts: Judged, validation: Judged, teacher: str) -> Survey:
        """The student's answers, by its calibrated confidences."""
        return _survey(labelled, texts, validation, self.threshold, self.sentence)


def sharpened(chances: Tensor, temperature: float) -> Tensor:
    """Distributions [E, C] to the power 1 / temperature, made distributions again."""
    return (chances.clamp(min=1e-30).log() / temperature).softmax(-1)


def _built(parts: Views, where: str) -> tuple[Augmenter, ...]:
    return tuple(build(AUGMENTERS, part, f"semi_supervision.{where}.{place}") for place, part in enumerate(parts))


def _check_numbers(ratio: int, threshold: float, weight: float) -> None:
    if ratio < 1:
        raise RecipeError("ratio must be at least 1.", where="semi_supervision.ratio")
    if not 0 <= threshold <= 1:
        raise RecipeError("threshold must lie between 0 and 1.", where="semi_supervision.threshold")
    if not 0 < weight < math.inf:
        raise RecipeError("weight must be a positive number.", where="semi_supervision.weight")


def _check_views(augmenters: Sequence[Augmenter]) -> None:
    if not augmenters:
        raise RecipeError(
            "There is nothing that makes the strongly changed copies.",
            where="semi_supervision.strong",
            to_do=f"Write for example strong: [replace_synonyms, delete_words]; there are {', '.join(AUGMENTERS)}.",
        )


def _survey(
    labelled: Sequence[Example], texts: Judged, validation: Judged, threshold: float, sentence: Sentence
) -> Survey:
    seen = {class_of(example.label) for example in labelled}
    classes = sorted(seen | {class_of(answer.label) for answer in texts.answers})
    return survey(texts, validation, dict.fromkeys(classes, threshold), sentence)
