"""Labelled spans in a text: a tag for each word or character, and spans on the original text back."""

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

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.errors import LabelError, RecipeError, nearest
from tunesmith.scoring import Measure
from tunesmith.scoring.calibration import fit_temperature
from tunesmith.scoring.entities import entity_table, measure_entities, word_table
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_targets import padded_rows, possible_types, tag_chances
from tunesmith.tasks.collation import collate_pieces, pad
from tunesmith.tasks.crf import bio_viterbi, see_steps
from tunesmith.tasks.encoding import (
    IGNORED,
    Batch,
    BodyKind,
    Encoded,
    Network,
    Piece,
    TextEncoder,
    first_tokens,
    split_across,
    windows,
)
from tunesmith.tasks.gazetteers import Matcher, gazetteer_findings, marks_count, read_entries
from tunesmith.tasks.gold import spans_of
from tunesmith.tasks.heads import MARKS, BodyShape, TokenHead
from tunesmith.tasks.losses import class_losses, labelled, summed_by_example, target_divergence, weighed_mean
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.ranges import HELD, check_labels, check_numbers
from tunesmith.tasks.tagged_words import by_example, by_piece, laid_out, owning_windows, spans_on_text, units_of
from tunesmith.tasks.word_shapes import SHAPES, is_uncased, token_shapes


