"""Hidden words filled in: an encoder is trained further on raw text, before it learns a task."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.errors import ModelError, RecipeError, import_extra
from tunesmith.scoring import Measure
from tunesmith.scoring.entities import word_ranges
from tunesmith.scoring.perplexity import measure_foretold
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.collation import collate_pieces, pad
from tunesmith.tasks.encoding import IGNORED, Batch, BodyKind, Encoded, Network, TextEncoder, plain_piece, windows
from tunesmith.tasks.heads import BodyShape, NoHead
from tunesmith.tasks.joining import check_window, joined, joined_findings, tokens_per_character
from tunesmith.tasks.likelihood import foretold, token_scores
from tunesmith.tasks.losses import class_divergence, class_loss
from tunesmith.tasks.masking import UNTOUCHED, Masking, word_numbers

_FIXED = 20_190_524
"""The salt of the masks that evaluation uses, whatever seed is in force."""


@dataclass(frozen=True)
class MaskedLanguageModeling:
    """Continue an encoder's pre-training on raw text: hidden words are to be filled in (Devlin et al. 2019, sec. 3.1).

    Each training step draws its own masks from the step's seed; evaluation hides the same words of a text each time.

    Needs: texts without labels.

    Metrics: perplexity, token_loss and token_accuracy of the hidden tokens.

    Long texts: read in windows side by side; nothing is cut.

    Attributes:
        mask_share: how much of a window's tokens is chosen, by whole words (Cui et al. 2021, sec. 3.1).
        chinese_words: hide whole Chinese words as jieba parts them (extra "chinese"); else single characters.
        join: put neighbouring training texts (of a group) together into windows of `max_length`.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        mask_id, vocabulary, special_ids: of the tokenizer: the mask, the number of tokens, those that are no words.
        separator: what stands between joined texts; the tokenizer's own.
        tokens_per_character: how long joined texts may be, learnt from the training texts.
    """

    mask_share: float = 0.15
    chinese_words: bool = False
    join: bool = False
    max_length: int = 0
    mask_id: int = -1
    vocabulary: int = 0
    special_ids: tuple[int, ...] = ()
    separator: str = ""
    tokens_per_character: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.mask_share < 1:
            raise RecipeError("mask_share must lie between 0 and 1.", where="task.mask_share", to_do="Usual is 0.15.")
        check_window(self.max_length, join=self.join)

    @property
    def metric(self) -> str:
        """Perplexity of the hidden tokens."""
        return "perplexity"

    @property
    def label_kind(self) -> str:
        """Texts without labels."""
        return ""

    @property
    def labels(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """One text."""
        return ("text",)

    @property
    def body(self) -> BodyKind:
        """An encoder with its output layer over the vocabulary."""
        return "masked_lm"

    @property
    def reads_labels(self) -> bool:
        """There are no labels to read."""
        return False

    @property
    def token_types(self) -> int:
        """No kinds of token are told apart."""
        return 0

    @property
    def temperature(self) -> float:
        """Probabilities are taken as they are."""
        return 1.0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy that knows the tokenizer's special tokens, and how long joined texts may be.

        Raises:
            ModelError: the tokenizer has no mask.
            MissingExtraError: `chinese_words` without jieba.
        """
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "The model's tokenizer has no mask token.",
                where="model.name",
                to_do="Choose an encoder such as BERT, or task: causal_language_modeling for a decoder.",
            )
        if self.chinese_words:
            import_extra("jieba", "chinese").setLogLevel(logging.WARNING)
        return replace(
            self,
            mask_id=int(tokenizer.mask_token_id),
            vocabulary=len(tokenizer),
            special_ids=tuple(sorted(set(tokenizer.all_special_ids))),
            separator=f" {tokenizer.sep_token} " if tokenizer.sep_token else "\n",
            tokens_per_character=tokens_per_character(examples, tokenizer) if self.join else 0.0,
        )

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training texts as they are, or joined into windows."""
        if not self.join:
            return examples
        return joined(examples, self.separator, self.max_length / max(self.tokens_per_character, 1e-6))

    def announcements(self, examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
        """Into how many windows the texts were joined."""
        return joined_findings(examples, learning)

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into windows; the target is the number of each token's word, over all windows."""
        tokens = encoder.tokens(example.text)
        numbers = word_numbers(tokens.offsets, self._words(example))
        numbers = [UNTOUCHED if token in self.special_ids else n for token, n in zip(tokens.ids, numbers, strict=True)]
        pieces, words = [], []
        for start, end in windows(len(tokens.ids), encoder.room, 0):
            pieces.append(plain_piece(encoder.wrap(tokens.ids[start:end])))
            words += [UNTOUCHED] * len(encoder.before) + numbers[start:end] + [UNTOUCHED] * len(encoder.after)
        return Encoded(tuple(pieces), np.array(words, dtype=np.float64), unknown=tokens.unknown)

    def _words(self, example: Example) -> Sequence[tuple[int, int]]:
        if example.words is not None:
            return example.words
        if self.chinese_words:
            parted = import_extra("jieba", "chinese").tokenize(example.text)
            return [(start, end) for word, start, end in parted if word.strip()]
        return word_ranges(example.text)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded texts into tensors, with masks drawn from the seed that is in force.

        The targets [P, 2, T] are the tokens that stand there, and the numbers of their words.
        """
        pieces = [piece for item in encoded for piece in item.pieces]
        borders = np.cumsum([len(piece.input_ids) for piece in pieces])[:-1]
        numbers = np.concatenate([item.target for item in encoded if item.target is not None]).astype(np.int64)
        told = [pad([piece.input_ids for piece in pieces], pad_id), pad(np.split(numbers, borders), UNTOUCHED)]
        batch = collate_pieces(encoded, pad_id, torch.stack(told, dim=1), 0.0)
        return self._hidden(batch, torch.initial_seed())

    def _hidden(self, batch: Batch, salt: int) -> Batch:
        """The batch with words hidden, and the hidden tokens as its units."""
        assert batch.targets is not None, "the words are numbered"
        masking = Masking(self.mask_share, self.mask_id, self.vocabulary, self.special_ids)
        told, shown = batch.targets.cpu().numpy(), batch.targets[:, 0].cpu().numpy().copy()
        rows = []
        for row, length in enumerate(batch.attention_mask.sum(1).tolist()):
            shown[row, :length], places = masking.hide(told[row, 0, :length], told[row, 1, :length], salt)
            rows.append(places)
        device = batch.input_ids.device
        return replace(
            batch,
            input_ids=torch.from_numpy(shown).to(device),
            unit_positions=pad(rows, 0).to(device),
            unit_mask=pad([np.ones_like(places) for places in rows], 0).bool().to(device),
            units=float(sum(map(len, rows))),
        )

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The body has its own output layer."""
        return NoHead()

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy of the hidden tokens."""
        return class_loss(logits, _wanted(batch))

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over the vocabulary, at the hidden tokens."""
        return class_divergence(one, other, batch.unit_mask, one_way=one_way)

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Hidden tokens' log-probabilities and whether they were the likeliest [n, 2], by masks that stay the same."""
        fixed = self._hidden(batch, _FIXED)
        return token_scores(network, fixed, _wanted(fixed))

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """How likely each text's hidden tokens were."""
        return foretold(examples, outputs)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """Perplexity, loss and accuracy of the hidden tokens."""
        return measure_foretold(predictions)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """There are no classes."""
        return ()

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """There are no classes to confuse."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether every hidden token was filled in rightly."""
        return prediction.right_tokens == prediction.label_tokens

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Probabilities are taken as they are."""
        return self


def _wanted(batch: Batch) -> Tensor:
    """The token at each of the batch's unit positions [P, U]."""
    assert batch.targets is not None, "the tokens that stand there are known"
    return batch.targets[:, 0].gather(1, batch.unit_positions).masked_fill(~batch.unit_mask, IGNORED)
