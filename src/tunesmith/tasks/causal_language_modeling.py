"""Each token foretold from those before it: a decoder is trained further on raw text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.errors import RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.perplexity import measure_bits, measure_foretold
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder, plain_piece, windows
from tunesmith.tasks.heads import BodyShape, NoHead
from tunesmith.tasks.joining import check_window, joined, joined_findings, tokens_per_character
from tunesmith.tasks.likelihood import foretold, next_tokens, token_scores
from tunesmith.tasks.losses import class_loss, target_divergence


@dataclass(frozen=True)
class CausalLanguageModeling:
    """Continue a decoder's pre-training on raw text: each token is foretold from those before it.

    Each token is scored once; the first of a text is not, unless the tokenizer puts a start token before it.

    Needs: texts without labels.

    Metrics: perplexity, token_loss, token_accuracy, bits_per_character.

    Long texts: read in windows that overlap by `stride`; nothing is cut.

    Attributes:
        join: put neighbouring training texts (of a group) together into windows of `max_length`.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that a long text's next window reads again, so that its first tokens have something before them.
        separator: what stands between joined texts; the tokenizer's end token.
        tokens_per_character: how long joined texts may be, learnt from the training texts.
    """

    join: bool = False
    max_length: int = 0
    stride: int = 64
    separator: str = ""
    tokens_per_character: float = 0.0

    def __post_init__(self) -> None:
        check_window(self.max_length, join=self.join)
        if self.stride < 1:
            raise RecipeError(
                "stride must be at least 1: a window's first token has nothing before it.", where="task.stride"
            )

    @property
    def metric(self) -> str:
        """Perplexity."""
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
        """A decoder with its output layer over the vocabulary."""
        return "causal_lm"

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
        """Return a copy that knows what parts joined texts, and how long these may be."""
        if not self.join:
            return self
        return replace(
            self,
            separator=str(tokenizer.eos_token or "\n"),
            tokens_per_character=tokens_per_character(examples, tokenizer),
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
        """Turn a text into windows; the units are the places after which a token is foretold, each token's once."""
        tokens = encoder.tokens(example.text)
        pieces = []
        scored = 0 if encoder.before else 1
        for start, end in windows(len(tokens.ids), encoder.room, min(self.stride, encoder.room // 2)):
            ahead = len(encoder.before) - start - 1
            pieces.append(plain_piece(encoder.wrap(tokens.ids[start:end]), [n + ahead for n in range(scored, end)]))
            scored = max(scored, end)
        return Encoded(tuple(pieces), None, unknown=tokens.unknown)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded texts into tensors; the targets [P, U] are the tokens that follow the units."""
        batch = collate_pieces(encoded, pad_id, None, 0.0)
        return replace(batch, targets=next_tokens(batch), units=float(batch.unit_mask.sum()))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The body has its own output layer."""
        return NoHead()

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy of the tokens."""
        assert batch.targets is not None, "the tokens that follow are known"
        return class_loss(logits, batch.targets)

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over the vocabulary, at each token."""
        return target_divergence(one, other, batch.targets, one_way=one_way)

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """The tokens' log-probabilities, and whether each was the likeliest [n, 2]."""
        assert batch.targets is not None, "the tokens that follow are known"
        return token_scores(network, batch, batch.targets)

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """How likely each text was."""
        return foretold(examples, outputs)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """Perplexity, loss and accuracy of the tokens, and bits per character."""
        return [*measure_foretold(predictions), measure_bits(examples, predictions)]

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """There are no classes."""
        return ()

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """There are no classes to confuse."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether every token was the likeliest at its place."""
        return prediction.right_tokens == prediction.label_tokens

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Probabilities are taken as they are."""
        return self
