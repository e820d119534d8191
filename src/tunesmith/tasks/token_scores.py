"""How likely a language model finds the tokens that stand in a text, and the answers made of that."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.data.records import Example, Prediction
from tunesmith.tasks.encoding import Batch, Network

_AT_ONCE = 2048
"""Places whose logits over the whole vocabulary are held at once when nothing is learnt."""


def token_scores(network: Network, batch: Batch, wanted: Tensor) -> list[Tensor]:
    """For each example its scored tokens' log-probability, and 1 where the token was the likeliest [n, 2].

    `wanted` holds the right token of each of the batch's unit positions [P, U].
    """
    rows = max(1, _AT_ONCE // max(1, batch.unit_positions.shape[1]))
    found = []
    for start in range(0, len(batch.input_ids), rows):
        part = batch.rows(start, start + rows)
        gold = wanted[start : start + rows][part.unit_mask]
        logits = network(part)[part.unit_mask].float()
        log_p = -functional.cross_entropy(logits, gold, reduction="none")
        found.append(torch.stack([log_p, (logits.argmax(-1) == gold).float()], dim=1).cpu())
    owners = batch.example_of[:, None].expand_as(batch.unit_mask)[batch.unit_mask]
    return list(torch.split(torch.cat(found), owners.bincount(minlength=batch.size).tolist()))


def foretold(examples: Sequence[Example], outputs: Sequence[Tensor]) -> list[Prediction]:
    """The answer for each example: how likely its tokens were; a text without labels has the empty label."""
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
