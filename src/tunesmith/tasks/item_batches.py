"""Histories and the texts of items as one batch, and the items among which a target is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tunesmith.tasks.collation import collate_pieces, pad
from tunesmith.tasks.encoding import IGNORED, Batch, Encoded, Integers, Piece, plain_piece

HISTORY, TEXT = 0, 1
"""The parts of an example: its history as item numbers, and the texts of items."""


def collate_histories(encoded: Sequence[Encoded], pad_id: int) -> Batch:
    """Histories, what follows each of their items, and the items' texts, each once.

    The batch's `media` hold "history" [E, L] and "sequence" [E, S], the numbers of the items that are read and of all
    with the label, -1 for padding; and "items" [P], of which item each piece of text is. `targets` [E, L] are item
    numbers. A batch without texts has one piece of padding, for the body must be asked something.
    """
    histories = [item.pieces[0].input_ids if item.pieces[0].part == HISTORY else _NONE for item in encoded]
    texts = [piece for pieces in _texts(encoded).values() for piece in pieces]
    wholes = [_NONE if item.target is None else item.target.astype(np.int64) for item in encoded]
    targets = None
    if any(len(whole) for whole in wholes):
        following = [whole[1:][-len(read) :] for whole, read in zip(wholes, histories, strict=True)]
        targets = pad(following, IGNORED)
    units = float(sum(len(read) for read in histories)) if targets is not None else float(len(encoded))
    pieces = tuple(texts) or (plain_piece([pad_id]),)
    batch = collate_pieces([Encoded(pieces, None)], pad_id, targets, units)
    media = {
        "history": pad(histories, -1),
        "sequence": pad(wholes, -1),
        "items": torch.tensor([int(piece.unit_positions[0]) for piece in texts], dtype=torch.long),
    }
    return replace(batch, size=len(encoded), media=media)


_NONE: Integers = np.zeros(0, np.int64)


def _texts(encoded: Sequence[Encoded]) -> Mapping[int, Sequence[Piece]]:
    """The pieces of each item's text, once for all examples that have it."""
    found: dict[int, list[Piece]] = {}
    for item in encoded:
        own: dict[int, list[Piece]] = {}
        for piece in item.pieces:
            if piece.part == TEXT:
                own.setdefault(int(piece.unit_positions[0]), []).append(piece)
        for number, pieces in own.items():
            found.setdefault(number, pieces)
    return found


def among(targets: Tensor, candidates: Tensor) -> Tensor:
    """The places of item numbers among the candidates [C], which rise; `IGNORED` for those that are not there."""
    if not len(candidates):
        return torch.full_like(targets, IGNORED)
    places = torch.searchsorted(candidates, targets).clamp(max=len(candidates) - 1)
    return torch.where(candidates[places] == targets, places, IGNORED)


def sampled(targets: Tensor, known: Tensor, shares: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """The distinct targets and `negatives` items drawn evenly of the known ones, with the chance of each to be there.

    Args:
        targets: item numbers, `IGNORED` for padding.
        known: the numbers of the items that may be drawn.
        shares: each item's share of all training places [N].
        negatives: how many are drawn, with replacement.

    Returns:
        The candidates [C], rising, and the logarithms of their chances [C]: an item comes by one of the M places
        with chance 1 - (1 - share)^M, or by one of the K draws of W known items with 1 - (1 - 1/W)^K.
    """
    wanted = targets[targets != IGNORED]
    drawn = known[torch.randint(len(known), (negatives,))] if negatives and len(known) else known[:0]
    candidates: Tensor = torch.unique(torch.cat([wanted, drawn]))
    missed = (1 - shares[candidates]) ** len(wanted) * (1 - 1 / max(len(known), 1)) ** negatives
    return candidates, torch.log((1 - missed).clamp(min=1e-12))
