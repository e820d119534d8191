"""Several pieces in one row, so that less of a batch is padding; which of them a place belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import Batch, Encoded, Piece, plain_piece


def collate_packed(encoded: Sequence[Encoded], pad_id: int, room: int, units: float) -> Batch:
    """Pack the pieces of several examples into rows of at most `room` tokens (more where one piece alone has more).

    The batch has a row per pack; `blocks` numbers the pieces from 1, and `example_of` and `part_of` go by piece.
    """
    pieces = [piece for item in encoded for piece in item.pieces]
    room = max([room, *(len(piece.input_ids) for piece in pieces)])
    rows: list[list[int]] = []
    filled: list[int] = []
    for number in sorted(range(len(pieces)), key=lambda place: (-len(pieces[place].input_ids), place)):
        size = len(pieces[number].input_ids)
        # First fit of the longest first: at most 11/9 of the fewest rows (Johnson 1973).
        row = next((place for place, taken in enumerate(filled) if taken + size <= room), len(rows))
        if row == len(rows):
            rows.append([])
            filled.append(0)
        rows[row].append(number)
        filled[row] += size
    joined = tuple(_joined([(number, pieces[number]) for number in row]) for row in rows)
    batch = collate_pieces([Encoded(joined, None)], pad_id, None, units)
    owner = [number for number, item in enumerate(encoded) for _ in item.pieces]
    parts = torch.tensor([piece.part for piece in pieces], dtype=torch.long)
    return replace(
        batch, example_of=torch.tensor(owner), part_of=parts if bool(parts.any()) else None, size=len(encoded)
    )


def _joined(row: Sequence[tuple[int, Piece]]) -> Piece:
    starts = np.cumsum([0, *(len(piece.input_ids) for _, piece in row)])
    ids = np.concatenate([piece.input_ids for _, piece in row])
    positions = np.concatenate([piece.unit_positions + start for (_, piece), start in zip(row, starts, strict=False)])
    blocks = np.concatenate([np.full(len(piece.input_ids), number + 1, np.int32) for number, piece in row])
    return replace(plain_piece(ids, positions.tolist()), blocks=blocks)


def pieces_of(batch: Batch) -> list[Piece]:
    """The pieces that a batch was made of, in the order of its examples."""
    cpu = batch.to(torch.device("cpu"))
    parts = [0] * len(batch.example_of) if cpu.part_of is None else cpu.part_of.tolist()
    blocks = torch.arange(1, len(cpu.input_ids) + 1)[:, None] * cpu.attention_mask if cpu.blocks is None else cpu.blocks
    found: dict[int, Piece] = {}
    for row, ids in enumerate(cpu.input_ids):
        positions = cpu.unit_positions[row][cpu.unit_mask[row]]
        for number in sorted(set(blocks[row].tolist())):
            if number:
                places = (blocks[row] == number).nonzero()[:, 0]
                own = positions[blocks[row][positions] == number] - places[0]
                found[number - 1] = plain_piece(ids[places].tolist(), own.tolist(), parts[number - 1])
    return [found[number] for number in range(len(parts))]


def sums_by_piece(values: Tensor, batch: Batch) -> Tensor:
    """The sum over each piece's units of values [P, U] that are zero where there is no unit -> [pieces]."""
    if batch.blocks is None:
        return values.sum(1)
    owner = batch.blocks.gather(1, batch.unit_positions).flatten() - 1
    pieces = torch.arange(len(batch.example_of), device=values.device)
    # A product has a fixed order of summation on every device, which adding into shared places has not.
    return (owner[None] == pieces[:, None]).to(values.dtype) @ values.flatten()
