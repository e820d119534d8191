"""A class per text from a few examples of each: the body learns from pairs, a logistic regression from its vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.errors import LabelError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.answers import class_of
from tunesmith.scoring.classification import class_table, confusion_of, measure_classes
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import fitted_temperature, likeliest
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.contrastive_pairs import SAME, cosine_loss, is_pair, pair_findings, paired
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, Piece, TextEncoder, plain_piece, windows
from tunesmith.tasks.gold import class_number, labels_of
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.logistic_head import LogisticHead, fit_logistic
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.ranges import check_labels, check_numbers


@dataclass(frozen=True)
class FewShotClassification:
    """Give each text one class after a handful of examples of each (SetFit, Tunstall et al. 2022, sec. 3).

    The body learns from pairs of training texts: the cosine of their vectors shall be 1 within a class and 0 between
    two. Then a logistic regression is fitted on the vectors of the training texts. It has no weights that are learnt by
    steps, so that with `method: none` it alone is fitted, on the vectors of the body as it is (a linear probe).

    Needs: labels that are strings, at least one training text of each class; `data.per_class` draws a few of many. No
    validation split is needed. One epoch over the pairs at a rate of 2e-5 is usual.

    Metrics: accuracy, F1s, MCC and AUC.

    Long texts: windows that share `stride` tokens; their vectors are averaged.

    Attributes:
        iterations: pairs of one class, and as many of two, for each training text.
        labels: the classes; empty means those of the training split, sorted.
        penalty: of large weights of the logistic regression; the inverse of scikit-learn's C.
        normalize: scale vectors to length 1 before the regression, as some bodies were trained to be used.
        pooling: how token states become one; "auto" takes what the backbone was trained with.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows share.
        temperature: divides the logits before probabilities are taken; fitted on validation after training.
    """

    iterations: int = 20
    labels: tuple[str, ...] = ()
    penalty: float = 1.0
    normalize: bool = False
    pooling: Literal["auto", "mean", "cls", "max", "last"] = "mean"
    max_length: int = 0
    stride: int = 32
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(label_smoothing=0.0, max_length=self.max_length, stride=self.stride, temperature=self.temperature)
        if self.iterations < 1:
            raise RecipeError(
                "iterations must be at least 1.",
                where="task.iterations",
                to_do="To learn from no pairs at all, set method: none.",
            )
        if not 0 < self.penalty < float("inf"):
            raise RecipeError("penalty must be a positive number.", where="task.penalty", to_do="1 is usual.")

    @property
    def metric(self) -> str:
        """Accuracy."""
        return "accuracy"

    @property
    def label_kind(self) -> str:
        """One class per text."""
        return "class"

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
        """No kinds of token are told apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the classes of the training examples.

        Raises:
            LabelError: there are fewer than two, or one of `labels` has no example.
        """
        counts = Counter(label for example in examples for label in labels_of(example))
        labels = self.labels or tuple(sorted(counts))
        if len(labels) < 2:
            found = f"only the class '{labels[0]}'" if labels else "no class"
            raise LabelError(
                f"The training examples have {found}; telling classes apart needs two.",
                where="data.train",
                to_do="Give examples of each class, or check data.label.",
            )
        if missing := [label for label in labels if not counts[label]]:
            raise LabelError(
                f"No training example has the label '{missing[0]}'.",
                where="task.labels",
                to_do="Give at least one example of each class, or remove the label.",
            )
        return replace(self, labels=labels)

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """Pairs of the training examples, drawn by the seed."""
        return paired(examples, self.iterations, seed)

    def announcements(self, examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
        """How many pairs there are of each kind, and which classes have one text only."""
        return pair_findings(examples, learning) if learning else []

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text, or both of a pair, into windows; the target is the class, or whether a pair has one class."""
        both = is_pair(example)
        texts = [encoder.tokens(text) for text in ((example.text, example.second) if both else (example.text,))]
        unknown = sum(tokens.unknown for tokens in texts)
        pieces = tuple(piece for part, tokens in enumerate(texts) for piece in self._windows(tokens.ids, encoder, part))
        if example.label is None:
            return Encoded(pieces, None, unknown=unknown)
        number = example.label == SAME if both else class_number(class_of(example), self.labels, example)
        return Encoded(pieces, np.array(float(number)), unknown=unknown)

    def _windows(self, ids: Sequence[int], encoder: TextEncoder, part: int) -> list[Piece]:
        cuts = windows(len(ids), encoder.room, min(self.stride, encoder.room // 2))
        return [plain_piece(encoder.wrap(ids[start:end]), part=part) for start, end in cuts]

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded texts, or pairs, into tensors."""
        rows = [item.target for item in encoded if item.target is not None]
        targets = torch.from_numpy(np.stack(rows)) if rows and len(rows) == len(encoded) else None
        batch = collate_pieces(encoded, pad_id, targets, float(len(encoded)))
        if targets is None:
            return batch
        return replace(batch, targets=targets.long() if batch.part_of is None else targets.float())

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Pooling, and a logistic regression that is fitted when all else has been learnt."""
        pooling = shape.pooling if self.pooling == "auto" else self.pooling
        return LogisticHead(shape.hidden_size, len(self.labels), pooling, normalize=self.normalize)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean squared error of the pairs' cosines (Reimers and Gurevych 2019, sec. 3)."""
        assert batch.targets is not None, "a batch for training has targets"
        assert batch.part_of is not None, "what is learnt from are pairs"
        return cosine_loss(logits[0::2], logits[1::2], batch.targets)

    @property
    def mixing(self) -> Form:
        """A logit per class."""
        return "classes"

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """Fit the logistic regression on the vectors of the training texts as the body gives them now."""
        head = _head_of(network)
        vectors, targets = [], []
        with torch.no_grad():
            for batch in batches:
                assert batch.targets is not None, "training texts have a class"
                vectors.append(network(batch).cpu())
                targets.append(batch.targets.cpu())
        if vectors:
            head.keep(*fit_logistic(torch.cat(vectors), torch.cat(targets), len(self.labels), self.penalty))

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """One row of logits per example."""
        return list(_head_of(network).classify(network(batch)).float().cpu())

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn each example's logits into an answer."""
        return [
            likeliest(example, self.labels, row / self.temperature)
            for example, row in zip(examples, outputs, strict=True)
        ]

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of these answers."""
        return measure_classes(examples, predictions, self.labels)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Precision, recall and F1 per class."""
        return (Table("Per class", "", class_table(examples, predictions, self.labels)),)

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which class was taken for which."""
        return confusion_of(examples, predictions, self.labels)

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer is the label."""
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples (Guo et al. 2017, sec. 4.2)."""
        return replace(self, temperature=fitted_temperature(encoded, logits))


def _head_of(network: Network) -> LogisticHead:
    assert isinstance(network.head, LogisticHead), "the head that this task builds"
    return network.head