@dataclass(frozen=True)
class TokenClassification:
    """Find labelled spans: each word (each character of Chinese) gets a BIO tag, read at its first token.

    Needs: labels that are spans. Long texts are read in overlapping windows; each word is judged in the window that
    shows most of its surroundings, and the tags are decoded over the whole text, so no entity is lost at a border.

    Metrics: f1, precision and recall of entities by exact borders and type, and of words by their tags.

    Long texts: windows that share `stride` tokens; a word is judged where most of its surroundings are seen.

    Attributes:
        labels: the entity types; empty means those of the training split, sorted.
        crf: learn tag transitions with a linear-chain CRF (Lafferty et al. 2001).
        casing: tell the backbone each word's shape (lower, Title, UPPER, single letter, mixed, digit); "auto" does so
            when the tokenizer lower-cases its input.
        label_smoothing: share of the target given to all tags alike, in [0, 1); not with a CRF.
        gazetteer: files with a type, a tab and a name in each line, or "train" for the names labelled in training;
            which words the longest of them cover is told to the head beside the states.
        entries: the names, read from these and kept in the artifact; one known from a single sentence is not found
            there.
        forbidden_steps: steps between neighbouring words that no answer takes, such as "B-PER -> B-LOC", beside those
            that BIO forbids; what is learnt stays as it is.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows share.
        temperature: divides the scores before probabilities are taken; fitted on validation after training.
    """

    labels: tuple[str, ...] = ()
    crf: bool = False
    casing: bool | Literal["auto"] = "auto"
    label_smoothing: float = 0.0
    gazetteer: tuple[str, ...] = ()
    entries: dict[str, dict[str, str]] = field(default_factory=dict, metadata={HELD: "names of the gazetteer"})
    forbidden_steps: tuple[str, ...] = ()
    max_length: int = 0
    stride: int = 64
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(
            label_smoothing=self.label_smoothing,
            max_length=self.max_length,
            stride=self.stride,
            temperature=self.temperature,
        )
        if self.crf and self.label_smoothing:
            raise RecipeError(
                "A CRF has no per-tag targets to smooth.", where="task", to_do="Remove label_smoothing or crf."
            )

    @property
    def metric(self) -> str:
        """Entity F1: exact borders and type."""
        return "f1"

    @property
    def label_kind(self) -> str:
        """The form of the labels."""
        return "spans"

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
        """One kind of token per word shape when `casing` is on."""
        return len(SHAPES) if self.casing is True else 0

    @property
    def tags(self) -> tuple[str, ...]:
        """O, then B- and I- of each label."""
        return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in "BI"))

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the entity types of the training examples, and casing decided by the tokenizer."""
        types = {span.label for example in examples for span in spans_of(example)} | possible_types(examples)
        labels = self.labels or tuple(sorted(types))
        if self.crf and any(example.chances for example in examples):
            raise RecipeError(
                "A CRF learns whole sequences of tags, not the chances of each.",
                where="task.crf",
                to_do="Set crf: false, or leave data.chances out.",
            )
        if not labels:
            raise LabelError(
                "No training example has a labelled span.",
                where="data.train",
                to_do="Check the label column and its format.",
            )
        see_steps(self.forbidden_steps, replace(self, labels=labels).tags)
        entries = read_entries(self.gazetteer, examples) if self.gazetteer else self.entries
        casing = is_uncased(tokenizer) if self.casing == "auto" else self.casing
        return replace(self, labels=labels, casing=casing, entries=entries)

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.entries)

    def announcements(self, examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
        """What the gazetteer finds in the training examples."""
        if not self.gazetteer:
            return []
        read = ((example, units_of(example)) for example in examples)
        marks = ((example, units, self._matcher.marks(example.text, units)) for example, units in read)
        return gazetteer_findings(self.entries, marks)

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into windows over its words, with a tag number per word as target if it has a label."""
        units = units_of(example)
        tokens = split_across(encoder.tokens(example.text), example.text, units, encoder.tokenizer)
        firsts = first_tokens(tokens.offsets, units)
        carried = [(unit, first) for unit, first in zip(units, firsts, strict=True) if first >= 0]
        shown = units if self.casing is True else ()
        kinds = token_shapes(example.text, shown, tokens.offsets)
        spans = windows(len(tokens.ids), encoder.room, min(self.stride, encoder.room // 2))
        owner = owning_windows([first for _, first in carried], spans)
        before = len(encoder.before)
        pieces = []
        for number, (start, end) in enumerate(spans):
            own = [
                first - start + before for (_, first), window in zip(carried, owner, strict=True) if window == number
            ]
            ids = encoder.wrap(tokens.ids[start:end])
            shape = np.zeros(len(ids), dtype=np.uint8)
            shape[before : before + end - start] = kinds[start:end]
            pieces.append(Piece(ids, shape, np.array(own, dtype=np.int32)))
        kept = tuple(unit for unit, _ in carried)
        known = {}
        if self.entries:
            marks = dict(zip(units, self._matcher.marks(example.text, units), strict=True))
            known = {MARKS: np.array([marks[unit] for unit in kept], dtype=np.int64)}
        if example.chances and example.label is not None:
            soft = tag_chances(example, units, kept, self.tags)
            return Encoded(tuple(pieces), soft, kept, tokens.unknown, media=known, weight=example.weight)
        target, lost = self._targets(example, kept)
        return Encoded(tuple(pieces), target, kept, tokens.unknown, lost, media=known, weight=example.weight)

    def _targets(
        self, example: Example, units: Sequence[tuple[int, int]]
    ) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
        """Tag numbers of the units, and the labels of spans that the units cannot express."""
        if example.label is None:
            return None, ()
        number = {tag: index for index, tag in enumerate(self.tags)}
        target = np.zeros(len(units))
        lost = []
        for span in spans_of(example):
            if span.label not in self.labels:
                raise LabelError(
                    f"Unknown entity type '{span.label}'.{nearest(span.label, self.labels)}",
                    where=example.origin or example.id,
                    to_do=f"Known types: {', '.join(self.labels)}. Correct the row or add the type to task.labels.",
                )
            inside = [index for index, (start, end) in enumerate(units) if start < span.end and end > span.start]
            fits = inside and units[inside[0]][0] == span.start and units[inside[-1]][1] == span.end
            free = [index for index in inside if target[index] == 0]
            if not fits or len(free) < len(inside):
                lost.append(span.label)
            for index in free:
                target[index] = number[f"{'B' if index == free[0] else 'I'}-{span.label}"]
        return target, tuple(lost)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors; targets are laid out like the units of the pieces."""
        targets = None
        counted = sum(len(item.target) * item.weight for item in encoded if item.target is not None)
        known = [item.target for item in encoded if item.target is not None]
        if len(known) == len(encoded):
            rows = []
            for item, target in zip(encoded, known, strict=True):
                rows += by_piece(item, target)
            are_chances = any(target.ndim == 2 for target in known)
            targets = padded_rows(rows) if are_chances else pad([row.astype(np.int64) for row in rows], IGNORED)
        batch = collate_pieces(encoded, pad_id, targets, float(counted))
        if not self.entries:
            return batch
        rows = [row for item in encoded for row in by_piece(item, item.media[MARKS])]
        return replace(batch, media={MARKS: pad(rows, 0)})

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Dropout, one linear layer over tags, and the CRF if asked for."""
        return TokenHead(shape.hidden_size, self.tags, shape.dropout, crf=self.crf, marks=marks_count(self.entries))

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the tagged words: cross-entropy, or the CRF's negative log-likelihood per word."""
        return weighed_mean(self.losses(head, logits, batch), batch)

    def losses(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of each text, summed over its tagged words."""
        assert batch.targets is not None, "a batch for training has targets"
        assert isinstance(head, TokenHead)
        if head.crf is None:
            losses = class_losses(logits, batch.targets, smoothing=self.label_smoothing)
        else:
            likelihood = head.crf.log_likelihood(logits, batch.targets.clamp(min=0), batch.unit_mask)
            losses = -likelihood[:, None]
        return summed_by_example(losses, batch)

    def label_counts(self, batch: Batch) -> Tensor:
        """The tagged words of each text."""
        assert batch.targets is not None, "a batch for training has targets"
        return summed_by_example(labelled(batch.targets).float(), batch)

    @property
    def incomparable(self) -> str:
        """A CRF's distribution over sequences is not that of its words."""
        return "a CRF scores whole sequences, not words (crf: true)" if self.crf else ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the tag distributions of the tagged words."""
        weights = None if batch.weights is None else batch.weights[batch.example_of][:, None]
        return target_divergence(one, other, batch.targets, weights, one_way=one_way)

    @property
    def mixing(self) -> Form | None:
        """A logit per tag of each word; a CRF scores whole sequences."""
        return None if self.crf else "classes"

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Tag scores [U, K] of each example, its windows put together again."""
        return by_example(network(batch)[batch.unit_mask], batch)

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The best tag sequence that BIO allows, as spans on the original text."""
        head = network.head
        assert isinstance(head, TokenHead)
        scores, mask = laid_out(outputs, len(self.tags))
        if not mask.shape[1]:
            return [Prediction(example.id, (), math.nan) for example in examples]
        if head.crf is not None:
            crf = head.crf
            scores = scores.to(crf.transitions.device)
            paths = crf.viterbi(scores, mask.to(scores.device), self.forbidden_steps)
            probabilities = crf.marginals(scores, mask.to(scores.device)).cpu()
        else:
            probabilities = (scores / self.temperature).softmax(-1)
            paths = bio_viterbi(scores.log_softmax(-1), self.tags, mask, self.forbidden_steps)
        return [
            spans_on_text(example, item, self.tags, path, chances)
            for example, item, path, chances in zip(examples, encoded, paths, probabilities, strict=True)
        ]

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """Entity precision, recall and F1, macro-F1 over types, and accuracy over words."""
        return measure_entities(examples, predictions, self.labels)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Results per entity type, and per word tag."""
        return (
            Table("Per entity type", "Exact borders and type.", entity_table(examples, predictions, self.labels)),
            Table("Per word", "One row per IOB2 tag, as papers print it.", word_table(examples, predictions)),
        )

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Spans have no single class to confuse."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether all spans of the text, and no others, were found."""
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples' words; a CRF's marginals stay as they are."""
        pairs = [(item.target, row) for item, row in zip(encoded, logits, strict=True) if item.target is not None]
        if self.crf or not any(len(row) for _, row in pairs):
            return self
        rows = torch.cat([row for _, row in pairs if len(row)]).numpy().astype(np.float64)
        targets = np.concatenate([target for target, _ in pairs]).astype(np.int64)
        return replace(self, temperature=fit_temperature(rows, targets))
