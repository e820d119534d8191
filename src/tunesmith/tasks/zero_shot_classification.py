"""A class for each text without training examples, by what the labels mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.classification import (
    class_table,
    confusion_of,
    label_set_table,
    measure_classes,
    measure_label_sets,
)
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import fitted_temperature, likeliest
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, Piece, TextEncoder, plain_piece, windows
from tunesmith.tasks.gold import class_number, labels_of
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.label_descriptions import (
    Descriptions,
    check_template,
    complete,
    see_that_they_differ,
    sentences,
)
from tunesmith.tasks.losses import binary_divergence, binary_loss, class_divergence, class_loss
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.ranges import check_labels, check_numbers
from tunesmith.tasks.zero_shot_heads import EntailmentHead, SimilarityHead, Verdict

_USUAL = {
    "similarity": {"multi_label": False, "entailment_label": "", "contradiction_label": ""},
    "entailment": {"scale": 20.0, "pooling": "auto", "stride": 32},
}
"""Settings without effect on each way, with the value that stands for not set."""


@dataclass(frozen=True)
class ZeroShotClassification:
    """Give each text a class by what the labels mean, without training examples: by likeness or by inference.

    "similarity" compares the text's vector with those of the labels' descriptions (Veeranna et al. 2016). "entailment"
    asks an inference model (NLI) whether the text entails the template filled with a description (Yin et al. 2019).
    With method: none nothing is learnt; any other method goes on from there with training examples, by the same
    scores' cross-entropy. To ask a language model for the word instead, see `prompt_classification`.

    Needs: labels that are strings; by entailment an inference model: an artifact of `sentence_pairs`, or a checkpoint
    with its classifier. Each batch also reads the labels' descriptions, and by entailment each text once for each.

    Metrics: accuracy, F1s, MCC and AUC; micro_f1, exact_match and hamming_accuracy with `multi_label`.

    Long texts: by similarity windows whose vectors are averaged; by entailment the text is cut at its end, and counted.

    Attributes:
        by: "similarity" of vectors, or "entailment" by an inference model.
        descriptions: label -> what it means, in one way or in several, which are averaged; its own name where there is
            none.
        template: the sentence that a description is put into, at {label}.
        labels: the classes; empty means those of the training split, or without one those of `descriptions`.
        scale: what cosines are multiplied by before the softmax over labels (similarity).
        multi_label: several labels or none may be right; each is weighed as entailment against contradiction.
        threshold: probability from which a label is given (multi_label).
        entailment_label: the inference model's class that means entailment; empty means by its usual names.
        contradiction_label: the same for contradiction (multi_label).
        pooling: how token states become one (similarity); "auto" takes what the backbone was trained with.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows share (similarity).
        temperature: divides the scores before probabilities are taken; fitted on validation, if there is one.
    """

    by: Literal["similarity", "entailment"] = "similarity"
    descriptions: Descriptions = field(default_factory=dict)
    template: str = "This text is about {label}."
    labels: tuple[str, ...] = ()
    scale: float = 20.0
    multi_label: bool = False
    threshold: float = 0.5
    entailment_label: str = ""
    contradiction_label: str = ""
    pooling: Literal["auto", "mean", "cls", "max", "last"] = "auto"
    max_length: int = 0
    stride: int = 32
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(label_smoothing=0.0, max_length=self.max_length, stride=self.stride, temperature=self.temperature)
        check_template(self.template)
        if self.scale <= 0:
            raise RecipeError("scale must be positive.", where="task.scale")
        if not 0 < self.threshold < 1:
            raise RecipeError("threshold must lie between 0 and 1.", where="task.threshold")
        idle = [
            f"{name} has no effect by: {self.by}" for name, usual in _USUAL[self.by].items() if self._is(name, usual)
        ]
        if not self.multi_label:
            several = {"threshold": 0.5, "contradiction_label": ""}
            idle += [
                f"{name} has no effect without multi_label" for name, usual in several.items() if self._is(name, usual)
            ]
        if idle:
            raise RecipeError(f"{idle[0]}.", where=f"task.{idle[0].split()[0]}", to_do="Remove it.")

    def _is(self, name: str, usual: object) -> bool:
        """Whether a setting was changed from its usual value."""
        return bool(self.__dict__[name] != usual)

    @property
    def metric(self) -> str:
        """Accuracy, or micro-F1 for several labels."""
        return "micro_f1" if self.multi_label else "accuracy"

    @property
    def label_kind(self) -> str:
        """One class, or several."""
        return "classes" if self.multi_label else "class"

    @property
    def inputs(self) -> tuple[str, ...]:
        """One text."""
        return ("text",)

    @property
    def body(self) -> BodyKind:
        """A bare body, or one with a trained classifier."""
        return "encoder" if self.by == "similarity" else "classifier"

    @property
    def reads_labels(self) -> bool:
        """An answer depends on the text alone."""
        return False

    @property
    def token_types(self) -> int:
        """No kinds of token are told apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the labels and a description of each.

        Raises:
            RecipeError: there are fewer than two labels, or their descriptions do not tell them apart.
        """
        labels = self.labels or tuple(sorted({label for one in examples for label in labels_of(one)}))
        labels = labels or tuple(sorted(self.descriptions))
        if len(labels) < 2:
            raise RecipeError(
                "There are fewer than two labels.",
                where="task.labels",
                to_do="Name them in task.labels, or describe them.",
            )
        descriptions = complete(self.descriptions, labels)
        see_that_they_differ(descriptions, tokenizer)
        return replace(self, labels=labels, descriptions=descriptions)

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into windows, or into a pair with each hypothesis; with its label as target if it has one.

        Raises:
            RecipeError: the longest hypothesis leaves no room for a text.
        """
        tokens = encoder.tokens(example.text)
        if self.by == "similarity":
            pieces = self._windows(tokens.ids, encoder)
            return Encoded(pieces, self._target(example), unknown=tokens.unknown, beside=self._described(encoder))
        hypotheses = self._hypotheses(encoder)
        # All labels are judged by the same text, so the longest hypothesis decides how much of it fits.
        room = encoder.room_for_pair - max(map(len, hypotheses))
        if room < 1:
            raise RecipeError(
                f"The longest hypothesis has {max(map(len, hypotheses))} tokens and leaves no room for the text.",
                where="task.max_length",
                to_do="Raise max_length, or shorten the descriptions or the template.",
            )
        kept = tokens.ids[:room]
        return Encoded(
            tuple(replace(encoder.join(kept, ids), part=part) for part, ids in enumerate(hypotheses)),
            self._target(example),
            unknown=tokens.unknown,
            unread=len(tokens.ids) - len(kept),
            frame=max(map(len, hypotheses)) + len(encoder.between),
        )

    @property
    def own_texts(self) -> tuple[str, ...]:
        """What the labels mean: the template with each description."""
        return tuple(text for texts in sentences(self.descriptions, self.template) for text in texts)

    def _windows(self, ids: Sequence[int], encoder: TextEncoder) -> tuple[Piece, ...]:
        cuts = windows(len(ids), encoder.room, min(self.stride, encoder.room // 2))
        return tuple(plain_piece(encoder.wrap(ids[start:end])) for start, end in cuts)

    def _described(self, encoder: TextEncoder) -> tuple[Encoded, ...]:
        """Each label's descriptions as pieces, made once for each encoder."""
        if encoder not in self._kept:
            self._kept[encoder] = tuple(
                Encoded(
                    tuple(piece for text in texts for piece in self._windows(encoder.tokens(text).ids, encoder)), None
                )
                for texts in sentences(self.descriptions, self.template)
            )
        return self._kept[encoder]

    def _hypotheses(self, encoder: TextEncoder) -> list[list[int]]:
        """The tokens of every hypothesis, those of a label side by side, made once for each encoder."""
        if encoder not in self._asked:
            self._asked[encoder] = [encoder.tokens(text).ids for text in self.own_texts]
        return self._asked[encoder]

    @cached_property
    def _kept(self) -> dict[TextEncoder, tuple[Encoded, ...]]:
        return {}

    @cached_property
    def _asked(self) -> dict[TextEncoder, list[list[int]]]:
        return {}

    def _target(self, example: Example) -> NDArray[np.float64] | None:
        if example.label is None:
            return None
        numbers = [class_number(label, self.labels, example) for label in labels_of(example)]
        if not self.multi_label:
            return np.array(float(numbers[0]))
        row = np.zeros(len(self.labels))
        row[numbers] = 1
        return row

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors; by similarity the labels' descriptions follow, once."""
        targets = None
        rows = [item.target for item in encoded if item.target is not None]
        if rows and len(rows) == len(encoded):
            stacked = torch.from_numpy(np.stack(rows))
            targets = stacked.float() if self.multi_label else stacked.long()
        batch = collate_pieces([*encoded, *encoded[0].beside], pad_id, targets, float(len(encoded)))
        return replace(batch, size=len(encoded))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Cosines of vectors, or the outputs of an inference model that count.

        Raises:
            RecipeError: it is not clear which output of the model means entailment.
        """
        if self.by == "similarity":
            return SimilarityHead(
                shape.pooling if self.pooling == "auto" else self.pooling, len(self.labels), self.scale
            )
        both = (self.entailment_label, self.contradiction_label)
        verdict = Verdict.of(shape.classes, *both, needs_both=self.multi_label)
        return EntailmentHead(shape, verdict, [len(texts) for texts in sentences(self.descriptions, self.template)])

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy of the labels' scores; for several labels the mean of each one's."""
        assert batch.targets is not None, "a batch for training has targets"
        return binary_loss(logits, batch.targets) if self.multi_label else class_loss(logits, batch.targets)

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over the labels, or of each yes or no."""
        apart = binary_divergence if self.multi_label else class_divergence
        return apart(one, other, one_way=one_way)

    @property
    def mixing(self) -> Form:
        """A score per label, or per yes or no."""
        return "chances" if self.multi_label else "classes"

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """Nothing is kept: the descriptions are read by the body as it is, so that they stay right while it learns."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """One row of label scores per example."""
        return list(network(batch).float().cpu())

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn each example's scores into an answer."""
        return [self._answer(example, row / self.temperature) for example, row in zip(examples, outputs, strict=True)]

    def _answer(self, example: Example, row: Tensor) -> Prediction:
        if not self.multi_label:
            return likeliest(example, self.labels, row)
        scores = dict(zip(self.labels, row.sigmoid().tolist(), strict=True))
        given = tuple(label for label in self.labels if scores[label] >= self.threshold)
        sure = math.prod(p if p >= self.threshold else 1 - p for p in scores.values())
        return Prediction(example.id, given, sure, scores)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of classes, or of sets of them."""
        measure = measure_label_sets if self.multi_label else measure_classes
        return measure(examples, predictions, self.labels)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Precision, recall and F1 per class."""
        make = label_set_table if self.multi_label else class_table
        return (Table("Per class", "", make(examples, predictions, self.labels)),)

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which class was taken for which; None for several labels."""
        return None if self.multi_label else confusion_of(examples, predictions, self.labels)

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer is the label."""
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples (Guo et al. 2017, sec. 4.2)."""
        return replace(self, temperature=fitted_temperature(encoded, logits))
