"""From text to tensors: pieces with character offsets, windows over long texts, and padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The target of a unit that has no label."""

BodyKind = Literal["encoder", "masked_lm", "causal_lm", "seq2seq", "classifier"]
"""The form of network that a task builds on: a bare body, or one with its output layer over the vocabulary or classes.

A "classifier" may also be a bare body with the head that was trained on it.
"""

Integers = NDArray[np.integer[Any]]
Heard = Callable[[int], None]  # is told each token of an answer as soon as it is written


@dataclass(frozen=True, slots=True)
class Piece:
    """One window of an example.

    Attributes:
        input_ids: the tokens [T].
        token_kinds: each token's kind [T], 0 for none (word shapes).
        unit_positions: where its units' first tokens are, or the places that the head reads [U].
        segments: for backbones that tell two texts apart, to which of them each token belongs [T]; None for one text.
        part: which of an example's texts this is, for tasks that encode several of them apart.
        blocks: for several samples packed into one piece, the number of each token's sample, from 1 [T]; None for one.
    """

    input_ids: Integers
    token_kinds: Integers
    unit_positions: Integers
    segments: Integers | None = None
    part: int = 0
    blocks: Integers | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as pieces.

    `target` holds one number per unit (token tasks), one class, one number, or a row of zeros and ones; None without
    a label. `units` are the characters [start, end) of each unit that has a token, over all pieces (token tasks).
    `unknown` counts unknown tokens, `lost` holds the labels of gold spans whose borders lie inside a unit or that no
    token carries. `media` holds further inputs by modality, such as an image [3, H, W]. `golds` are the characters of
    the right answers (question answering), `changed` says what else is not read as it stands, by codes that the checks
    know, and `repeated` counts tokens that an earlier piece has already. `dropped` counts the tokens that were cut off
    before what is read (older messages), `cut` those of the label that did not fit, `unread` those of the text itself,
    and `frame` those that the task put around the text (a template, demonstrations). `written` is the number of tokens
    of a text to be written. `beside` is what every batch reads once beside its examples, such as what labels mean.
    `weight` is how much the example counts in the loss.
    """

    pieces: tuple[Piece, ...]
    target: NDArray[np.float64] | None
    units: tuple[tuple[int, int], ...] = ()
    unknown: int = 0
    lost: tuple[str, ...] = ()
    golds: tuple[tuple[int, int], ...] = ()
    changed: tuple[str, ...] = ()
    repeated: int = 0
    dropped: int = 0
    cut: int = 0
    written: int = 0
    unread: int = 0
    frame: int = 0
    media: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    beside: tuple[Encoded, ...] = ()
    weight: float = 1.0

    @property
    def tokens(self) -> int:
        """The number of tokens over all pieces, special tokens included."""
        return sum(len(piece.input_ids) for piece in self.pieces)

    @property
    def longest(self) -> int:
        """The length of the longest piece in tokens, or of the text to be written where that is longer."""
        return max(self.written, *(len(piece.input_ids) for piece in self.pieces))


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded pieces and the examples that they came from.

    Attributes:
        input_ids, attention_mask: [P, T].
        token_kinds: [P, T] or None.
        unit_positions, unit_mask: first tokens of the units, padded with 0, and which are real [P, U].
        example_of: to which of the `size` examples each piece belongs [P]; what is read beside them counts on.
        targets: [E] or [E, C] for whole texts, [P, U] for units, in a form that the task defines; None without labels.
        size: the number of examples E.
        units: the number of labels that the loss averages over.
        segments: to which of two texts each token belongs [P, T] or None.
        part_of: which of its example's texts each piece is [P] or None.
        blocks: which packed sample each token belongs to, 0 for padding [P, T] or None.
        media: further inputs by modality, such as images [E, 3, H, W]; with "image_mask" [E] where some lack them; and
            the histories of items (see `tasks/item_batches.py`).
        weights: how much each example counts [E]; None where all count alike.
        subgroups: the number of each example's subgroup [E], for objectives that tell them apart; else None.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_kinds: Tensor | None
    unit_positions: Tensor
    unit_mask: Tensor
    example_of: Tensor
    targets: Tensor | None
    size: int
    units: float
    segments: Tensor | None = None
    part_of: Tensor | None = None
    blocks: Tensor | None = None
    media: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Tensor | None = None
    subgroups: Tensor | None = None

    def rows(self, start: int, end: int) -> Batch:
        """The batch with the body's inputs of some pieces, and with their targets where each piece has its own."""
        inputs = ("input_ids", "attention_mask", "token_kinds", "unit_positions", "unit_mask", "segments", "blocks")
        given = {name: value for name, value in self._tensors().items() if name in inputs}
        if self.targets is not None and len(self.targets) == len(self.input_ids):
            given["targets"] = self.targets
        return replace(self, **{name: value[start:end] for name, value in given.items()})

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {name: value.to(device) for name, value in self._tensors().items()}
        return replace(self, **moved, media={name: value.to(device) for name, value in self.media.items()})

    def _tensors(self) -> dict[str, Any]:
        values = {item.name: self.__getattribute__(item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Generation:
    """How an answer is written, token by token.

    Attributes:
        max_new_tokens: the most tokens that are written.
        beams: hypotheses that are kept side by side; 1 takes the likeliest token each time.
        length_penalty: exponent of the length that divides a hypothesis' log-likelihood (Wu et al. 2016, sec. 7).
        repetition_penalty: what the scores of tokens that stand already are divided by (Keskar et al. 2019, sec. 4.1).
        no_repeat_ngram: no sequence of so many tokens occurs twice; 0 for no limit.
        forced_first: the token that an answer must begin with, such as the target language's; -1 for none.
        temperature, top_p: draw each token from the distribution divided by `temperature`, its likeliest tokens up to
            the probability `top_p` only; a temperature of 0 draws nothing.
        end: a token that ends an answer beside those that the model names; -1 for none.
        start: the token after which an encoder-decoder begins to write; -1 for the model's own.
    """

    max_new_tokens: int = 128
    beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    forced_first: int = -1
    temperature: float = 0.0
    top_p: float = 1.0
    end: int = -1
    start: int = -1


class Network(Protocol):
    """What a task needs of a model."""

    @property
    def head(self) -> nn.Module:
        """The task's layer."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def body_learns(self) -> bool:
        """Whether a weight of the pre-trained body is open to learning."""

    def __call__(self, batch: Batch) -> Tensor:
        """The head's logits."""

    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state of every token [P, T, H]."""

    def generate(self, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
        """The tokens that are written after (or from) each piece, special tokens included."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as tokens without specials: ids, and the characters [start, end) that each covers."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    unknown: int


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer, the ids `before` (specials, prefix) and `after` every text, the window, and texts `read` before."""

    tokenizer: PreTrainedTokenizerBase
    before: tuple[int, ...]
    after: tuple[int, ...]
    max_length: int
    read: Mapping[str, Tokens] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, max_length: int, prefix: str = "") -> TextEncoder:
        """Read the special tokens from how the tokenizer wraps a text; `prefix` goes before every text."""
        wrapped = list(tokenizer("", add_special_tokens=True)["input_ids"])
        closing = 1 if wrapped and wrapped[-1] in (tokenizer.sep_token_id, tokenizer.eos_token_id) else 0
        full, bare = (list(tokenizer("a", add_special_tokens=special)["input_ids"]) for special in (True, False))
        if bare and full[: len(bare)] == bare:  # all stands behind the text, such as an end token and a language
            closing = len(wrapped)
        opening = wrapped[: len(wrapped) - closing]
        opening += tokenizer(prefix, add_special_tokens=False)["input_ids"] if prefix else []
        return cls(tokenizer, tuple(opening), tuple(wrapped[len(wrapped) - closing :]), max_length)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The tokens that are no part of a text; the unknown one stands for a part."""
        return tuple(sorted({*self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}))

    @property
    def room(self) -> int:
        """How many tokens of the text itself fit into one window."""
        return self.max_length - len(self.before) - len(self.after)

    def having_read(self, texts: Iterable[str]) -> TextEncoder:
        """The same encoder, with texts that it will be asked for tokenised together, in threads where allowed."""
        several = list(dict.fromkeys(texts))
        return replace(self, read=dict(zip(several, self._tokens_of(several), strict=True)))

    def tokens(self, text: str) -> Tokens:
        """Tokenise a whole text, without cutting it and without special tokens."""
        return self.read.get(text) or self._tokens_of([text])[0]

    def _tokens_of(self, texts: list[str]) -> list[Tokens]:
        found = self.tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
        unknown = self.tokenizer.unk_token_id
        return [
            Tokens(ids := list(one.ids), list(one.offsets), 0 if unknown is None else ids.count(unknown))
            for one in found
        ]

    @cached_property
    def between(self) -> tuple[int, ...]:
        """The tokens that stand between two texts of one piece, as the tokenizer joins a pair."""
        one = list(self.tokenizer("a", add_special_tokens=False)["input_ids"])
        joined = list(self.tokenizer("a", "a", add_special_tokens=True)["input_ids"])
        alone = list(self.tokenizer("a", add_special_tokens=True)["input_ids"])
        opening = len(alone) - len(one) - len(self.after)
        return tuple(joined[opening + len(one) : len(joined) - len(self.after) - len(one)])

    @cached_property
    def tells_segments(self) -> bool:
        """Whether the tokenizer numbers the two texts of a pair, as BERT's does."""
        return any(self.tokenizer("a", "a", return_token_type_ids=True).get("token_type_ids", ()))

    @property
    def room_for_pair(self) -> int:
        """How many tokens of both texts together fit into one window."""
        return self.room - len(self.between)

    def join(self, first: Sequence[int], second: Sequence[int], positions: Sequence[int] = ()) -> Piece:
        """Two texts as one piece, with the places that the head shall read."""
        head = [*self.before, *first, *self.between]
        tail = [*second, *self.after]
        piece = plain_piece([*head, *tail], positions)
        segments = np.array([0] * len(head) + [1] * len(tail), dtype=np.int32)
        return replace(piece, segments=segments) if self.tells_segments else piece

    def wrap(self, ids: Sequence[int]) -> Integers:
        """Put the surrounding tokens around a window's ids."""
        return np.array([*self.before, *ids, *self.after], dtype=np.int32)


def split_across(
    tokens: Tokens, text: str, units: Sequence[tuple[int, int]], tokenizer: PreTrainedTokenizerBase
) -> Tokens:
    """Part tokens that reach over several units, where the vocabulary has each unit's part as a token of its own.

    Running Chinese is cut into pieces such as "北京市" that may straddle an entity's border; the single characters are
    in nearly every vocabulary, and without the word-start mark they mean the same as inside the longer piece.
    """
    unknown = tokenizer.unk_token_id
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    first = 0
    for token, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
        while first < len(units) and units[first][1] <= start:
            first += 1
        parts = []
        for unit_start, unit_end in units[first : first + end - start]:
            if unit_start >= end:
                break
            parts.append((max(unit_start, start), min(unit_end, end)))
        part_ids = [tokenizer.convert_tokens_to_ids(text[a:b]) for a, b in parts] if len(parts) > 1 else []
        if part_ids and all(isinstance(i, int) and i != unknown for i in part_ids):
            ids.extend(part_ids)  # type: ignore[arg-type]
            offsets.extend(parts)
        else:
            ids.append(token)
            offsets.append((start, end))
    return Tokens(ids, offsets, tokens.unknown)


def first_tokens(offsets: Sequence[tuple[int, int]], units: Sequence[tuple[int, int]]) -> list[int]:
    """For each unit the index of the first token that overlaps it and was not taken by a unit before; -1 for none."""
    found: list[int] = []
    token = 0
    for start, end in units:
        while token < len(offsets) and (offsets[token][1] <= start or offsets[token][0] == offsets[token][1]):
            token += 1
        if token < len(offsets) and offsets[token][0] < end:
            found.append(token)
            token += 1
        else:
            found.append(-1)
    return found


def windows(count: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Cut `count` tokens into windows of at most `size` that overlap by `stride`; one window when they fit."""
    if count <= size:
        return [(0, count)]
    step = max(1, size - stride)
    starts = list(range(0, count - stride, step))
    return [(start, min(start + size, count)) for start in starts]


def plain_piece(ids: Sequence[int] | Integers, positions: Sequence[int] = (), part: int = 0) -> Piece:
    """A piece of one text's tokens, with the places that the head shall read."""
    tokens = np.asarray(ids, dtype=np.int32)
    return Piece(tokens, np.zeros(len(tokens), np.uint8), np.asarray(positions, dtype=np.int32), part=part)
