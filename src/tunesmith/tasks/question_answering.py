"""Questions about a passage: the answer is a piece of it, or there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.answers import ANSWER
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.calibration import fit_confidence
from tunesmith.scoring.entities import word_ranges
from tunesmith.scoring.questions import (
    Normalization,
    answer_text,
    exact_match,
    gold_texts,
    is_chinese,
    measure_questions,
)
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.answer_spans import (
    Candidates,
    Range,
    best_threshold,
    covering,
    find_candidates,
    inked,
    overlap,
    target_of,
)
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder, Tokens, split_across, windows
from tunesmith.tasks.gold import spans_of
from tunesmith.tasks.heads import BodyShape, TokenHead
from tunesmith.tasks.losses import class_divergence
from tunesmith.tasks.ranges import check_numbers


@dataclass(frozen=True)
class QuestionAnswering:
    """Answer a question with a piece of a passage, or say that it has no answer (Devlin et al. 2019, sec. 4.2).

    Needs: a passage, a question about it, and the answers' places in the passage. Each window holds the whole question
    and a part of the passage; a linear layer scores every token as the answer's start and end, and the first token of
    the window as "no answer here". Answers are compared over all windows, so none is lost to the window's size.

    Metrics: f1, exact_match; and both for questions with and without an answer, where there are such.

    Long texts: windows over the passage that share `stride` tokens, each with the whole question.

    Attributes:
        no_answer: whether "no answer" is an answer; "auto" means so if a training question has none.
        normalization: how answers are compared: "squad" by words, "cmrc" by Chinese characters, "auto" by the passages.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens of the passage that neighbouring windows share (at most half of what fits beside the question).
        max_answer: the most tokens of an answer.
        n_best: how many answers are given probabilities.
        threshold: what is taken off the score of "no answer"; fitted on validation for the best F1 after training.
        temperature: divides the scores before probabilities are taken; fitted on validation after training.
    """

    no_answer: bool | Literal["auto"] = "auto"
    normalization: Normalization | Literal["auto"] = "auto"
    max_length: int = 0
    stride: int = 128
    max_answer: int = 30
    n_best: int = 20
    threshold: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(label_smoothing=0.0, max_length=self.max_length, stride=self.stride, temperature=self.temperature)
        for name, value in (("max_answer", self.max_answer), ("n_best", self.n_best)):
            if value < 1:
                raise RecipeError(f"{name} must be at least 1.", where=f"task.{name}")
        if self.threshold and self.no_answer is False:
            raise RecipeError(
                "threshold has no effect where every question has an answer.",
                where="task.threshold",
                to_do="Remove it, or set no_answer: true.",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """None: an answer is a place, not a class."""
        return ()

    @property
    def metric(self) -> str:
        """F1 over words (of Chinese: characters), the best over the right answers."""
        return "f1"

    @property
    def label_kind(self) -> str:
        """The form of the labels."""
        return "answers"

    @property
    def inputs(self) -> tuple[str, ...]:
        """A passage, and the question about it."""
        return ("text", "second")

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
        """No further kinds of token; question and passage are told apart as the backbone does it."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy that knows from the training examples whether answers may be missing, and their language."""
        without = [example for example in examples if not spans_of(example)]
        if self.no_answer is False and without:
            raise RecipeError(
                f"{len(without):,} training questions have no answer, but no_answer is false.",
                where=without[0].origin or without[0].id,
                to_do="Set task.no_answer: true, or leave these questions out.",
            )
        chosen = self.normalization
        if chosen == "auto":
            chosen = "cmrc" if is_chinese([example.text for example in examples]) else "squad"
        answerless = bool(without) if self.no_answer == "auto" else self.no_answer
        return replace(self, no_answer=answerless, normalization=chosen)

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a question and its passage into windows, with the first and last token of the answer in each as target.

        Tokens are parted at Chinese characters, so that an answer can begin at any. A question takes at most half of
        a window; what is cut off a longer one is counted, as is an answer that ends inside a token or is too long.
        """
        if not example.second.strip():
            raise DataError(
                "There is no question about the text.",
                where=example.origin or example.id,
                to_do="Give the question as the second text.",
            )
        question, passage = parted(encoder, example.second), parted(encoder, example.text)
        asked = question.ids[: encoder.room_for_pair // 2]
        room = encoder.room_for_pair - len(asked)
        cores = passage.offsets
        golds = [inked(example.text, (span.start, span.end)) for span in spans_of(example)] if example.label else []
        places = [covering(gold, cores) for gold in golds]
        first = len(encoder.before) + len(asked) + len(encoder.between)
        pieces, targets = [], []
        units: list[Range] = []
        for start, end in windows(len(passage.ids), room, min(self.stride, room // 2)):
            positions = [0, *range(first, first + end - start)]
            pieces.append(encoder.join(asked, passage.ids[start:end], positions))
            units += [(0, 0), *cores[start:end]]
            targets.append(target_of([place for place in places if place], start, end))
        is_lost = bool(golds) and not any(target[1] for target in targets)
        changed = ["cut_question"] * (len(asked) < len(question.ids)) + self._changes(golds, places, cores)
        return Encoded(
            tuple(pieces),
            np.array(targets, dtype=np.float64) if example.label is not None else None,
            tuple(units),
            question.unknown + passage.unknown,
            (ANSWER,) if is_lost else (),
            tuple(golds),
            tuple(changed),
            sum(len(piece.input_ids) for piece in pieces) - first - len(passage.ids) - len(encoder.after),
        )

    def _changes(self, golds: Sequence[Range], places: Sequence[Range | None], cores: Sequence[Range]) -> list[str]:
        """What is not as it should be with the answers, each kind once."""
        found = [(gold, place) for gold, place in zip(golds, places, strict=True) if place]
        widened = any((cores[place[0]][0], cores[place[1]][1]) != gold for gold, place in found)
        is_long = bool(found) and all(last - start >= self.max_answer for _, (start, last) in found)
        return ["widened_answer"] * widened + ["long_answer"] * is_long

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors; targets [P, 2] are the start and end unit of each window."""
        targets = None
        rows = [item.target for item in encoded if item.target is not None]
        if rows and len(rows) == len(encoded):
            targets = torch.from_numpy(np.concatenate(rows)).long()
        return collate_pieces(encoded, pad_id, targets, float(len(encoded)))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Dropout and one linear layer to two scores per token: start and end."""
        return TokenHead(shape.hidden_size, ("start", "end"), shape.dropout, crf=False)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy over a window's tokens: the mean of start and end, of an example's windows, of the examples.

        An example counts once, however many windows its passage takes.
        """
        assert batch.targets is not None, "a batch for training has targets"
        scores = logits.float().masked_fill(~batch.unit_mask[:, :, None], float("-inf")).log_softmax(1)
        losses = -scores.gather(1, batch.targets[:, None, :]).mean((1, 2))
        counts = batch.example_of.bincount(minlength=batch.size)
        return (losses / counts[batch.example_of]).sum() / batch.size

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over a window's tokens, of start and end; each example counts once."""
        padding = ~batch.unit_mask[:, :, None]
        ones, others = (found.float().masked_fill(padding, -1e4).transpose(1, 2) for found in (one, other))
        counts = batch.example_of.bincount(minlength=batch.size)
        return class_divergence(ones, others, (1 / counts[batch.example_of])[:, None].expand(-1, 2), one_way=one_way)

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Start and end scores [U, 2] of each example, its windows one after another."""
        rows = network(batch).float().cpu()
        parts: list[list[Tensor]] = [[] for _ in range(batch.size)]
        for row, count, example in zip(rows, batch.unit_mask.sum(1).tolist(), batch.example_of.tolist(), strict=True):
            parts[example].append(row[:count])
        return [torch.cat(part) for part in parts]

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The best answer over all windows, as a span of the passage, and the probabilities of the best ones."""
        return [
            self._answer(example, self._candidates(item, scores))
            for example, item, scores in zip(examples, encoded, outputs, strict=True)
        ]

    def _candidates(self, encoded: Encoded, scores: Tensor) -> Candidates:
        lengths = [len(piece.unit_positions) for piece in encoded.pieces]
        return find_candidates(scores, lengths, encoded.units, most=self.n_best, longest=self.max_answer)

    def _answer(self, example: Example, candidates: Candidates) -> Prediction:
        places: dict[str, Range] = {}
        scores: list[float] = []
        for (start, end), score in candidates.spans:
            if example.text[start:end] not in places:
                places[example.text[start:end]] = start, end
                scores.append(score)
        texts = list(places)
        if self.no_answer:
            texts.append("")
            scores.append(candidates.nothing - self.threshold)
        if not texts:
            return Prediction(example.id, (), math.nan)
        chances = (torch.tensor(scores, dtype=torch.float64) / self.temperature).softmax(0).tolist()
        ranked = dict(sorted(zip(texts, chances, strict=True), key=lambda one: -one[1]))
        best, sure = next(iter(ranked.items()))
        if not best:
            return Prediction(example.id, (), sure, ranked)
        return Prediction(example.id, (Span(*places[best], ANSWER),), sure, ranked, (sure,))

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """F1 and exact match, and both kinds of question apart where some have no answer."""
        return measure_questions(examples, predictions, self._normalization)

    @property
    def _normalization(self) -> Normalization:
        assert self.normalization != "auto", "a prepared task knows its language"
        return self.normalization

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """There are no classes."""
        return ()

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """There are no classes to confuse."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer matches a right one exactly, after normalisation."""
        return exact_match(gold_texts(example), answer_text(example, prediction), self._normalization)

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose threshold gives the best F1 on validation, and whose temperature fits its answers.

        Both go by the characters' places, not by normalised texts: the texts are not at hand.
        """
        pairs = [(item, self._candidates(item, row)) for item, row in zip(encoded, logits, strict=True)]
        known = [(item.golds, found) for item, found in pairs if item.target is not None and found.spans]
        if not known:
            return self
        threshold = self._fitted_threshold(known) if self.no_answer else 0.0
        rows, right = [], []
        for golds, found in known:
            nothing = [((0, 0), found.nothing - threshold)] if self.no_answer else []
            ranked = sorted([*found.spans, *nothing], key=lambda one: -one[1])
            rows.append([score for _, score in ranked])
            right.append(ranked[0][0] in (golds or [(0, 0)]))
        return replace(self, threshold=threshold, temperature=fit_confidence(rows, right))

    def _fitted_threshold(self, known: Sequence[tuple[Sequence[Range], Candidates]]) -> float:
        declined = np.array([float(not golds) for golds, _ in known])
        if declined.all() or not declined.any():
            return self.threshold
        gaps = np.array([found.nothing - found.spans[0][1] for _, found in known])
        answered = [max((overlap(gold, found.spans[0][0]) for gold in golds), default=0.0) for golds, found in known]
        return best_threshold(gaps, np.array(answered), declined)


@lru_cache(maxsize=64)
def parted(encoder: TextEncoder, text: str) -> Tokens:
    """A text's tokens, parted at words and Chinese characters, without the blanks that some tokenizers count to them.

    They are kept for a while, as many questions share a passage.
    """
    tokens = split_across(encoder.tokens(text), text, word_ranges(text), encoder.tokenizer)
    return replace(tokens, offsets=[inked(text, place) for place in tokens.offsets])
