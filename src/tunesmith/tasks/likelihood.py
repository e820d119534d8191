"""How likely a language model finds the tokens that follow each other, or those that stand in a text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tunesmith.data.records import Example, Prediction
from tunesmith.tasks.collation import collate_pieces
from tunesmith.tasks.encoding import IGNORED, Batch, Encoded, Network, Piece
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


def token_scores(network: Network, batch: Batch, wanted: Tensor) -> list[Tensor]:
    """For each example its tokens' log-probability, and 1 where the token was the likeliest of its place [n, 2].

    `wanted` holds the right token of each of the batch's unit positions [P, U].
    """
    rows = max(1, AT_ONCE // max(1, batch.unit_positions.shape[1]))
    found = []
    for start in range(0, len(batch.input_ids), rows):
        part, gold = batch.rows(start, start + rows), wanted[start : start + rows]
        logits = network(part).float()
        log_p = token_log_likelihoods(logits, gold)[part.unit_mask]
        found.append(torch.stack([log_p, (logits.argmax(-1) == gold)[part.unit_mask].float()], dim=1).cpu())
    owners = batch.example_of[:, None].expand_as(batch.unit_mask)[batch.unit_mask]
    return list(torch.split(torch.cat(found), owners.bincount(minlength=batch.size).tolist()))


def foretold(examples: Sequence[Example], outputs: Sequence[Tensor]) -> list[Prediction]:
    """The answer for each raw text, by its `token_scores`: how likely its tokens were. It has the empty label."""
    answers = []
    for example, scores in zip(examples, outputs, strict=True):
        total, right = scores.double().sum(0).tolist()
        answers.append(
            Prediction(
                example.id,
                "",
                math.nan,
                log_likelihood=total,
                label_tokens=len(scores),
                right_tokens=round(right),
            )
        )
    return answers


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
