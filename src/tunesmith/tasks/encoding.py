"""From text to tensors: pieces with character offsets, windows over long texts, and padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The target of a unit that has no label."""

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """One window of an example: token ids [T], each token's kind [T], and where its units' first tokens are [U]."""

    input_ids: Integers
    token_kinds: Integers
    unit_positions: Integers


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as pieces.

    `target` holds one number per unit (token tasks), one class, one number, or a row of zeros and ones; None without
    a label. `units` are the characters [start, end) of each unit that has a token, over all pieces (token tasks).
    `unknown` counts unknown tokens, `lost` holds the labels of gold spans whose borders lie inside a unit or that no
    token carries.
    """

    pieces: tuple[Piece, ...]
    target: NDArray[np.float64] | None
    units: tuple[tuple[int, int], ...] = ()
    unknown: int = 0
    lost: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """The number of tokens over all pieces, special tokens included."""
        return sum(len(piece.input_ids) for piece in self.pieces)

    @property
    def longest(self) -> int:
        """The length of the longest piece in tokens."""
        return max(len(piece.input_ids) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded pieces and the examples that they came from.

    `input_ids`, `attention_mask` [P, T]; `token_kinds` [P, T] or None; `unit_positions` [P, U] (first tokens of the
    units, padded with 0) with `unit_mask` [P, U]; `example_of` [P] says to which of the `size` examples a piece
    belongs; `targets` [E] or [E, C] for whole texts, [P, U] for units; `units` is the number of labels that the loss
    averages over.
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

    def rows(self, start: int, end: int) -> Batch:
        """The batch with the body's inputs of some pieces only."""
        part = slice(start, end)
        kinds = None if self.token_kinds is None else self.token_kinds[part]
        return replace(
            self, input_ids=self.input_ids[part], attention_mask=self.attention_mask[part], token_kinds=kinds
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            token_kinds=None if self.token_kinds is None else self.token_kinds.to(device),
            unit_positions=self.unit_positions.to(device),
            unit_mask=self.unit_mask.to(device),
            example_of=self.example_of.to(device),
            targets=None if self.targets is None else self.targets.to(device),
            size=self.size,
            units=self.units,
        )


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as tokens without specials: ids, and the characters [start, end) that each covers."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    unknown: int


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer, the ids `before` (special tokens, prefix) and `after` every text, and the model's window."""

    tokenizer: PreTrainedTokenizerBase
    before: tuple[int, ...]
    after: tuple[int, ...]
    max_length: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, max_length: int, prefix: str = "") -> TextEncoder:
        """Read the special tokens from how the tokenizer wraps an empty text; `prefix` goes before every text."""
        wrapped = list(tokenizer("", add_special_tokens=True)["input_ids"])
        closing = 1 if wrapped and wrapped[-1] in (tokenizer.sep_token_id, tokenizer.eos_token_id) else 0
        opening = wrapped[: len(wrapped) - closing]
        opening += tokenizer(prefix, add_special_tokens=False)["input_ids"] if prefix else []
        return cls(tokenizer, tuple(opening), tuple(wrapped[len(wrapped) - closing :]), max_length)

    @property
    def room(self) -> int:
        """How many tokens of the text itself fit into one window."""
        return self.max_length - len(self.before) - len(self.after)

    def tokens(self, text: str) -> Tokens:
        """Tokenise a whole text, without cutting it and without special tokens."""
        (encoding,) = self.tokenizer.backend_tokenizer.encode_batch([text], add_special_tokens=False)
        ids = list(encoding.ids)
        unknown = self.tokenizer.unk_token_id
        return Tokens(ids, list(encoding.offsets), sum(i == unknown for i in ids) if unknown is not None else 0)

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


def pad(rows: Sequence[Integers], value: int) -> Tensor:
    """Stack rows of unequal length into [rows, longest], filled up with `value`."""
    width = max((len(row) for row in rows), default=0)
    table = np.full((len(rows), width), value, dtype=np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(table)


def collate_pieces(encoded: Sequence[Encoded], pad_id: int, targets: Tensor | None, units: float) -> Batch:
    """Pad the pieces of several examples into one batch."""
    pieces = [piece for item in encoded for piece in item.pieces]
    owner = [number for number, item in enumerate(encoded) for _ in item.pieces]
    kinds = pad([piece.token_kinds for piece in pieces], 0)
    return Batch(
        input_ids=pad([piece.input_ids for piece in pieces], pad_id),
        attention_mask=pad([np.ones_like(piece.input_ids) for piece in pieces], 0),
        token_kinds=kinds if bool(kinds.any()) else None,
        unit_positions=pad([piece.unit_positions for piece in pieces], 0),
        unit_mask=pad([np.ones_like(piece.unit_positions) for piece in pieces], 0).bool(),
        example_of=torch.tensor(owner, dtype=torch.long),
        targets=targets,
        size=len(encoded),
        units=units,
    )
