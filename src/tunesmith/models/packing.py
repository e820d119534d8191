"""Several samples in one row, none of which sees another."""

from __future__ import annotations

import torch
from torch import Tensor


def packed_inputs(blocks: Tensor, *, causal: bool) -> dict[str, Tensor]:
    """What a body must be told of packed rows: places counted within each sample, and who may look at whom.

    Args:
        blocks: the number of each token's sample, from 1 on; 0 for padding [P, T].
        causal: whether a token sees only what stands before it.

    Returns:
        `position_ids` [P, T], and `attention_mask` [P, 1, T, T], true where a token (row) may look at another (column).
        Padding sees itself, so that no row of the softmax is empty.
    """
    length = blocks.shape[1]
    places = torch.arange(length, device=blocks.device)
    is_first = torch.ones_like(blocks, dtype=torch.bool)
    is_first[:, 1:] = blocks[:, 1:] != blocks[:, :-1]
    starts = torch.where(is_first, places, 0).cummax(1).values
    allowed = (blocks[:, :, None] == blocks[:, None, :]) & (blocks > 0)[:, None, :]
    if causal:
        allowed &= places[:, None] >= places[None, :]
    allowed |= torch.eye(length, dtype=torch.bool, device=blocks.device)
    return {"position_ids": places - starts, "attention_mask": allowed[:, None]}
