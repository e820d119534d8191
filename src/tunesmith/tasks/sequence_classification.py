"""One answer per text: a class, yes or no, several classes, or a number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.errors import LabelError, RecipeError, nearest
from tunesmith.scoring import Measure
from tunesmith.scoring.classification import (
    class_table,
    confusion_of,
    label_set_table,
    measure_classes,
    measure_label_sets,
)
from tunesmith.scoring.numbers import measure_numbers
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import fitted_temperature, likeliest, several, yes_or_no
from tunesmith.tasks.class_targets import chance_row, class_weights, possible_labels, total_weight
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, Piece, TextEncoder, windows
from tunesmith.tasks.gold import class_number, labels_of, number_of
from tunesmith.tasks.heads import BodyShape, SequenceHead
from tunesmith.tasks.label_rules import Rules, broken_rules, check_rule_weight
from tunesmith.tasks.losses import (
    binary_divergence,
    binary_losses,
    class_divergence,
    class_losses,
    square_divergence,
    weighed_mean,
)
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.ranges import check_labels, check_numbers, check_used

Problem = Literal["single_label", "binary", "multi_label", "regression"]

_KINDS = {"single_label": "class", "binary": "class", "multi_label": "classes", "regression": "number"}
_METRICS = {"single_label": "accuracy", "binary": "accuracy", "multi_label": "micro_f1", "regression": "spearman"}


@dataclass(frozen=True)
class SequenceClassification:
    """Give each text one class, one of two, several, or a number; a long text's windows have their logits pooled.

    Needs: labels that are strings (a set of strings for `multi_label`, numbers for `regression`).

    Metrics: accuracy, F1s, MCC and AUC; micro_f1, exact_match and hamming_accuracy for `multi_label`; spearman, pearson
    and errors for `regression`.

    Long texts: windows that share `stride` tokens; their logits become one by `window_pooling`.

    Attributes:
        problem: what an answer is; "binary" uses one logit and the binary cross-entropy.
        labels: the classes; empty means those of the training split, sorted.
        positive: the class that a binary logit speaks for; empty means the last of the two.
        class_weights: "balanced" for weights inverse to the class counts, a weight per class, or none.
        focal_gamma: exponent of the focal loss; 0 is the plain cross-entropy.
        label_smoothing: share of the target given to all classes alike, in [0, 1).
        pooling: how token states become one; "auto" takes what the backbone was trained with.
        window_pooling: how the logits of a long text's windows become one.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows share.
        threshold: probability from which a label is given (binary and multi-label).
        rules: what labels say of each other (multi-label): "a -> b", "at most one of a, b" or "exactly one of a, b";
            the answer is the likeliest set of labels that keeps all of them.
        rule_weight: weight of minus the log-probability that the rules hold, beside the loss (semantic loss).
        temperature: divides the logits before probabilities are taken; fitted on validation after training.
        mean, scale: location and scale of the training numbers (regression), learnt from them.
    """

    problem: Problem = "single_label"
    labels: tuple[str, ...] = ()
    positive: str = ""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    pooling: Literal["auto", "mean", "cls", "max", "last"] = "auto"
    window_pooling: Literal["mean", "max"] = "mean"
    max_length: int = 0
    stride: int = 32
    threshold: float = 0.5
    rules: tuple[str, ...] = ()
    rule_weight: float = 0.0
    temperature: float = 1.0
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(
            label_smoothing=self.label_smoothing,
            max_length=self.max_length,
            stride=self.stride,
            temperature=self.temperature,
        )
        if self.focal_gamma < 0:
            raise RecipeError("focal_gamma must not be negative.", where="task.focal_gamma")
        if not 0 < self.threshold < 1:
            raise RecipeError("threshold must lie between 0 and 1.", where="task.threshold")
        if isinstance(self.class_weights, dict) and not all(0 < w < math.inf for w in self.class_weights.values()):
            raise RecipeError("class_weights must be positive numbers.", where="task.class_weights")
        used = {"positive": (bool(self.positive), ("binary",)), "rules": (bool(self.rules), ("multi_label",))}
        check_used(self.problem, {**used, "threshold": (self.threshold != 0.5, ("binary", "multi_label"))})
        check_rule_weight(self.rules, self.rule_weight)
        if self.problem == "regression" and (
            self.class_weights or self.focal_gamma or self.label_smoothing or self.labels
        ):
            raise RecipeError(
                "labels, class_weights, focal_gamma and label_smoothing have no effect on regression.",
                where="task",
                to_do="Remove them, or choose another problem.",
            )

    @property
    def metric(self) -> str:
        """Accuracy, micro-F1 for several labels, Spearman's correlation for numbers."""
        return _METRICS[self.problem]

    @property
    def label_kind(self) -> str:
        """The form of the labels."""
        return _KINDS[self.problem]

    @property
    def inputs(self) -> tuple[str, ...]:
        """One text."""
        return ("text",)

    @property
    def body(self) -> BodyKind:
        """A bare body."""
        return "encoder"

    @property
    def reads_labels(self) -> bool:
        """An answer depends on the text alone."""
        return False

    @property
    def token_types(self) -> int:
        """Sequence classification tells no kinds of token apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with labels, class weights or the scale of the numbers learnt from the training examples."""
        if self.problem == "regression":
            numbers = np.array([number_of(example) for example in examples])
            return replace(self, mean=float(numbers.mean()), scale=float(numbers.std()) or 1.0)
        counts = Counter(label for example in examples for label in labels_of(example))
        labels = self.labels or tuple(sorted({*counts, *possible_labels(examples)}))
        if self.problem == "binary" and len(labels) != 2:
            raise LabelError(
                f"A binary task needs exactly two labels; these are {len(labels)}: {', '.join(labels[:5])}.",
                where="task.problem",
                to_do="Use problem: single_label, or name the two labels in task.labels.",
            )
        if self.positive and self.positive not in labels:
            raise RecipeError(
                f"positive names the unknown label '{self.positive}'.{nearest(self.positive, labels)}",
                where="task.positive",
                to_do=f"Use {' or '.join(labels)}.",
            )
        _ = Rules.of(self.rules, labels)  # refused now where they make no sense
        is_multi = self.problem == "multi_label"
        weights = class_weights(self.class_weights, labels, counts, len(examples), several=is_multi)
        return replace(self, labels=labels, class_weights=weights)

    @cached_property
    def _rules(self) -> Rules:
        return Rules.of(self.rules, self.labels)

    def announcements(self, examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
        """Which training examples break the rules."""
        return broken_rules(self._rules, self.labels, examples) if self.rules else []

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into windows, with its label as target if it has one."""
        tokens = encoder.tokens(example.text)
        pieces = []
        for start, end in windows(len(tokens.ids), encoder.room, min(self.stride, encoder.room // 2)):
            ids = encoder.wrap(tokens.ids[start:end])
            pieces.append(Piece(ids, np.zeros(len(ids), dtype=np.uint8), np.zeros(0, dtype=np.int32)))
        return Encoded(tuple(pieces), self._target(example), unknown=tokens.unknown, weight=example.weight)

    def _target(self, example: Example) -> NDArray[np.float64] | None:
        if example.label is None:
            return None
        if self.problem == "regression":
            return np.array((number_of(example) - self.mean) / self.scale)
        if example.chances:
            (chances,) = example.chances
            row = chance_row(chances, self.labels, example)
            return row[[self.labels.index(self._positive)]] if self.problem == "binary" else row
        numbers = [class_number(label, self.labels, example) for label in labels_of(example)]
        if self.problem == "multi_label":
            row = np.zeros(len(self.labels))
            row[numbers] = 1
            return row
        if self.problem == "binary":
            return np.array([float(self.labels[numbers[0]] == self._positive)])
        return np.array(float(numbers[0]))

    @property
    def _positive(self) -> str:
        return self.positive or self.labels[-1]

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors."""
        targets = None
        rows = [item.target for item in encoded if item.target is not None]
        if rows and len(rows) == len(encoded):
            stacked = torch.from_numpy(np.stack(rows))
            targets = stacked.long() if self.problem == "single_label" and stacked.ndim == 1 else stacked.float()
        return collate_pieces(encoded, pad_id, targets, total_weight(encoded))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Pooling, dropout and one linear layer."""
        outputs = len(self.labels) if self.problem in ("single_label", "multi_label") else 1
        pooling = shape.pooling if self.pooling == "auto" else self.pooling
        return SequenceHead(shape.hidden_size, outputs, pooling, self.window_pooling, shape.dropout)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the examples."""
        return weighed_mean(self.losses(head, logits, batch), batch)

    def label_counts(self, batch: Batch) -> Tensor:
        """One label per text."""
        return torch.ones(batch.size, device=batch.input_ids.device)

    def losses(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of each text."""
        assert batch.targets is not None, "a batch for training has targets"
        if self.problem == "regression":
            return (logits[:, 0].float() - batch.targets).pow(2)
        weights = None
        if isinstance(self.class_weights, dict):
            weights = torch.tensor([self.class_weights[label] for label in self.labels], device=logits.device)
        if self.problem == "single_label":
            return class_losses(logits, batch.targets, weights, self.label_smoothing, self.focal_gamma)
        if self.problem == "binary" and weights is not None:
            positive = self.labels.index(self._positive)
            weights = weights[positive : positive + 1] / weights[1 - positive]
        losses = binary_losses(logits, batch.targets, weights, self.label_smoothing, self.focal_gamma).mean(-1)
        return losses + self.rule_weight * self._rules.semantic_loss(logits) if self.rule_weight else losses

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the class distributions, or of each yes or no; the squared difference of two scaled numbers."""
        if self.problem == "regression":
            return square_divergence(one, other, batch.weights)
        of_classes = class_divergence if self.problem == "single_label" else binary_divergence
        return of_classes(one, other, batch.weights, one_way=one_way)

    @property
    def mixing(self) -> Form:
        """A logit per class, one per yes or no, or a scaled number."""
        return {"single_label": "classes", "regression": "numbers"}.get(self.problem, "chances")  # type: ignore[return-value]

    def class_logits(self, logits: Tensor) -> Tensor:
        """The logits, with a zero for "no" before the one of "yes or no"."""
        return torch.cat([torch.zeros_like(logits), logits], dim=-1) if self.problem == "binary" else logits

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """One row of logits per example."""
        return list(network(batch).float().cpu())

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn each example's logits into an answer."""
        return [self._answer(example, row) for example, row in zip(examples, outputs, strict=True)]

    def _answer(self, example: Example, row: Tensor) -> Prediction:
        if self.problem == "regression":
            return Prediction(example.id, float(row[0]) * self.scale + self.mean, math.nan)
        scaled = row / self.temperature
        if self.problem == "single_label":
            return likeliest(example, self.labels, scaled)
        if self.problem == "binary":
            negative = next(label for label in self.labels if label != self._positive)
            return yes_or_no(example, (negative, self._positive), float(scaled[0].sigmoid()), self.threshold)
        return several(example, self.labels, scaled, self.threshold, self._rules)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of these answers."""
        if self.problem == "regression":
            return measure_numbers(examples, predictions)
        if self.problem == "multi_label":
            return measure_label_sets(examples, predictions, self.labels)
        return measure_classes(examples, predictions, self.labels)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Precision, recall and F1 per class."""
        if self.problem == "regression":
            return ()
        make = label_set_table if self.problem == "multi_label" else class_table
        return (Table("Per class", "", make(examples, predictions, self.labels)),)

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which class was taken for which; none for several labels or numbers."""
        return confusion_of(examples, predictions, self.labels) if self.label_kind == "class" else None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer is the label; for numbers, whether it is within half the training numbers' deviation."""
        if self.problem == "regression":
            return abs(number_of(example) - float(prediction.label)) <= self.scale / 2  # type: ignore[arg-type]
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples (Guo et al. 2017, sec. 4.2)."""
        if self.problem == "regression":
            return self
        return replace(self, temperature=fitted_temperature(encoded, logits))
