"""The kinds of problem: each task knows how to encode, lose, infer, decode and score its examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.encoding import Batch, Encoded, TextEncoder
from tunesmith.tasks.sequence_classification import SequenceClassification
from tunesmith.tasks.token_classification import TokenClassification


class Task(Protocol):
    """All that depends on the kind of problem.

    A task is a frozen dataclass. `prepared` returns a copy in which everything that must be learnt from the training
    examples or the tokenizer (labels, class weights, scale) is filled in; the other verbs need such a copy.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes or entity types, sorted; empty for regression."""

    @property
    def metric(self) -> str:
        """The metric by which checkpoints are compared and models are judged."""

    @property
    def label_kind(self) -> str:
        """The form of the labels: "class", "number", "classes" or "spans"."""

    @property
    def temperature(self) -> float:
        """What the scores are divided by before probabilities are taken; 1 before it is fitted."""

    @property
    def max_length(self) -> int:
        """Tokens per window that the recipe asks for; 0 for the model's own limit."""

    @property
    def token_types(self) -> int:
        """How many further kinds of token the backbone must tell apart (word shapes); 0 for none."""

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with labels and statistics learnt from the training examples."""

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into pieces that fit the encoder's window, with its label as target if it has one."""

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors."""

    def build_head(self, hidden_size: int, pooling: str, dropout: float) -> nn.Module:
        """The task's layer: hidden states [P, T, H] and the batch -> logits."""

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the batch's `units`."""

    def infer(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Part the logits of a batch by example."""

    def decode(
        self, head: nn.Module, examples: Sequence[Example], encoded: Sequence[Encoded], logits: Sequence[Tensor]
    ) -> list[Prediction]:
        """Turn each example's logits into an answer on its original text."""

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of these answers."""

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Per-class results."""

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which class was taken for which; None where that has no meaning."""

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer as a whole is right."""

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples."""


TASKS: dict[str, type[Task]] = {
    "sequence_classification": SequenceClassification,
    "token_classification": TokenClassification,
}

__all__ = ["TASKS", "Batch", "Encoded", "SequenceClassification", "Task", "TokenClassification"]
