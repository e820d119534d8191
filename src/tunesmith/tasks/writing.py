"""What an encoder-decoder found for an example: how likely the given text is, and what it writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.tasks.collation import pad
from tunesmith.tasks.encoding import IGNORED, Batch, Generation, Network

_CHARACTER = "[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
_BETWEEN_CHARACTERS = re.compile(f"(?<={_CHARACTER}) (?={_CHARACTER})")

JUDGED_AT_ONCE = 4096
"""Tokens whose logits over the vocabulary are held together: that of mT5 has 250,000 pieces."""

WRITTEN_AT_ONCE = 65536
"""Tokens, read and to be written, of the hypotheses that are kept side by side."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was found for an example.

    Attributes:
        given: the tokens of the given text that were judged; 0 without one.
        likely: their log-likelihood.
        tokens: what was written, without the end token.
        sure: the log-likelihood of what was written, its end included.
    """

    given: int
    likely: float
    tokens: tuple[int, ...]
    sure: float

    def packed(self) -> Tensor:
        """The same as one row of numbers."""
        return torch.tensor([self.given, self.likely, self.sure, *self.tokens], dtype=torch.float64)

    @classmethod
    def of(cls, row: Tensor) -> Self:
        """What a row of numbers holds."""
        given, likely, sure, *tokens = row.tolist()
        return cls(int(given), likely, tuple(int(token) for token in tokens), sure)


def log_likelihoods(network: Network, batch: Batch, targets: Tensor) -> list[float]:
    """Log p of each example's targets [E, L], summed over those that are not `IGNORED`."""
    found: list[float] = []
    asked = replace(batch, targets=targets.to(network.device))
    for start, end in _parts(batch.size, targets.shape[1], JUDGED_AT_ONCE):
        part = replace(asked.rows(start, end), size=end - start)
        wanted, logits = part.targets, network(part)
        assert wanted is not None
        chosen = logits.gather(-1, wanted.clamp(min=0)[..., None])[..., 0] - logits.logsumexp(-1)
        found += torch.where(wanted != IGNORED, chosen, 0.0).sum(1).double().cpu().tolist()
    return found


def written(network: Network, batch: Batch, how: Generation) -> list[list[int]]:
    """The tokens written from each example."""
    size = (batch.input_ids.shape[1] + how.max_new_tokens) * how.beams
    parts = _parts(batch.size, size, WRITTEN_AT_ONCE)
    return [row.tolist() for start, end in parts for row in network.generate(batch.rows(start, end), how)]


def text_of(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """Tokens as text; without the blanks that tokenizers of single Chinese characters put between these."""
    text = str(tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
    parts = str(tokenizer.decode(tokenizer("中文", add_special_tokens=False)["input_ids"])).strip()
    return _BETWEEN_CHARACTERS.sub("", text) if " " in parts else text


def as_targets(texts: Sequence[Sequence[int]]) -> Tensor:
    """Tokens as targets [E, L]."""
    return pad([np.asarray(tokens, dtype=np.int64) for tokens in texts], IGNORED)


def _parts(count: int, size: int, most: int) -> Iterator[tuple[int, int]]:
    step = max(1, most // max(1, size))
    yield from ((start, min(start + step, count)) for start in range(0, count, step))
