"""A text written from another: translations and summaries, by an encoder-decoder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import LabelError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.perplexity import measure_perplexity
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.scoring.written import bleu_tokenizer, measure_written
from tunesmith.tasks.collation import collate_pieces, pad
from tunesmith.tasks.encoding import IGNORED, Batch, BodyKind, Encoded, Generation, Network, TextEncoder, plain_piece
from tunesmith.tasks.heads import BodyShape, NoHead
from tunesmith.tasks.languages import around, check_language, codes_of
from tunesmith.tasks.losses import class_loss, target_divergence
from tunesmith.tasks.ranges import check_numbers
from tunesmith.tasks.writing import Written, as_targets, log_likelihoods, text_of, written

_WRITING = ("max_new_tokens", "beams", "length_penalty", "repetition_penalty", "no_repeat_ngram", "bleu_tokenizer")


@dataclass(frozen=True)
class SequenceToSequence:
    """Write a text from another: translate or summarise.

    A text longer than max_length, and a given one longer than max_target_length, is cut at its end; both are counted.

    Needs: an encoder-decoder (T5, mT5, BART, mBART, NLLB, or model.name: scratch); pairs of texts.

    Metrics: bleu, chrf, rouge_1, rouge_2, rouge_l, exact_match and perplexity.

    Long texts: cut at their end, and counted.

    Attributes:
        metric: the metric by which models are judged.
        choose_by: what chooses a checkpoint while training: the perplexity of the given texts, or `metric` of texts
            that are written at each validation, which takes much longer.
        writes: whether evaluation writes texts, and does not only say how likely the given ones are.
        source_prefix: what goes before every text, such as "summarize: " for T5.
        source_language, target_language: language codes of the model, such as en_XX (mBART) or eng_Latn (NLLB).
        max_length: tokens of a text, special tokens included; 0 means the model's own limit.
        max_target_length: tokens of a given text; 0 means as many as of a text that is read.
        label_smoothing: share of the target given to all tokens alike, in [0, 1).
        max_new_tokens: the most tokens that are written.
        beams: hypotheses that are kept side by side; 1 takes the likeliest token each time.
        length_penalty: above 0 prefers long texts, below 0 short ones (with beams).
        repetition_penalty: divides the scores of tokens that stand already; 1 is off.
        no_repeat_ngram: no sequence of so many tokens is written twice; 0 is off.
        bleu_tokenizer: how BLEU takes texts apart; "auto" goes by the given texts of the training split.
        language_token: the id of the target language's code, found in the tokenizer; -1 for none.
        ending: the ids that stand after every written text, found in the tokenizer.
    """

    metric: Literal["bleu", "chrf", "rouge_1", "rouge_2", "rouge_l", "exact_match", "perplexity"] = "bleu"
    choose_by: Literal["perplexity", "metric"] = "perplexity"
    writes: bool = True
    source_prefix: str = ""
    source_language: str = ""
    target_language: str = ""
    max_length: int = 0
    max_target_length: int = 0
    label_smoothing: float = 0.0
    max_new_tokens: int = 128
    beams: int = 4
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    bleu_tokenizer: Literal["auto", "13a", "zh", "char"] = "auto"
    language_token: int = -1
    ending: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(label_smoothing=self.label_smoothing, max_length=self.max_length, stride=0, temperature=1)
        least = {"max_new_tokens": 1, "beams": 1, "no_repeat_ngram": 0, "max_target_length": 0}
        for name, lowest in least.items():
            if self.__dict__[name] < lowest:
                raise RecipeError(f"{name} must be at least {lowest}.", where=f"task.{name}")
        if 0 < self.max_target_length < 2:
            raise RecipeError("max_target_length 1 leaves no room for text.", where="task.max_target_length")
        if self.repetition_penalty <= 0:
            raise RecipeError("repetition_penalty must be positive.", where="task.repetition_penalty")
        usual = type(self).__dataclass_fields__
        idle = [name for name in _WRITING if not self.writes and self.__dict__[name] != usual[name].default]
        if self.beams == 1 and self.length_penalty != 1:
            idle.append("length_penalty")
        if idle:
            without = "beams: 1" if self.writes else "writes: false"
            raise RecipeError(
                f"{idle[0]} has no effect with {without}.", where=f"task.{idle[0]}", to_do="Remove one of the two."
            )
        if not self.writes and (self.metric != "perplexity" or self.choose_by == "metric"):
            raise RecipeError(
                "Without written texts there is no metric but perplexity.",
                where="task.writes",
                to_do="Set metric: perplexity and choose_by: perplexity, or let it write.",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Texts are free."""
        return ()

    @property
    def label_kind(self) -> str:
        """A written text."""
        return "text"

    @property
    def inputs(self) -> tuple[str, ...]:
        """One text."""
        return ("text",)

    @property
    def body(self) -> BodyKind:
        """A body that reads one text and writes another."""
        return "seq2seq"

    @property
    def reads_labels(self) -> bool:
        """An answer also says how likely the given text is."""
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
        """Return a copy that knows how its texts end, in which language, and how BLEU takes them apart.

        Raises:
            RecipeError: the model does not know a language, or needs to be told one.
        """
        for name in ("source_language", "target_language"):
            if self.__dict__[name]:
                check_language(tokenizer, self.__dict__[name], f"task.{name}")
            elif codes_of(tokenizer):
                raise RecipeError(
                    f"The model writes many languages, and {name} does not say which.",
                    where=f"task.{name}",
                    to_do=f"Set it to one of the model's codes, such as {next(iter(sorted(codes_of(tokenizer))))}.",
                )
        _, ending = around(TextEncoder.of(tokenizer, 1), self.target_language)
        known = replace(self, ending=ending, language_token=codes_of(tokenizer).get(self.target_language, -1))
        if not self.writes or self.bleu_tokenizer != "auto" or not len(examples):
            return known
        return replace(known, bleu_tokenizer=bleu_tokenizer(str(example.label) for example in examples))

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """Without writing, which takes longer than all else, unless the recipe asks for it."""
        if self.choose_by == "metric":
            return self
        usual: Mapping[str, Any] = {name: type(self).__dataclass_fields__[name].default for name in _WRITING}
        return replace(self, **usual, metric="perplexity", writes=False)

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """The text as one piece, and the given text's tokens as its target; what is too long is cut."""
        changed = []
        source = encoder.tokens(self.source_prefix + example.text)
        before, after = around(encoder, self.source_language)
        room = max(0, encoder.max_length - len(before) - len(after))
        if len(source.ids) > room:
            changed.append("cut_source")
        piece = plain_piece([*before, *source.ids[:room], *after])
        if example.label is None:
            return Encoded((piece,), None, unknown=source.unknown, changed=tuple(changed))
        if not isinstance(example.label, str):
            raise LabelError(f"The label {example.label!r} is not a text.", where=example.origin or example.id)
        if self.max_target_length > encoder.max_length:
            raise RecipeError(
                f"max_target_length is {self.max_target_length}, more than the {encoder.max_length} tokens of a text.",
                where="task.max_target_length",
                to_do="Lower it, or raise task.max_length.",
            )
        given = encoder.tokens(example.label)
        before, after = around(encoder, self.target_language)
        room = max(0, (self.max_target_length or encoder.max_length) - len(before) - len(after))
        if len(given.ids) > room:
            changed.append("cut_target")
        target = np.array([*before, *given.ids[:room], *after], dtype=np.float64)
        unknown = source.unknown + given.unknown
        return Encoded((piece,), target, unknown=unknown, changed=tuple(changed), written=len(target))

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join texts into tensors; the targets are the given texts' tokens."""
        rows = [item.target for item in encoded if item.target is not None]
        if not rows or len(rows) < len(encoded):
            return collate_pieces(encoded, pad_id, None, float(len(encoded)))
        return collate_pieces(
            encoded, pad_id, pad([row.astype(np.int64) for row in rows], IGNORED), float(sum(map(len, rows)))
        )

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The body's own output layer."""
        return NoHead()

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy over the tokens of the given texts."""
        assert batch.targets is not None, "a batch for training has targets"
        return class_loss(logits, batch.targets, smoothing=self.label_smoothing)

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over the vocabulary, at the tokens of the given texts."""
        return target_divergence(one, other, batch.targets, one_way=one_way)

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """For each example one row of numbers; see `Written`."""
        given, likely = [0] * batch.size, [math.nan] * batch.size
        if batch.targets is not None:
            given = (batch.targets >= 0).sum(1).tolist()
            likely = log_likelihoods(network, batch, batch.targets)
        texts: list[list[int]] = [[]] * batch.size
        sure = [math.nan] * batch.size
        if self.writes:
            texts = written(network, batch, self._how)
            sure = log_likelihoods(network, batch, as_targets([[*text, *self.ending] for text in texts]))
        found = zip(given, likely, texts, sure, strict=True)
        return [Written(count, one, tuple(text), other).packed() for count, one, text, other in found]

    @property
    def _how(self) -> Generation:
        # The first mBART begins after the language's code, which ends every text; the later ones begin with it.
        is_last = self.language_token in self.ending
        return Generation(
            self.max_new_tokens,
            self.beams,
            self.length_penalty,
            self.repetition_penalty,
            self.no_repeat_ngram,
            forced_first=-1 if is_last else self.language_token,
            start=self.language_token if is_last else -1,
        )

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn tokens into texts; the confidence is the geometric mean of their probabilities."""
        found = []
        for example, row in zip(examples, outputs, strict=True):
            one = Written.of(row)
            text = text_of(encoder.tokenizer, one.tokens)
            sure = math.exp(one.sure / (len(one.tokens) + len(self.ending))) if self.writes else math.nan
            found.append(Prediction(example.id, text, sure, log_likelihood=one.likely, label_tokens=one.given))
        return found

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """How like the given texts the written ones are, and how likely the given ones."""
        likely = measure_perplexity(predictions)
        if not self.writes:
            return [likely]
        return [*measure_written(examples, predictions, self.bleu_tokenizer), likely]

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """There are no classes."""
        return ()

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """There are no classes."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the text is the given one; anything is where nothing is written."""
        return not self.writes or str(prediction.label).split() == str(example.label).split()

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Probabilities are the model's own."""
        return self
