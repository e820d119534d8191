"""Answers to instructions and in dialogues, written by a causal language model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction, Turn
from tunesmith.errors import LabelError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.perplexity import measure_perplexity, measure_preferences
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.scoring.written import measure_written
from tunesmith.tasks.answers import Answer, answered, question_of
from tunesmith.tasks.chat import Chat, end_token, fitting
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import (
    Batch,
    BodyKind,
    Encoded,
    Generation,
    Heard,
    Network,
    Piece,
    TextEncoder,
    plain_piece,
)
from tunesmith.tasks.heads import BodyShape, NoHead
from tunesmith.tasks.likelihood import as_batch, log_likelihoods, next_tokens, parts_of, scored
from tunesmith.tasks.losses import class_loss, target_divergence
from tunesmith.tasks.packing import collate_packed, pieces_of, sums_by_piece
from tunesmith.tasks.ranges import check_numbers

WRITTEN_AT_ONCE = 16384
"""Tokens, read and to be written, of the answers that are written side by side."""

_WRITING = ("max_new_tokens", "beams", "sampling_temperature", "top_p", "repetition_penalty", "no_repeat_ngram")


@dataclass(frozen=True)
class TextGeneration:
    """Answer the last message of a dialogue or an instruction; what is learnt is the assistant's words alone.

    A dialogue too long for the window loses its oldest messages, then the start of its last one; what of an answer does
    not fit is cut at its end. All of it is counted.

    Needs: a causal language model; instructions, dialogues or preferences in one of the usual forms.

    Metrics: perplexity; preference_accuracy and margin for preferences; bleu, chrf, ROUGE, exact_match for `answers`.

    Long texts: the oldest messages are left out, then the start of the last one and an answer's end are cut; all of it
    is counted.

    Attributes:
        template: how messages become text; "auto" is the tokenizer's own chat template, or "plain" (the form of
            Alpaca) where it has none.
        learn: learn from all answers of a dialogue, or from its last one.
        preference: each example has a better and a worse answer, the last ones; for objective: dpo.
        max_length: tokens of a dialogue; 0 means the model's own limit.
        packing: put several dialogues into one row, as long as max_length or the longest of them; none sees another.
        answers: whether evaluation writes answers, and does not only say how likely the given ones are.
        max_new_tokens: the most tokens of an answer.
        beams: hypotheses that are kept side by side; 1 takes the likeliest token each time.
        sampling_temperature: draw tokens from the distribution divided by this; 0 draws nothing.
        top_p: draw from the likeliest tokens up to this probability.
        repetition_penalty: divides the scores of tokens that stand already; 1 is off.
        no_repeat_ngram: no sequence of so many tokens is written twice; 0 is off.
        end: the token that ends an answer, found in the template.
    """

    template: Literal["auto", "plain"] = "auto"
    learn: Literal["all", "last"] = "all"
    preference: bool = False
    max_length: int = 0
    packing: bool = False
    answers: bool = True
    max_new_tokens: int = 128
    beams: int = 1
    sampling_temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    end: int = -1

    def __post_init__(self) -> None:
        check_numbers(label_smoothing=0, max_length=self.max_length, stride=0, temperature=1)
        for name in ("max_new_tokens", "beams"):
            if self.__dict__[name] < 1:
                raise RecipeError(f"{name} must be at least 1.", where=f"task.{name}")
        if self.sampling_temperature < 0 or self.repetition_penalty <= 0 or self.no_repeat_ngram < 0:
            raise RecipeError(
                "sampling_temperature and no_repeat_ngram must not be negative, repetition_penalty must be positive.",
                where="task",
            )
        if not 0 < self.top_p <= 1:
            raise RecipeError("top_p must lie above 0 and at most 1.", where="task.top_p")
        usual = type(self).__dataclass_fields__
        idle = [name for name in _WRITING if not self.answers and self.__dict__[name] != usual[name].default]
        idle += ["top_p"] if self.top_p < 1 and not self.sampling_temperature else []
        if idle:
            without = "sampling_temperature: 0" if self.answers else "answers: false"
            raise RecipeError(
                f"{idle[0]} has no effect with {without}.", where=f"task.{idle[0]}", to_do="Remove one of the two."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Answers are free text."""
        return ()

    @property
    def metric(self) -> str:
        """The perplexity of the given answers; of preferences, how often the better one is found likelier."""
        return "preference_accuracy" if self.preference else "perplexity"

    @property
    def label_kind(self) -> str:
        """A written answer."""
        return "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Messages."""
        return ("turns",)

    @property
    def body(self) -> BodyKind:
        """A body that goes on with a text."""
        return "causal_lm"

    @property
    def reads_labels(self) -> bool:
        """An answer also says how likely the given one is."""
        return True

    @property
    def temperature(self) -> float:
        """Probabilities are the model's own."""
        return 1.0

    @property
    def token_types(self) -> int:
        """No kinds of token are told apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy that knows which template there is, and its end token."""
        plain = self.template == "plain" or tokenizer.chat_template is None
        return replace(self, template="plain" if plain else "auto", end=end_token(tokenizer, plain=plain))

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """Without writing answers, which takes longer than all else."""
        usual: Mapping[str, Any] = {name: type(self).__dataclass_fields__[name].default for name in _WRITING}
        return replace(self, **usual, answers=False)

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """A dialogue with its answer (or its two answers) as pieces; without one, the text that is to be answered."""
        chat = Chat(encoder, self.template == "plain", self.end)
        turns = example.turns or (Turn("user", example.text),)
        if example.label is None:
            return self._question(chat, turns)
        if not isinstance(example.label, str):
            raise LabelError(f"The answer {example.label!r} is not a text.", where=example.origin or example.id)
        if self.preference and not example.rejected:
            raise LabelError(
                "The example has no rejected answer.",
                where=example.origin or example.id,
                to_do="Give chosen and rejected answers, or remove task.preference.",
            )
        given = [example.label, example.rejected] if self.preference else [example.label]
        every = self.learn == "all" and not self.preference
        made = [chat.dialogue([*turns, Turn("assistant", text)], every=every) for text in given]
        dropped = 0
        if max(one.length for one in made) > encoder.max_length:
            turns, dropped = fitting(chat, turns, given, self.max_new_tokens)
            made = [chat.dialogue([*turns, Turn("assistant", text)], every=every) for text in given]
        pieces = []
        for part, one in enumerate(made):
            ids = one.ids[: min(one.length, encoder.max_length)]
            pieces.append(plain_piece(ids, [place for place in one.places if place + 1 < len(ids)], part))
        cut = sum(len(one.places) for one in made) - sum(len(piece.unit_positions) for piece in pieces)
        target = np.concatenate([piece.input_ids[piece.unit_positions + 1] for piece in pieces]).astype(np.float64)
        unknown = sum(one.unknown for one in made)
        return Encoded(tuple(pieces), target, unknown=unknown, dropped=dropped, cut=cut)

    def _question(self, chat: Chat, turns: Sequence[Turn]) -> Encoded:
        kept, dropped = fitting(chat, turns, (), self.max_new_tokens)
        made = chat.prompt(kept)
        return Encoded((plain_piece(made.ids),), None, unknown=made.unknown, dropped=dropped)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join dialogues into tensors; the targets are the tokens that follow each place."""
        count = sum(len(piece.unit_positions) for item in encoded for piece in item.pieces)
        units = float(len(encoded) if self.preference else count)
        if self.packing:
            batch = collate_packed(encoded, pad_id, self.max_length, units)
        else:
            batch = collate_pieces(encoded, pad_id, None, units)
        return replace(batch, targets=next_tokens(batch)) if count else batch

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The body's own output layer."""
        return NoHead(pairs=self.preference)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy of the answers' tokens; of preferences, the mean over examples of the better one's."""
        assert batch.targets is not None, "a batch for training has targets"
        if not self.preference:
            return class_loss(logits, batch.targets)
        counts = sums_by_piece(batch.unit_mask.float(), batch)
        means = log_likelihoods(logits, batch) / counts.clamp(min=1)
        return -means.view(batch.size, 2)[:, 0].mean()

    @property
    def incomparable(self) -> str:
        """Preferences are learnt from by DPO."""
        return "preferences compare two answers (preference: true)" if self.preference else ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over the vocabulary, at the answers' tokens."""
        return target_divergence(one, other, batch.targets, one_way=one_way)

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """For each example one row of numbers; see `Answer`."""
        own: list[list[Piece]] = [[] for _ in range(batch.size)]
        for number, piece in zip(batch.example_of.tolist(), pieces_of(batch), strict=True):
            own[number].append(piece)
        flat = [piece for pieces in own for piece in pieces]
        likely = iter(scored(network, flat))
        judged = [[(len(piece.unit_positions), next(likely)) for piece in pieces] for pieces in own]
        written: Sequence[Sequence[int]] = [()] * batch.size
        sure = [0.0] * batch.size
        if self.answers:
            questions = [question_of(pieces[0]) for pieces in own]
            written = self._written(network, questions)
            sure = scored(network, [answered(*pair) for pair in zip(questions, written, strict=True)])
        return [
            Answer(tuple(numbers), text, total).packed()
            for numbers, text, total in zip(judged, written, sure, strict=True)
        ]

    def apart(self, one: Tensor, other: Tensor) -> float:
        """How far the log-likelihoods per token of two outputs are apart; see `Writing`."""
        return Answer.of(one).apart(Answer.of(other))

    def write(self, network: Network, encoded: Sequence[Encoded], heard: Heard) -> list[list[int]]:
        """The tokens of the answers, one text after another; each is told as soon as it is there (of one beam)."""
        pieces = [question_of(item.pieces[0]) for item in encoded]
        return [
            network.generate(as_batch([piece]).to(network.device), self._how, heard)[0].tolist() for piece in pieces
        ]

    @property
    def _how(self) -> Generation:
        return Generation(
            self.max_new_tokens,
            self.beams,
            repetition_penalty=self.repetition_penalty,
            no_repeat_ngram=self.no_repeat_ngram,
            temperature=self.sampling_temperature,
            top_p=self.top_p,
            end=self.end,
        )

    def _written(self, network: Network, questions: Sequence[Piece]) -> list[list[int]]:
        sizes = [(len(piece.input_ids) + self.max_new_tokens) * self.beams for piece in questions]
        parts = parts_of(questions, sizes, WRITTEN_AT_ONCE)
        return [
            ids.tolist() for part in parts for ids in network.generate(as_batch(part).to(network.device), self._how)
        ]

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn tokens into text; the confidence is the geometric mean of their probabilities."""
        return [
            self._prediction(example.id, encoder.tokenizer, Answer.of(row))
            for example, row in zip(examples, outputs, strict=True)
        ]

    def _prediction(self, name: str, tokenizer: PreTrainedTokenizerBase, answer: Answer) -> Prediction:
        text = str(tokenizer.decode(list(answer.written), skip_special_tokens=True)).strip() if answer.written else ""
        sure = math.exp(answer.sure / len(answer.written)) if answer.written else math.nan
        (tokens, likely), *others = answer.judged
        worse = others[0][1] if others else math.nan
        return Prediction(
            name,
            text,
            sure,
            log_likelihood=likely if tokens else math.nan,
            label_tokens=tokens,
            rejected_log_likelihood=worse,
        )

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The perplexity of the given answers, the preferences, and how like the given answers the written ones are."""
        found: list[Measure] = [measure_perplexity(predictions)]
        if self.preference:
            found += measure_preferences(predictions)
        return [*found, *measure_written(examples, predictions)] if self.answers else found

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """There are no classes."""
        return ()

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """There are no classes."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer is the given one; of preferences, whether the better one is likelier."""
        if self.preference:
            return prediction.log_likelihood > prediction.rejected_log_likelihood
        return not self.answers or prediction.label == str(example.label).strip()

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Probabilities are the model's own."""
        return self
