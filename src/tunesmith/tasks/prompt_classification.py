"""One class per text, asked of a language model: which label's word does it expect in the template?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import LabelError, ModelError, RecipeError, nearest
from tunesmith.scoring import Measure
from tunesmith.scoring.calibration import fit_temperature
from tunesmith.scoring.classification import class_table, confusion_of, measure_classes
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import likeliest
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.demonstrations import Demonstration, Selection, Showing
from tunesmith.tasks.encoding import IGNORED, Batch, Encoded, Network, Piece, TextEncoder, Tokens, plain_piece
from tunesmith.tasks.gold import labels_of
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.label_words import LabelWordHead, LabelWords, check_words, complete, words_of
from tunesmith.tasks.losses import class_divergence, class_loss
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.prompts import Filled, Template, answer_places, shortened, text_tokens
from tunesmith.tasks.ranges import HELD, check_labels, check_numbers

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts that say nothing, by which a model's preference for a label shows (Zhao et al. 2021, sec. 5)."""


@dataclass(frozen=True)
class PromptClassification:
    """Ask a language model for the class: a template holds the text, and the likeliest label word is the answer.

    With method: none this is zero-shot classification, or with demonstrations learning in context (Brown et al. 2020);
    with any other method the model is fine-tuned on the prompts (LM-BFF, Gao et al. 2021).

    Needs: a decoder, or an encoder with its output layer over the vocabulary; labels that are strings.

    Metrics: accuracy, macro_f1, micro_f1, weighted_f1, balanced_accuracy, mcc, roc_auc, ece.

    Long texts: cut at their end, and counted; template, label words and demonstrations stay whole.

    Attributes:
        template: one text with {text}, {label} and, for pairs, {second}.
        label_words: label -> its word, or several; empty means the labels' own names.
        body: a decoder, which is asked what comes next ({label} stands last; what follows is shown in demonstrations
            only), or an encoder, which fills {label} in.
        labels: the classes; empty means those of the training split, or of `label_words`.
        normalise: "raw" sums the log-probabilities of a word's tokens, "per_token" takes their mean.
        calibrate_prior: divide by what the model says to texts without content (Zhao et al. 2021, sec. 5).
        demonstrations: training examples of each class that are shown before the text.
        selection: "random", "sampled" anew for each text (LM-BFF), "diverse" (the centres of clusters), or "nearest" to
            each text by tf-idf.
        demonstration_tokens: the most tokens that all of a set may take; only examples that fit are shown.
        demonstration_seed: decides which are drawn, and their order.
        demonstration_sets: the text is asked once after each of so many sets, and the scores are averaged.
        separator: what stands between demonstrations.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        temperature: divides the scores before probabilities are taken; fitted on validation, not with calibrate_prior.
        shown: the demonstrations, or what the nearest are chosen among; drawn from the training examples.
        mask_id: the tokenizer's mask, for an encoder.
    """

    template: str = "{text} It was {label}."
    label_words: LabelWords = field(default_factory=dict)
    body: Literal["causal_lm", "masked_lm"] = "causal_lm"
    labels: tuple[str, ...] = ()
    normalise: Literal["raw", "per_token"] = "raw"
    calibrate_prior: bool = False
    demonstrations: int = 0
    selection: Selection = "random"
    demonstration_tokens: int = 512
    demonstration_seed: int = 0
    demonstration_sets: int = 1
    separator: str = "\n"
    max_length: int = 0
    temperature: float = 1.0
    shown: tuple[Demonstration, ...] = field(default=(), metadata={HELD: "training examples that are shown"})
    mask_id: int = -1

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(label_smoothing=0.0, max_length=self.max_length, stride=0, temperature=self.temperature)
        check_words(self.label_words)
        template = Template.of(self.template)
        texts = [slot for slot in ("text", "second") if template.has(slot)]
        order = [template.parts.index(f"{{{slot}}}") for slot in (*texts, "label")]
        if self.body == "causal_lm" and (max(order) != order[-1] or not template.before("label").strip()):
            raise RecipeError(
                "A decoder reads from left to right, so {label} must stand after the text and some words.",
                where="task.template",
                to_do='Write for example "{text} It was {label}.", or use body: masked_lm.',
            )
        showing = self._showing  # which sees what has no sense
        if self.calibrate_prior and showing.follows_text:
            raise RecipeError(
                "calibrate_prior needs the same demonstrations before every text.",
                where="task.selection",
                to_do="Use selection: random or diverse, or leave calibrate_prior out.",
            )

    @property
    def metric(self) -> str:
        """Accuracy."""
        return "accuracy"

    @property
    def label_kind(self) -> str:
        """One class."""
        return "class"

    @property
    def inputs(self) -> tuple[str, ...]:
        """One text, or two where the template has a place for a second."""
        return ("text", "second") if Template.of(self.template).has("second") else ("text",)

    @property
    def reads_labels(self) -> bool:
        """An answer depends on the text alone."""
        return False

    @property
    def token_types(self) -> int:
        """No kinds of token are told apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the labels, their words, and the demonstrations drawn from the training examples.

        Raises:
            ModelError: an encoder's tokenizer has no mask.
            RecipeError: the labels are not known, or their words do not tell them apart.
            DataError: there are too few examples to show.
        """
        if self.body == "masked_lm" and tokenizer.mask_token_id is None:
            raise ModelError(
                "The model's tokenizer has no mask token.", where="model.name", to_do="Use body: causal_lm."
            )
        labels = self.labels or tuple(sorted({label for one in examples for label in labels_of(one)}))
        labels = labels or tuple(sorted(self.label_words))
        if len(labels) < 2:
            raise RecipeError(
                "There are fewer than two labels.", where="task.labels", to_do="Name them, or give data.train."
            )
        words = complete(self.label_words, labels)
        mask = -1 if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id)
        known = replace(self, labels=labels, label_words=words, mask_id=mask)
        known._see_different_words(tokenizer)
        if not self.demonstrations:
            return known
        shown = self._showing.kept(examples, labels, lambda one: len(tokenizer.tokenize(known._shown_text([one]))))
        return replace(known, shown=shown)

    @property
    def _showing(self) -> Showing:
        return Showing(
            self.demonstrations,
            self.selection,
            self.demonstration_tokens,
            self.demonstration_seed,
            self.demonstration_sets,
        )

    def _see_different_words(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens: dict[tuple[str, ...], tuple[int, str]] = {}
        for number, word in self._words():
            parts = tuple(tokenizer.tokenize(f" {word}"))
            other = tokens.setdefault(parts, (number, word))
            if not parts or tokenizer.unk_token in parts:
                raise RecipeError(f"The tokenizer does not know the word '{word}'.", where="task.label_words")
            if other[0] != number:
                raise RecipeError(
                    f"The tokenizer takes the words '{other[1]}' and '{word}' for the same.",
                    where="task.label_words",
                    to_do="Give each label words of its own.",
                )

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into prompts; words that are asked for at the end of the same tokens share a piece.

        The target has a row for each label word after each set of demonstrations: its piece, the gold label's number,
        and its tokens.
        """
        gold = float(IGNORED if example.label is None else self._number(example))
        asked: list[tuple[Filled, Tokens]] = []
        for shown in self._showing.before(self.shown, example):
            before = self._shown_text(shown)
            for _, word in self._words():
                filled = self._filled(example.text, example.second, word)
                filled = filled.until("label").after(before) if self.body == "causal_lm" else filled.after(before)
                asked.append((filled, encoder.tokens(filled.text)))
        # All labels are asked about the same text, so the longest word and set decide how much of it fits.
        surplus = max(0, max(len(tokens.ids) for _, tokens in asked) - encoder.room)
        pieces: dict[bytes, Piece] = {}
        rows = []
        for filled, tokens in asked:
            piece, answer = self._piece(filled, tokens, surplus, encoder)
            key = piece.input_ids.tobytes() + b"|" + piece.unit_positions.tobytes()
            number = list(pieces).index(key) if key in pieces else len(pieces)
            pieces.setdefault(key, replace(piece, part=number))
            rows.append([float(number), gold, *answer])
        width = max(map(len, rows))
        target = np.array([row + [float(IGNORED)] * (width - len(row)) for row in rows])
        filled, tokens = asked[0]
        frame = len(tokens.ids) - text_tokens(filled, tokens)
        return Encoded(tuple(pieces.values()), target, unknown=tokens.unknown, unread=surplus, frame=frame)

    def _piece(self, filled: Filled, tokens: Tokens, surplus: int, encoder: TextEncoder) -> tuple[Piece, list[int]]:
        """A prompt's tokens with the places to read, and the word's tokens that are asked for there."""
        places = answer_places(filled, tokens)
        kept = shortened(filled, tokens, surplus) if surplus else list(range(len(tokens.ids)))
        answer = [tokens.ids[place] for place in places]
        shift = len(encoder.before)
        units = [kept.index(place) + shift for place in places]
        if self.body == "causal_lm":
            ids = [*encoder.before, *(tokens.ids[place] for place in kept)][: units[-1]]
            return plain_piece(ids, [unit - 1 for unit in units]), answer
        hidden = set(places)
        ids = [self.mask_id if place in hidden else tokens.ids[place] for place in kept]
        return plain_piece(encoder.wrap(ids), units), answer

    def _words(self) -> list[tuple[int, str]]:
        """Each label word with its label's number."""
        return [(n, word) for n, label in enumerate(self.labels) for word in words_of(label, self.label_words)]

    def _filled(self, text: str, second: str, word: str) -> Filled:
        return Template.of(self.template).fill({"text": text, "second": second, "label": word})

    def _shown_text(self, shown: Sequence[Demonstration]) -> str:
        texts = [self._filled(one.text, one.second, words_of(one.label, self.label_words)[0]).text for one in shown]
        return "".join(text + self.separator for text in texts)

    def _number(self, example: Example) -> int:
        (label,) = labels_of(example)
        if label not in self.labels:
            raise LabelError(
                f"Unknown label '{label}'.{nearest(label, self.labels)}",
                where=example.origin or example.id,
                to_do=f"Known labels: {', '.join(self.labels[:8])}. Correct the row or add the label.",
            )
        return self.labels.index(label)

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join prompts into tensors; targets [E, S * W, 2 + N] are those of `encode`."""
        rows = [item.target for item in encoded if item.target is not None]
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 0), (0, width - row.shape[1])), constant_values=IGNORED) for row in rows]
        return collate_pieces(encoded, pad_id, torch.from_numpy(np.stack(padded)).long(), float(len(encoded)))

    def build_head(self, shape: BodyShape) -> nn.Module:
        """A score per label from the body's logits; nothing in it learns."""
        counts = [len(words_of(label, self.label_words)) for label in self.labels]
        return LabelWordHead(counts, per_token=self.normalise == "per_token")

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy over the labels' scores."""
        assert batch.targets is not None, "a batch for training has targets"
        return class_loss(logits, batch.targets[:, 0, 1])

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the distributions over the labels."""
        return class_divergence(one, other, one_way=one_way)

    @property
    def mixing(self) -> Form | None:
        """A score per label; not where each model has a preference of its own to take off."""
        return None if self.calibrate_prior else "classes"

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients, if anything is."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """One row of label scores per example."""
        return list(network(batch).float().cpu())

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The likeliest label of each example, after the model's preference without any text is taken off."""
        prior = self._prior(network, encoder) if self.calibrate_prior else torch.zeros(len(self.labels))
        return [
            likeliest(example, self.labels, (row - prior) / self.temperature)
            for example, row in zip(examples, outputs, strict=True)
        ]

    def _prior(self, network: Network, encoder: TextEncoder) -> Tensor:
        """The log of the labels' mean probabilities over texts without content."""
        empty = [self.encode(Example("", text, second=text), encoder) for text in CONTENT_FREE]
        batch = self.collate(empty, encoder.tokenizer.pad_token_id or 0).to(network.device)
        return torch.stack(self.infer(network, batch)).softmax(-1).mean(0).log()

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of classes."""
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
        golds = [int(item.target[0, 1]) if item.target is not None else IGNORED for item in encoded]
        pairs = [(gold, row) for gold, row in zip(golds, logits, strict=True) if gold != IGNORED]
        if self.calibrate_prior or not pairs:
            return self
        rows = torch.stack([row for _, row in pairs]).numpy().astype(np.float64)
        return replace(self, temperature=fit_temperature(rows, np.array([gold for gold, _ in pairs])))
