"""From pieces to padded batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tunesmith.tasks.encoding import Batch, Encoded, Integers, Piece


def pad(rows: Sequence[Integers], value: int) -> Tensor:
    """Stack rows of unequal length into [rows, longest], filled up with `value`."""
    table = np.full((len(rows), max(map(len, rows), default=0)), value, dtype=np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(table)


def collate_pieces(encoded: Sequence[Encoded], pad_id: int, targets: Tensor | None, units: float) -> Batch:
    """Pad the pieces of several examples into one batch."""
    pieces = [piece for item in encoded for piece in item.pieces]
    owner = [number for number, item in enumerate(encoded) for _ in item.pieces]
    kinds = pad([piece.token_kinds for piece in pieces], 0)
    parts = torch.tensor([piece.part for piece in pieces], dtype=torch.long)
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
        segments=_padded([piece.segments for piece in pieces], pieces),
        part_of=parts if bool(parts.any()) else None,
        blocks=_padded([piece.blocks for piece in pieces], pieces),
        weights=weights_of(encoded),
    )


def weights_of(encoded: Sequence[Encoded]) -> Tensor | None:
    """How much each example counts [E]; None where all count alike."""
    if all(item.weight == 1 for item in encoded):
        return None
    return torch.tensor([item.weight for item in encoded])


def _padded(rows: Sequence[Integers | None], pieces: Sequence[Piece]) -> Tensor | None:
    """Rows that not every piece has, zero where it has none; None where no piece has one."""
    if all(row is None for row in rows):
        return None
    return pad([np.zeros_like(p.input_ids) if row is None else row for row, p in zip(rows, pieces, strict=True)], 0)
