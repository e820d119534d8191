"""The texts without labels of each step: asked as they are, and learnt from as changed copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from tunesmith.augmentation import Augmenter
from tunesmith.data.records import Example, Prediction
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import Model
from tunesmith.semi_supervision.pseudo_labels import Sentence, confidence_of
from tunesmith.semi_supervision.views import Texts, changed
from tunesmith.tasks import Batch
from tunesmith.tasks.batches import by_length, cut
from tunesmith.training.beside import Part
from tunesmith.training.criterion import Criterion


class Rule(Protocol):
    """What FixMatch and UDA differ in."""

    @property
    def ratio(self) -> int:
        """Texts for each labelled example of a step."""

    @property
    def threshold(self) -> float:
        """The least confidence of an answer."""

    @property
    def weight(self) -> float:
        """The weight of the further loss."""

    @property
    def sentence(self) -> Sentence:
        """How sure an answer of spans is."""

    def loss(self, model: Model, batch: Batch, criterion: Criterion, answers: Sequence[Prediction]) -> Tensor:
        """The mean over the batch's `units` of what is asked of copies, given the answers to their texts."""

    def limit(self, labels: int, step: int, total: int) -> float:
        """The probability of its class above which a labelled example is left out of a step."""


@dataclass(frozen=True)
class ConsistentTexts:
    """The texts beside the steps of a run, and what is asked of their copies.

    Attributes:
        texts: the texts.
        rule: FixMatch or UDA.
        strong, weak: the augmenters of the copies, and of what is answered.
    """

    texts: Texts
    rule: Rule
    strong: tuple[Augmenter, ...]
    weak: tuple[Augmenter, ...]

    @property
    def texts_per_step(self) -> int:
        """The ratio times the labelled examples of a full step."""
        return self.rule.ratio * self.texts.step_size

    def kept(
        self, model: Model, criterion: Criterion, examples: Sequence[Example], step: int, total: int
    ) -> Sequence[int]:
        """The labelled examples of which the model is not yet too sure."""
        limit = self.rule.limit(len(criterion.task.labels), step, total)
        if limit >= 1:
            return range(len(examples))
        answers = self._predictor(model, criterion).predict(examples)
        shares = [answer.scores[str(one.label)] for one, answer in zip(examples, answers, strict=True)]
        below = [place for place, share in enumerate(shares) if share <= limit]
        return below or [min(range(len(shares)), key=shares.__getitem__)]

    def losses(self, model: Model, criterion: Criterion, step: int) -> Iterator[Part]:
        """The further loss of a step in parts, one for each micro-batch of confident texts."""
        seen = self.texts.of_step(step, self.texts_per_step)
        key = f"{self.texts.seed} {{}} {{}} {{}}".format
        asked = [changed(one, self.weak, key("weak", number, one.id)) for number, one in seen]
        answers = self._predictor(model, criterion).predict(asked)
        sure = [
            (replace(one, label=answer.label), answer, key("strong", number, one.id))
            for (number, one), answer in zip(seen, answers, strict=True)
            if confidence_of(answer, self.rule.sentence) >= self.rule.threshold
        ]
        copies = [changed(example, self.strong, drawn) for example, _, drawn in sure]
        encoded = [criterion.task.encode(copy, self.texts.encoder) for copy in copies]
        pad_id = self.texts.encoder.tokenizer.pad_token_id or 0
        limits = {"max_examples": self.texts.batch_size, "max_tokens": self.texts.max_tokens}
        batches = [
            (numbers, criterion.task.collate([encoded[number] for number in numbers], pad_id))
            for numbers in cut(by_length(encoded), encoded, **limits)
        ]
        units = sum(batch.units for _, batch in batches)
        for numbers, batch in batches:
            share = len(sure) / len(seen) * batch.units / max(units, 1.0)
            found = self.rule.loss(model, batch.to(model.device), criterion, [sure[number][1] for number in numbers])
            yield Part(self.rule.weight * share * found, len(numbers))

    def _predictor(self, model: Model, criterion: Criterion) -> Predictor:
        return Predictor(model, criterion.task, self.texts.encoder, batch_tokens=self.texts.max_tokens)
