"""Two texts: the class of their relation, how like they are, or how well one answers the other."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, LabelError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.answers import class_of, number_of
from tunesmith.scoring.classification import class_table, confusion_of, measure_classes
from tunesmith.scoring.numbers import measure_numbers
from tunesmith.scoring.retrieval import measure_rankings
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import fitted_temperature, likeliest
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder, plain_piece
from tunesmith.tasks.gold import class_number, labels_of
from tunesmith.tasks.heads import BodyShape, SequenceHead
from tunesmith.tasks.losses import binary_divergence, binary_loss, class_divergence, class_loss
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.pair_heads import BiEncoderHead, both, cosines, in_batch_contrast
from tunesmith.tasks.ranges import check_labels, check_numbers

_METRICS = {"classification": "accuracy", "similarity": "spearman", "ranking": "ndcg@10"}


@dataclass(frozen=True)
class SentencePairs:
    """Judge two texts together (Devlin et al. 2019, sec. 4.1), or read each apart and compare their vectors.

    Needs: two texts per example. "cross" reads both in one piece, which is more exact; "bi" gives each text a vector,
    which can be kept and searched, and answers a single text with its vector. Passages of one query share `data.group`
    or the first text; hold out whole queries by data.group. What is longer than a window is cut at the
    end of the longer text, and counted.

    Metrics: accuracy and F1s; spearman, pearson and errors for similarity; ndcg@10, mrr and map for ranking.

    Long texts: the longer text is cut at its end, and counted.

    Attributes:
        problem: "classification" (paraphrase, entailment), "similarity" (a number) or "ranking" (a number).
        encoder: read both texts in one piece ("cross"), or apart ("bi").
        labels: the classes; empty means those of the training split, sorted.
        contrast: temperature of the contrastive loss of a ranking bi-encoder.
        label_smoothing: share of the target given to all classes alike, in [0, 1).
        pooling: how token states become one; "auto" takes what the backbone was trained with.
        max_length: tokens per piece, special tokens included; 0 means the model's own limit.
        low, high: the ends of the scale of the training numbers, learnt from them.
        temperature: divides the logits before probabilities are taken; fitted on validation after training.
    """

    problem: Literal["classification", "similarity", "ranking"] = "classification"
    encoder: Literal["cross", "bi"] = "cross"
    labels: tuple[str, ...] = ()
    contrast: float = 0.05
    label_smoothing: float = 0.0
    pooling: Literal["auto", "mean", "cls", "max", "last"] = "auto"
    max_length: int = 0
    low: float = 0.0
    high: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(
            label_smoothing=self.label_smoothing, max_length=self.max_length, stride=0, temperature=self.temperature
        )
        if self.contrast <= 0:
            raise RecipeError("contrast must be positive.", where="task.contrast")
        if self.contrast != 0.05 and (self.problem, self.encoder) != ("ranking", "bi"):
            raise RecipeError(
                "contrast has no effect here.",
                where="task.contrast",
                to_do="Remove it: it is for ranking by bi-encoder.",
            )
        if self.problem != "classification" and (self.labels or self.label_smoothing):
            raise RecipeError(
                f"labels and label_smoothing have no effect on problem: {self.problem}.",
                where="task",
                to_do="Remove them, or choose problem: classification.",
            )

    @property
    def metric(self) -> str:
        """Accuracy, Spearman's correlation, or NDCG@10."""
        return _METRICS[self.problem]

    @property
    def label_kind(self) -> str:
        """The form of the labels."""
        return "class" if self.problem == "classification" else "number"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Two texts; a bi-encoder also answers a single one, with its vector."""
        return ("text", "second") if self.encoder == "cross" else ("text", "second?")

    @property
    def body(self) -> BodyKind:
        """A bare body."""
        return "encoder"

    @property
    def reads_labels(self) -> bool:
        """An answer depends on the texts alone."""
        return False

    @property
    def token_types(self) -> int:
        """No further kinds of token are told apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the classes, or the scale of the numbers, of the training examples."""
        if self.problem != "classification":
            numbers = [number_of(example) for example in examples]
            if not numbers:
                return self
            low, high = self._scale(numbers)
            return replace(self, low=low, high=high)
        labels = self.labels or tuple(sorted({label for example in examples for label in labels_of(example)}))
        if not labels:
            raise LabelError("No training pair has a label.", where="data.train", to_do="Check data.label.")
        return replace(self, labels=labels)

    def _scale(self, numbers: Sequence[float]) -> tuple[float, float]:
        """The ends of the scale; that of relevance begins at 0, which is irrelevant."""
        low, high = min(numbers), max(numbers)
        if self.problem == "ranking" and (low < 0 or high <= 0):
            raise LabelError(
                f"The training pairs' relevances go from {low:g} to {high:g}.",
                where="data.train",
                to_do="Give 0 for an irrelevant passage, and more the more relevant one is.",
            )
        if low == high and (self.problem, self.encoder) != ("ranking", "bi"):
            raise LabelError(
                f"Every training pair has the number {low:g}.", where="data.train", to_do="Give pairs that differ."
            )
        return 0.0 if self.problem == "ranking" else low, high

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a pair into one piece with both texts, or one piece for each."""
        texts = [encoder.tokens(text) for text in (example.text, example.second) if text]
        kept: Sequence[Sequence[int]]
        unknown = sum(tokens.unknown for tokens in texts)
        if self.encoder == "bi":
            kept = [tokens.ids[: encoder.room] for tokens in texts]
            pieces = tuple(plain_piece(encoder.wrap(ids), part=part) for part, ids in enumerate(kept))
        else:
            if len(texts) < 2:
                raise DataError(
                    "A pair needs a second text.",
                    where=example.origin or example.id,
                    to_do="Give both texts; only a bi-encoder answers a single text, with its vector.",
                )
            kept = fitted(texts[0].ids, texts[1].ids, encoder.room_for_pair)
            pieces = (encoder.join(kept[0], kept[1]),)
        is_cut = any(len(ids) < len(tokens.ids) for ids, tokens in zip(kept, texts, strict=True))
        return Encoded(pieces, self._target(example), unknown=unknown, changed=("cut_pair",) if is_cut else ())

    def _target(self, example: Example) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
        if example.label is None:
            return None
        if self.problem == "classification":
            return np.array(float(class_number(class_of(example), self.labels, example)))
        number = (number_of(example) - self.low) / (self.high - self.low)
        if (self.problem, self.encoder) == ("ranking", "bi"):
            return np.array([number, _fingerprint(example.group or example.text), _fingerprint(example.second)])
        return np.array(number)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors."""
        rows = [item.target for item in encoded if item.target is not None]
        targets = None
        if rows and len(rows) == len(encoded):
            stacked = torch.from_numpy(np.stack(rows))
            targets = stacked.long() if self.problem == "classification" else stacked.float()
            if (self.problem, self.encoder) == ("ranking", "bi"):
                return collate_pieces(encoded, pad_id, targets, float((stacked[:, 0] > 0).sum()))
        return collate_pieces(encoded, pad_id, targets, float(len(encoded)))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """One layer over both texts, or none where vectors are compared."""
        pooling = shape.pooling if self.pooling == "auto" else self.pooling
        if self.encoder == "bi":
            return BiEncoderHead(shape, pooling, len(self.labels))
        return SequenceHead(shape.hidden_size, len(self.labels) or 1, pooling, "mean", shape.dropout)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of classes, and of the scaled number; squared error of a cosine; contrast of a ranking."""
        assert batch.targets is not None, "a batch for training has targets"
        if isinstance(head, BiEncoderHead):
            first, second = both(logits, batch)
            if self.problem == "ranking":
                return in_batch_contrast(first, second, batch.targets, self.contrast)
            if self.problem == "similarity":
                return (cosines(first, second) - batch.targets).pow(2).mean()
            logits = head.classify(first, second)
        if self.problem == "classification":
            return class_loss(logits, batch.targets, None, self.label_smoothing)
        return binary_loss(logits[:, 0], batch.targets)

    @property
    def incomparable(self) -> str:
        """Vectors are no distribution."""
        return "a bi-encoder gives vectors, and no distribution (encoder: bi)" if self.encoder == "bi" else ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the class distributions, or of the scaled number as a chance."""
        if self.problem == "classification":
            return class_divergence(one, other, one_way=one_way)
        return binary_divergence(one[:, 0], other[:, 0], one_way=one_way)

    @property
    def mixing(self) -> Form | None:
        """A logit per class, or the scaled number of two texts that are read together; vectors are no answers."""
        return None if self.encoder == "bi" else "classes" if self.problem == "classification" else "numbers"

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Class logits [C] or one number [1] per pair; the vector [H] of a single text."""
        found = network(batch)
        head = network.head
        if not isinstance(head, BiEncoderHead):
            return list((found if self.problem == "classification" else found.sigmoid()).float().cpu())
        first, second = both(found, batch)
        judged = head.classify(first, second) if self.problem == "classification" else cosines(first, second)[:, None]
        of_pairs, of_texts = iter(judged.float().cpu()), list(found.float().cpu())
        counts = batch.example_of.bincount(minlength=batch.size).tolist()
        starts = np.cumsum([0, *counts])
        return [next(of_pairs) if count == 2 else of_texts[start] for count, start in zip(counts, starts, strict=False)]

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn each example's numbers into an answer."""
        return [self._answer(*given) for given in zip(examples, encoded, outputs, strict=True)]

    def _answer(self, example: Example, item: Encoded, row: Tensor) -> Prediction:
        if self.encoder == "bi" and len(item.pieces) == 1:
            return Prediction(example.id, "", math.nan, vector=tuple(row.tolist()))
        if self.problem != "classification":
            return Prediction(example.id, float(row[0]) * (self.high - self.low) + self.low, math.nan)
        return likeliest(example, self.labels, row / self.temperature)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of these answers."""
        if self.problem == "ranking":
            return measure_rankings(examples, predictions)
        if self.problem == "similarity":
            return measure_numbers(examples, predictions)
        return measure_classes(examples, predictions, self.labels)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Precision, recall and F1 per class."""
        if self.problem != "classification":
            return ()
        return (Table("Per class", "", class_table(examples, predictions, self.labels)),)

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which class was taken for which."""
        return confusion_of(examples, predictions, self.labels) if self.problem == "classification" else None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the class is right; for numbers, whether it lies within a tenth of the scale."""
        if self.problem == "classification":
            return example.label == prediction.label
        return abs(number_of(example) - number_of(prediction)) <= (self.high - self.low) / 10

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples (Guo et al. 2017, sec. 4.2)."""
        if self.problem != "classification":
            return self
        return replace(self, temperature=fitted_temperature(encoded, logits))


def _fingerprint(text: str) -> float:
    """A number that tells a text from others; 24 bits, which a float32 holds exactly."""
    return float(zlib.crc32(text.encode("utf-8", "surrogatepass")) & 0xFFFFFF)


def fitted(first: Sequence[int], second: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Two texts cut to `room` tokens together, the longer one first."""
    over = len(first) + len(second) - room
    if over <= 0:
        return first, second
    shorter = min(len(first), len(second))
    if max(len(first), len(second)) - over >= shorter:
        return (first[:-over], second) if len(first) > len(second) else (first, second[:-over])
    return first[: room - room // 2], second[: room // 2]
