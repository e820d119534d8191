"""Labelled spans by few examples: each word gets the tag of the nearest word among the training examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.errors import DataError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.calibration import fit_temperature
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.crf import viterbi
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.nearest_words import (
    MOVES,
    UNKNOWN,
    Choice,
    Distance,
    NearestWords,
    moves,
    neighbour_loss,
    thinned,
    transitions,
)
from tunesmith.tasks.ranges import HELD, check_labels, check_numbers
from tunesmith.tasks.tagged_words import by_example, laid_out, spans_on_text
from tunesmith.tasks.token_classification import TokenClassification

_WHOLE = 1 << 30
"""A window that holds any text: how many words have a token does not depend on windows."""


@dataclass(frozen=True)
class FewShotTagging:
    """Find labelled spans by nearest neighbours (Yang and Katiyar 2020): a word gets the tag of the nearest known word.

    Needs: labels that are spans, of which a few per type are enough (`data.shots`). The training examples are the
    memory, which the artifact keeps. With `method: none` nothing learns; the usual body comes from a run of
    token_classification on another domain (`model.name: runs/x/artifact`). With other methods the body learns
    to bring words of one tag together, by a loss that compares the words of a batch.

    Metrics: f1, precision and recall of entities by exact borders and type, and of words by their tags.

    Long texts: windows that share `stride` tokens; a word is judged where most of its surroundings are seen.

    Attributes:
        labels: the entity types; empty means those of the training split, sorted.
        distance: one minus the cosine of the states of words (each at its first token), or their squared Euclidean
            distance over the number of dimensions.
        neighbours: a tag is as far as the mean of so many of its nearest words.
        transitions: "bio" allows all that IOB2 allows (NNShot); "support" also weighs steps between tags by how often
            the training examples have them (StructShot).
        memory: the most words that are remembered; the most frequent tags, O first, give way.
        contrast: what distances are divided by, in the loss and in answers.
        casing: as in token_classification; set it as the run has it that the body comes from.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows share.
        temperature: divides the scores before probabilities are taken; fitted on validation.
        counts: how many training words have each tag; learnt.
        moves: how often the training examples have each kind of step between tags; learnt.
    """

    labels: tuple[str, ...] = ()
    distance: Distance = "cosine"
    neighbours: int = 1
    transitions: Literal["bio", "support"] = "bio"
    memory: int = 10_000
    contrast: float = 0.05
    casing: bool | Literal["auto"] = False
    max_length: int = 0
    stride: int = 64
    temperature: float = 1.0
    counts: tuple[int, ...] = field(default=(), metadata={HELD: "the states of training words, as vectors"})
    moves: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(label_smoothing=0.0, max_length=self.max_length, stride=self.stride, temperature=self.temperature)
        if self.neighbours < 1:
            raise RecipeError("neighbours must be at least 1.", where="task.neighbours")
        if self.memory < 1:
            raise RecipeError("memory must be at least 1.", where="task.memory")
        if self.contrast <= 0:
            raise RecipeError("contrast must be positive.", where="task.contrast")

    @property
    def _words(self) -> TokenClassification:
        """The task with the same labels and windows, which learns tags by gradients."""
        return TokenClassification(
            self.labels,
            casing=self.casing,
            max_length=self.max_length,
            stride=self.stride,
            temperature=self.temperature,
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
        return self._words.token_types

    @property
    def tags(self) -> tuple[str, ...]:
        """O, then B- and I- of each label."""
        return self._words.tags

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the entity types of the training examples, and counts of their words' tags.

        Raises:
            DataError: there are no training examples.
            RecipeError: the memory cannot hold a word of each tag.
        """
        if not len(examples):
            raise DataError(
                "There are no training examples whose words could be remembered.",
                where="data.train",
                to_do="Give some labelled examples in data.train.",
            )
        words = self._words.prepared(examples, tokenizer)
        known = replace(self, labels=words.labels, casing=words.casing)
        encoder = TextEncoder.of(tokenizer, _WHOLE)
        counts = np.zeros(len(known.tags), dtype=np.int64)
        steps = np.zeros(len(MOVES), dtype=np.int64)
        for example in examples:
            target = words.encode(example, encoder).target
            assert target is not None, "training examples have labels"
            counts += np.bincount(target.astype(np.int64), minlength=len(counts))
            steps += np.array(moves([known.tags[int(tag)] for tag in target]))
        if self.memory < (counts > 0).sum():
            raise RecipeError(
                f"memory is {self.memory}, but the training examples have {(counts > 0).sum()} tags.",
                where="task.memory",
                to_do="Let it be some thousands.",
            )
        return replace(known, counts=tuple(counts.tolist()), moves=tuple(steps.tolist()))

    @property
    def kept(self) -> tuple[int, ...]:
        """How many words of each tag are remembered."""
        return thinned(self.counts, self.memory)

    def announcements(self, examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
        """What is remembered, and the types of which nothing is."""
        kept = sum(self.kept)
        said = f"{kept:,} words of the training examples are remembered, {self.kept[0]:,} of them outside of entities."
        found = [Finding("remembered", "note", said, kept)]
        if lost := sum(self.counts) - kept:
            less = [
                f"{tag}: {kept:,} of {count:,}"
                for tag, kept, count in zip(self.tags, self.kept, self.counts, strict=True)
                if kept < count
            ]
            said = f"{lost:,} words of the training examples are not remembered, since task.memory is {self.memory:,}."
            found.append(Finding("forgotten", "warning", said, lost, tuple(less[:3])))
        unknown = [label for number, label in enumerate(self.labels) if not self.counts[2 * number + 1]]
        if unknown:
            said = f"{len(unknown)} entity types have no training example, so they are never found."
            found.append(Finding("types_without_support", "warning", said, len(unknown), tuple(unknown[:3])))
        return found

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into windows over its words, with a tag number per word as target if it has a label."""
        return self._words.encode(example, encoder)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors; targets are laid out like the units of the pieces."""
        return self._words.collate(encoded, pad_id)

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The memory; nothing in it learns."""
        return NearestWords(shape.hidden_size, self.kept, self.distance, self.neighbours)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The soft nearest neighbour loss within the batch, from the words' states."""
        assert batch.targets is not None, "a batch for training has targets"
        return neighbour_loss(logits.flatten(0, 1), batch.targets.flatten(), self.distance, self.contrast)

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """Remember the states of the training words, of a tag with too many evenly spread ones."""
        choices = [Choice(count, kept) for count, kept in zip(self.counts, self.kept, strict=True)]
        found: list[list[Tensor]] = [[] for _ in self.tags]
        with torch.no_grad():
            for batch in batches:
                assert batch.targets is not None, "training examples have labels"
                states, tags = network(batch)[batch.unit_mask], batch.targets[batch.unit_mask]
                for tag, choice in enumerate(choices):
                    own = states[tags == tag]
                    found[tag].append(own[choice.of(len(own)).to(own.device)].cpu())
        if any(found):
            head = network.head
            assert isinstance(head, NearestWords)
            head.remember([torch.cat(parts) for parts in found])

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Tag scores [U, K] of each example's words: minus the distances to the nearest words of each tag."""
        head = network.head
        assert isinstance(head, NearestWords)
        near = head.nearness(network(batch)[batch.unit_mask])
        return by_example(torch.where(near > UNKNOWN, near / self.contrast, near), batch)

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The best tag sequence that IOB2 allows, as spans on the original text."""
        scores, mask = laid_out(outputs, len(self.tags))
        if not mask.shape[1]:
            return [Prediction(example.id, (), math.nan) for example in examples]
        scores = scores / self.temperature
        steps, start = transitions(self.tags, self.moves if self.transitions == "support" else ())
        paths = viterbi(scores.log_softmax(-1), mask, steps, start, torch.zeros_like(start))
        return [
            spans_on_text(example, item, self.tags, path, chances)
            for example, item, path, chances in zip(examples, encoded, paths, scores.softmax(-1), strict=True)
        ]

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """Entity precision, recall and F1, macro-F1 over types, and accuracy over words."""
        return self._words.measures(examples, predictions)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Results per entity type, and per word tag."""
        return self._words.tables(examples, predictions)

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Spans have no single class to confuse."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether all spans of the text, and no others, were found."""
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation words; those whose tag none has are left out."""
        pairs = [(item.target, row) for item, row in zip(encoded, logits, strict=True) if item.target is not None]
        if not any(len(row) for _, row in pairs):
            return self
        rows = torch.cat([row for _, row in pairs if len(row)]).numpy().astype(np.float64)
        golds = np.concatenate([target for target, _ in pairs]).astype(np.int64)
        known = rows[np.arange(len(golds)), golds] > UNKNOWN
        return replace(self, temperature=fit_temperature(rows[known], golds[known]))
