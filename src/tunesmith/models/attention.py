"""Attention with a dropout of our own, under the interface by which transformers lets attention be replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

Multiplier = Callable[[Tensor, float], Tensor]
"""Values and a rate -> factors of the same shape: 0 with that probability, else what keeps the mean."""

_NAME = "tunesmith"


def draw_attention_dropout(module: PreTrainedModel, multiplier: Multiplier) -> None:
    """Let the body drop attention probabilities by `multiplier` where it would have scaled_dot_product_attention do so.

    A body that computes its attention in the open uses dropout layers, which can be replaced as such.
    """
    if module.config._attn_implementation != "sdpa":
        return

    def attend(
        layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        rate = float(options.get("dropout", 0.0))
        if not rate or not _is_plain(layer, query, key, mask, options):
            found: tuple[Tensor, Tensor | None] = sdpa_attention_forward(layer, query, key, value, mask, **options)
            return found
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        scores = (query * scaling) @ key.transpose(-1, -2)
        if mask is not None:
            never = torch.finfo(scores.dtype).min  # minus infinity would make a row that sees nothing NaN
            scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, never)
        shares = scores.softmax(-1)
        return ((shares * multiplier(shares, rate)) @ value).transpose(1, 2).contiguous(), None

    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    module.set_attn_implementation(_NAME)


def _is_plain(layer: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, options: dict[str, Any]) -> bool:
    """Whether each head attends to all places that the mask allows, with nothing added to its scores."""
    is_causal = options.get("is_causal")
    if is_causal is None:
        is_causal = vars(layer).get("is_causal", True)
    is_added_to = any(options.get(name) is not None for name in ("position_bias", "softcap", "cache"))
    is_seen_whole = not is_causal if mask is None else mask.dtype == torch.bool
    return is_seen_whole and not is_added_to and query.shape[1] == key.shape[1]
