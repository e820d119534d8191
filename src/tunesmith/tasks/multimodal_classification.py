"""A class for a text and a picture, or a text and a recording, together; one of the two may be missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.images import pixels_of
from tunesmith.data.media import read_for
from tunesmith.data.records import Example, Prediction
from tunesmith.data.sounds import Listening, log_mel_of
from tunesmith.errors import DataError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.classification import class_table, confusion_of, measure_classes, measure_without
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.class_scores import fitted_temperature, likeliest
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder, plain_piece, windows
from tunesmith.tasks.fusion import FUSIONS, FusionHead
from tunesmith.tasks.gold import class_number, labels_of
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.losses import class_divergence, class_loss
from tunesmith.tasks.media_encoders import STAGES, MediaEncoder
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.ranges import check_labels, check_numbers

_ONLY_FOR = {"image": ("image_size",), "audio": ("sample_rate", "mel_bands", "max_seconds")}
"""The settings that one modality alone has a use for."""


@dataclass(frozen=True)
class MultimodalClassification:
    """Give a text and a picture, or a text and a recording, one class; each of the two may be missing.

    The text goes through the pre-trained body, the picture or recording through a small residual network that is
    trained from scratch; a late fusion makes their states one. Use a higher `training.head_multiplier` for the latter.

    Metrics: accuracy, macro_f1, micro_f1, weighted_f1, balanced_accuracy, mcc, roc_auc, ece, and accuracy without each.

    Long texts: read in overlapping windows; recordings longer than `max_seconds` are refused.

    Needs: a column of files (`data.image`, `data.audio`); package Pillow for pictures; WAV files for recordings.

    Attributes:
        modality: what stands beside the text.
        use: "both", or only "text" or "media" as a baseline: the same network that never gets the other.
        fusion: concat (a layer over both states), gated (Arevalo et al. 2017), or cross_attention from tokens to media.
        modality_dropout: the probability with which training withholds each modality of an example, never both at once.
        try_without: judge also how well each is answered with one modality withheld (needs modality_dropout).
        labels: the classes; empty means those of the training split, sorted.
        label_smoothing: share of the target given to all classes alike, in [0, 1).
        channels: width of the media network's first stage; each of its four stages has twice the one before.
        image_size: pictures are scaled to so many points in height and width.
        sample_rate: samples per second of a recording; others are resampled.
        mel_bands: bands of pitch of its spectrogram.
        max_seconds: the longest recording that is taken.
        max_length: tokens per window, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows of a long text share.
        temperature: divides the logits before probabilities are taken; fitted on validation after training.
        lacked: the modalities that some training example lacked; learnt from them.
    """

    modality: Literal["image", "audio"] = "image"
    use: Literal["both", "text", "media"] = "both"
    fusion: Literal["concat", "gated", "cross_attention"] = "cross_attention"
    modality_dropout: float = 0.1
    try_without: bool = True
    labels: tuple[str, ...] = ()
    label_smoothing: float = 0.0
    channels: int = 24
    image_size: int = 64
    sample_rate: int = 16000
    mel_bands: int = 64
    max_seconds: float = 30.0
    max_length: int = 0
    stride: int = 32
    temperature: float = 1.0
    lacked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_numbers(
            label_smoothing=self.label_smoothing,
            max_length=self.max_length,
            stride=self.stride,
            temperature=self.temperature,
        )
        for name, low, high in (
            ("modality_dropout", 0, 0.5),
            ("channels", 4, 256),
            ("image_size", 2**STAGES, 1024),
            ("sample_rate", 1000, 96000),
            ("mel_bands", 2**STAGES, 256),
            ("max_seconds", 0.1, 600),
        ):
            if not low <= self.__dict__[name] <= high:
                raise RecipeError(f"{name} must lie between {low} and {high}.", where=f"task.{name}")
        usual = MultimodalClassification.__dataclass_fields__
        for modality, names in _ONLY_FOR.items():
            idle = [name for name in names if modality != self.modality and self.__dict__[name] != usual[name].default]
            if idle:
                raise RecipeError(
                    f"{idle[0]} has no effect on modality {self.modality}.",
                    where=f"task.{idle[0]}",
                    to_do=f"Remove it, or use modality: {modality}.",
                )
        if self.use != "both" and self.modality_dropout != usual["modality_dropout"].default:
            raise RecipeError(
                f"modality_dropout has no effect with use: {self.use}, where the other modality is never there.",
                where="task.modality_dropout",
                to_do="Remove it, or use: both.",
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
        """A text and a file, also for a baseline that uses one of them: so it is split and judged as the others are."""
        return ("text", self.modality)

    @property
    def body(self) -> BodyKind:
        """A bare body."""
        return "encoder"

    @property
    def reads_labels(self) -> bool:
        """An answer depends on text and media alone."""
        return False

    @property
    def token_types(self) -> int:
        """No kinds of token are told apart."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the labels of the training examples, and which modalities some of them lack."""
        labels = self.labels or tuple(sorted({label for example in examples for label in labels_of(example)}))
        counts = Counter(name for example in examples for name, is_there in self._has(example).items() if not is_there)
        return replace(self, labels=labels, lacked=tuple(sorted(counts)))

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task, which withholds nothing."""
        return replace(self, try_without=False)

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn the text into windows and the file into numbers, with the label as target if there is one.

        Raises:
            DataError: the file cannot be read, or a modality is missing that was never missing in training.
        """
        has = self._has(example)
        self._see_known(example, has)
        tokens = encoder.tokens(example.text if has["text"] else "")
        cuts = windows(len(tokens.ids), encoder.room, min(self.stride, encoder.room // 2))
        pieces = tuple(plain_piece(encoder.wrap(tokens.ids[start:end])) for start, end in cuts)
        media: dict[str, NDArray[np.generic]] = {"text_mask": np.array(has["text"])}
        if has[self.modality]:
            media[self.modality] = self._read(example)
        target = None
        if example.label is not None:
            target = np.array(float(class_number(labels_of(example)[0], self.labels, example)))
        return Encoded(pieces, target, unknown=tokens.unknown, media=media)

    def _has(self, example: Example) -> dict[str, bool]:
        """Which modalities an example has, of those that are used."""
        return {
            "text": self.use != "media" and bool(example.text.strip()),
            self.modality: self.use != "text" and bool(example.media.get(self.modality)),
        }

    def _see_known(self, example: Example, has: dict[str, bool]) -> None:
        """See that there is something to go by, and that the network has learnt what to do without the rest."""
        missing = [name for name, is_there in has.items() if not is_there]
        is_learnt = self.use == "both" and self.modality_dropout > 0
        strange = missing if len(missing) == len(has) and self.use == "both" else []
        strange = strange or [name for name in missing if name not in self.lacked and not is_learnt]
        if strange:
            raise DataError(
                f"The example has no {' and no '.join(strange)}, and the model was never trained without.",
                where=example.origin or example.id,
                to_do="Give it" + (", or train with a task.modality_dropout." if self.use == "both" else "."),
            )

    def _read(self, example: Example) -> NDArray[np.generic]:
        with read_for(example.origin or example.id):
            path = example.media[self.modality]
            if self._is_image:
                return pixels_of(path, self.image_size)
            return log_mel_of(path, Listening(self.sample_rate, self.mel_bands, self.max_seconds))

    @property
    def _is_image(self) -> bool:
        return self.modality == "image"

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors; a missing picture or recording is zeros."""
        rows = [item.target for item in encoded if item.target is not None]
        targets = torch.from_numpy(np.stack(rows)).long() if rows and len(rows) == len(encoded) else None
        batch = collate_pieces(encoded, pad_id, targets, float(len(encoded)))
        found = [item.media.get(self.modality) for item in encoded]
        media = {
            "text_mask": torch.tensor([bool(item.media["text_mask"]) for item in encoded]),
            f"{self.modality}_mask": torch.tensor([item is not None for item in found]),
        }
        if self._is_image:
            empty = np.zeros((3, self.image_size, self.image_size), dtype=np.uint8)
            media[self.modality] = torch.from_numpy(np.stack([empty if item is None else item for item in found]))
        else:
            lengths = [1 if item is None else item.shape[1] for item in found]
            table = np.zeros((len(found), self.mel_bands, max(lengths)), dtype=np.float32)
            for row, item in zip(table, found, strict=True):
                if item is not None:
                    row[:, : item.shape[1]] = item
            media |= {self.modality: torch.from_numpy(table), f"{self.modality}_length": torch.tensor(lengths)}
        return replace(batch, media=media)

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The media network, the fusion and the classifier."""
        encoder = MediaEncoder(self.modality, 0 if self._is_image else self.mel_bands, self.channels, shape.hidden_size)
        fusion = FUSIONS[self.fusion](shape.hidden_size)
        dropped = self.modality_dropout if self.use == "both" else 0.0
        return FusionHead(shape, encoder, fusion, len(self.labels), dropped)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy over the examples."""
        assert batch.targets is not None, "a batch for training has targets"
        return class_loss(logits, batch.targets, None, self.label_smoothing, 0.0)

    @property
    def incomparable(self) -> str:
        """Any two outputs can be compared."""
        return ""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """Of the class distributions."""
        return class_divergence(one, other, one_way=one_way)

    @property
    def mixing(self) -> Form:
        """A logit per class."""
        return "classes"

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """All is learnt by gradients."""

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Per example its logits [1, C]; or [3, C], where the second row lacks the text and the third the medium."""
        if not self._withholds:
            return list(network(batch).float().cpu()[:, None])
        head, hidden = network.head, network.hidden(batch).float()
        assert isinstance(head, FusionHead)
        media = head.read(batch)
        has_text, has_medium = batch.media["text_mask"], batch.media[f"{self.modality}_mask"]
        none = torch.zeros_like(has_text)
        ways = ((has_text, has_medium), (none, has_medium), (has_text, none))
        return list(torch.stack([head.answer(hidden, batch, media, *way).float().cpu() for way in ways], 1))

    @property
    def _withholds(self) -> bool:
        return self.try_without and self.use == "both" and self.modality_dropout > 0

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn each example's logits into a class."""
        return [self._answer(example, rows) for example, rows in zip(examples, outputs, strict=True)]

    def _answer(self, example: Example, rows: Tensor) -> Prediction:
        answer = likeliest(example, self.labels, rows[0] / self.temperature)
        without: dict[str, str] = {}
        if len(rows) > 1 and all(self._has(example).values()):
            names = ("text", self.modality)
            without = {name: self.labels[int(row.argmax())] for name, row in zip(names, rows[1:], strict=True)}
        return replace(answer, without=without)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of these answers; accuracy also with each modality withheld, over examples that have both."""
        found = measure_classes(examples, predictions, self.labels)
        return [*found, *measure_without(examples, predictions)]

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
        return replace(self, temperature=fitted_temperature(encoded, [rows[0] for rows in logits]))
