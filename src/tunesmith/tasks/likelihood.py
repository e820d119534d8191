"""How likely a language model finds the tokens that follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tunesmith.tasks.encoding import IGNORED, Batch, Encoded, Network, Piece, collate_pieces
from tunesmith.tasks.packing import sums_by_piece

AT_ONCE = 2048
"""Tokens whose logits over the vocabulary are held together while answers are judged."""


def next_tokens(batch: Batch) -> Tensor:
    """The token that follows each unit's place [P, U]; `IGNORED` where there is no unit."""
    last = batch.input_ids.shape[1] - 1
    following = batch.input_ids.gather(1, (batch.unit_positions + 1).clamp(max=last))
    return torch.where(batch.unit_mask, following, IGNORED)


def token_log_likelihoods(logits: Tensor, targets: Tensor) -> Tensor:
    """Log p of each target [P, U] under logits [P, U, V]; 0 for `IGNORED` ones."""
    counted = targets != IGNORED
    chosen = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return torch.where(counted, chosen - logits.logsumexp(-1), 0.0)


def log_likelihoods(logits: Tensor, batch: Batch) -> Tensor:
    """Log p of each piece's counted tokens, summed [pieces]."""
    return sums_by_piece(token_log_likelihoods(logits.float(), next_tokens(batch)), batch)


def scored(network: Network, pieces: Sequence[Piece]) -> list[float]:
    """Log p of each piece's counted tokens, summed; few pieces at a time, since a vocabulary is large."""
    found: list[float] = []
    for part in parts_of(pieces, [len(piece.unit_positions) for piece in pieces], AT_ONCE):
        batch = as_batch(part).to(network.device)
        if batch.unit_positions.shape[1]:
            found += log_likelihoods(network(batch), batch).double().cpu().tolist()
        else:
            found += [0.0] * len(part)
    return found


def parts_of(pieces: Sequence[Piece], sizes: Sequence[int], most: int) -> Iterator[list[Piece]]:
    """Cut pieces into parts of which the number times the largest size is at most `most`."""
    part: list[Piece] = []
    widest = 0
    for piece, size in zip(pieces, sizes, strict=True):
        if part and (len(part) + 1) * max(widest, size) > most:
            yield part
            part, widest = [], 0
        part.append(piece)
        widest = max(widest, size)
    if part:
        yield part


def as_batch(pieces: Sequence[Piece]) -> Batch:
    """Pieces as a batch of examples of one piece each."""
    return collate_pieces([Encoded((piece,), None) for piece in pieces], 0, None, float(len(pieces)))
