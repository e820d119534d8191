"""The relation between two entities that are marked in a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.marks import ROLES
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import LabelError, ModelError, RecipeError, nearest
from tunesmith.scoring import Measure
from tunesmith.scoring.answers import class_of
from tunesmith.scoring.classification import class_table, confusion_of
from tunesmith.scoring.relations import measure_relations
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import fitted_temperature, likeliest
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder, Tokens, plain_piece, split_across
from tunesmith.tasks.gold import class_number, labels_of
from tunesmith.tasks.heads import BodyShape, pool
from tunesmith.tasks.losses import class_divergence, class_loss
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.ranges import check_labels, check_numbers

_NONE = ("Other", "no_relation", "NA", "None", "none", "unknown", "无关系")
"""What data sets call a pair without a relation."""
_SIGNS = {"e1": ("$", "▁$", "@"), "e2": ("#", "▁#", "&")}
"""The tokens that are put around each entity, the first that the vocabulary has (Wu and He 2019, sec. 3.2)."""


class RelationHead(nn.Module):
    """Token states [P, T, H] -> logits [P, C], read from the whole text and from each entity (R-BERT, sec. 3.2)."""

    def __init__(self, shape: BodyShape, outputs: int, pooling: str, *, whole_entities: bool) -> None:
        super().__init__()
        self.pooling = pooling
        self.whole_entities = whole_entities
        self.dropout = nn.Dropout(shape.dropout)
        # The two entities share one layer, as in the paper.
        self.text, self.entity = (nn.Linear(shape.hidden_size, shape.hidden_size) for _ in range(2))
        self.output = nn.Linear(3 * shape.hidden_size, outputs)
        for layer in (self.text, self.entity, self.output):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Pool the text and both entities, and project them together."""
        return self.scores(self.vectors(hidden, batch))

    def vectors(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Text and entities side by side [P, 3H]."""
        whole = self.text(self.dropout(pool(hidden, batch.attention_mask, self.pooling)).tanh())
        # Units: the first and last place of each entity, its signs included.
        first, second = (self._entity(hidden, batch.unit_positions[:, place : place + 2]) for place in (0, 2))
        return torch.cat([whole, self.entity(first), self.entity(second)], dim=-1)

    def scores(self, vectors: Tensor) -> Tensor:
        """The vectors' logits [P, C]."""
        logits: Tensor = self.output(self.dropout(vectors))
        return logits

    def _entity(self, hidden: Tensor, borders: Tensor) -> Tensor:
        if not self.whole_entities:
            state = hidden[torch.arange(len(hidden), device=hidden.device), borders[:, 0]]
            return torch.tanh(self.dropout(state))
        places = torch.arange(hidden.shape[1], device=hidden.device)
        inside = (places >= borders[:, :1]) & (places <= borders[:, 1:])
        return torch.tanh(self.dropout(pool(hidden, inside, "mean")))


@dataclass(frozen=True)
class RelationClassification:
    """Name the relation between two marked entities, with its direction where labels have one (Wu and He 2019).

    Needs: two entities marked in each text. Signs are put around them, and the states of the text and of both entities
    are classified together. Both entities are always read: a text that is longer than the model reads loses what is
    farthest from them, and is counted.

    Metrics: official_f1 (macro over relations, directions counted, no relation left out), accuracy and F1s.

    Long texts: what is farthest from both entities is cut, and counted.

    Attributes:
        labels: the classes; empty means those of the training split, sorted.
        no_relation: the class for no relation, left out of the F1s; null looks for a usual name (and the report
            says which), an empty text leaves no class out.
        entity: what stands for an entity: the state of the sign before it, or the mean of its states.
        label_smoothing: share of the target given to all classes alike, in [0, 1).
        pooling: how token states become one; "auto" takes what the backbone was trained with.
        max_length: tokens that are read, special tokens included; 0 means the model's own limit.
        temperature: divides the logits before probabilities are taken; fitted on validation after training.
    """

    labels: tuple[str, ...] = ()
    no_relation: str | None = None
    entity: Literal["start", "mean"] = "start"
    label_smoothing: float = 0.0
    pooling: Literal["auto", "mean", "cls", "max", "last"] = "auto"
    max_length: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(
            label_smoothing=self.label_smoothing, max_length=self.max_length, stride=0, temperature=self.temperature
        )

    @property
    def metric(self) -> str:
        """The official measure of SemEval-2010 task 8."""
        return "official_f1"

    @property
    def label_kind(self) -> str:
        """The form of the labels."""
        return "class"

    @property
    def inputs(self) -> tuple[str, ...]:
        """A text with two marked entities."""
        return ("text", "marks")

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
        """Return a copy with the classes of the training examples, and the one for no relation."""
        labels = self.labels or tuple(sorted({label for example in examples for label in labels_of(example)}))
        if not labels:
            raise LabelError("No training example has a relation.", where="data.train", to_do="Check data.label.")
        if self.no_relation and self.no_relation not in labels:
            raise RecipeError(
                f"no_relation names the unknown label '{self.no_relation}'.{nearest(self.no_relation, labels)}",
                where="task.no_relation",
                to_do=f"Labels: {', '.join(labels[:8])}.",
            )
        usual = next((name for name in _NONE if name in labels), "")
        found = usual if self.no_relation is None else self.no_relation
        return replace(self, labels=labels, no_relation=found)

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into one piece with signs around its entities, with its relation as target if it has one."""
        tokens = self._tokens(example, encoder)
        borders = [token_borders(tokens.offsets, mark, example) for mark in marks_of(example)]
        kept = kept_tokens(len(tokens.ids), borders, encoder.room - 4)
        openings: dict[int, list[str]] = {}
        closings: dict[int, list[str]] = {}
        for role, (first, last) in zip(ROLES, borders, strict=True):
            openings.setdefault(first, []).append(role)
            closings.setdefault(last, []).insert(0, role)
        ids: list[int] = []
        places = dict.fromkeys([f"{role} {end}" for role in ROLES for end in ("start", "end")], 0)
        for token in kept:
            for role in openings.get(token, ()):
                places[f"{role} start"] = len(ids)
                ids.append(sign_of(role, encoder.tokenizer))
            ids.append(tokens.ids[token])
            for role in closings.get(token, ()):
                places[f"{role} end"] = len(ids)
                ids.append(sign_of(role, encoder.tokenizer))
        before = len(encoder.before)
        piece = plain_piece(encoder.wrap(ids), [place + before for place in places.values()])
        target = None
        if example.label is not None:
            target = np.array(float(class_number(class_of(example), self.labels, example)))
        is_wide = any(
            tokens.offsets[first][0] < mark.start or tokens.offsets[last][1] > mark.end
            for (first, last), mark in zip(borders, marks_of(example), strict=True)
        )
        changed = (*["cut_context"] * (len(kept) < len(tokens.ids)), *["widened_entity"] * is_wide)
        return Encoded((piece,), target, unknown=tokens.unknown, changed=changed)

    def _tokens(self, example: Example, encoder: TextEncoder) -> Tokens:
        """The text's tokens; one that reaches over an entity's border is parted where the vocabulary allows it."""
        borders = sorted(
            {0, len(example.text), *(place for mark in marks_of(example) for place in (mark.start, mark.end))}
        )
        return split_across(encoder.tokens(example.text), example.text, list(pairwise(borders)), encoder.tokenizer)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors."""
        rows = [item.target for item in encoded if item.target is not None]
        targets = torch.from_numpy(np.stack(rows)).long() if rows and len(rows) == len(encoded) else None
        return collate_pieces(encoded, pad_id, targets, float(len(encoded)))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Three pooled states, a layer for each, and one over all."""
        pooling = shape.pooling if self.pooling == "auto" else self.pooling
        return RelationHead(shape, len(self.labels), pooling, whole_entities=self.entity == "mean")

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy over the examples."""
        assert batch.targets is not None, "a batch for training has targets"
        return class_loss(logits, batch.targets, None, self.label_smoothing)

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the class distributions."""
        return class_divergence(one, other, one_way=one_way)

    @property
    def mixing(self) -> Form:
        """A logit per relation."""
        return "classes"

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
        """The likeliest relation of each example."""
        return [
            likeliest(example, self.labels, row / self.temperature)
            for example, row in zip(examples, outputs, strict=True)
        ]

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The official F1, and the usual ones."""
        return measure_relations(examples, predictions, self.labels, self.no_relation or "")

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Precision, recall and F1 per class."""
        note = (
            f"'{self.no_relation}' stands for no relation; the official F1 leaves it out." if self.no_relation else ""
        )
        return (Table("Per class", note, class_table(examples, predictions, self.labels)),)

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which relation was taken for which."""
        return confusion_of(examples, predictions, self.labels)

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the relation and its direction are right."""
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples (Guo et al. 2017, sec. 4.2)."""
        return replace(self, temperature=fitted_temperature(encoded, logits))


def marks_of(example: Example) -> tuple[Span, Span]:
    """The places of the two entities.

    Raises:
        LabelError: one of them is not marked.
    """
    found = {mark.label: mark for mark in example.marks}
    for role in ROLES:
        if role not in found:
            raise LabelError(
                f"The entity {role} is not marked in the text.",
                where=example.origin or example.id,
                to_do="Mark it: <e1>the first</e1> and <e2>the second</e2> entity.",
            )
    return found["e1"], found["e2"]


def token_borders(offsets: Sequence[tuple[int, int]], mark: Span, example: Example) -> tuple[int, int]:
    """The first and last token of an entity.

    Raises:
        LabelError: no token carries it.
    """
    inside = [
        place for place, (start, end) in enumerate(offsets) if start < mark.end and end > mark.start and start < end
    ]
    if not inside:
        raise LabelError(
            f"No token carries the entity {mark.label}.",
            where=example.origin or example.id,
            to_do="Mark words or characters that the model's vocabulary can read.",
        )
    return inside[0], inside[-1]


def kept_tokens(count: int, borders: Sequence[tuple[int, int]], room: int) -> list[int]:
    """The tokens that are read of `count`: all if they fit, else those nearest to the two entities.

    The stretch from one entity to the other is kept whole if it fits; of an entity that does not fit, the ends are.
    """
    if count <= room:
        return list(range(count))
    first, last = min(start for start, _ in borders), max(end for _, end in borders)
    kept = [(first, last)] if last - first < room else borders

    def rank(token: int) -> tuple[bool, int, int]:
        is_outside = not any(start <= token <= end for start, end in kept)
        return is_outside, min(abs(token - place) for border in kept for place in border), token

    return sorted(sorted(range(count), key=rank)[:room])


def sign_of(role: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that is put around an entity.

    Raises:
        ModelError: the vocabulary has none of those that may be.
    """
    for sign in _SIGNS[role]:
        number = tokenizer.convert_tokens_to_ids(sign)
        if isinstance(number, int) and number != tokenizer.unk_token_id:
            return number
    raise ModelError(
        f"The vocabulary has none of {' '.join(_SIGNS[role])} to put around an entity.",
        where="model.name",
        to_do="Choose another model.",
    )
