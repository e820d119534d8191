"""Attention with a dropout of our own, under the interface by which transformers lets attention be replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

Multiplier = Callable[[Tensor, float], Tensor]
"""Values and a rate -> factors of the same shape: 0 with that probability, else what keeps the mean."""

_NAME = "tunesmith"
_WITH_PREFIX = "tunesmith_prefix"


class Prefix(nn.Module):
    """Learnt keys and values [N, W] that every query of an attention layer sees before those of the text."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(tokens, width).normal_(std=0.02))
        self.value = nn.Parameter(torch.empty(tokens, width).normal_(std=0.02))


def can_take_prefix(module: PreTrainedModel) -> bool:
    """Whether the body computes attention through transformers' interface, where keys and values can be added."""
    return module.config._attn_implementation in ("sdpa", _NAME, _WITH_PREFIX)


def look_at_prefixes(module: PreTrainedModel) -> None:
    """Let the body's attention see the `Prefix` of each layer that has one."""

    def attend(
        layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        key, value, mask = with_prefix(layer, query, key, value, mask)
        found: tuple[Tensor, Tensor | None] = sdpa_attention_forward(layer, query, key, value, mask, **options)
        return found

    AttentionInterface.register(_WITH_PREFIX, attend)
    AttentionMaskInterface.register(_WITH_PREFIX, sdpa_mask)
    module.set_attn_implementation(_WITH_PREFIX)


def with_prefix(
    layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values [B, K, N + T, D] with the layer's prefix before them, and the mask [B, 1, Q, N + T] of both."""
    prefix = dict(layer.named_children()).get("prefix")
    if not isinstance(prefix, Prefix):
        return key, value, mask
    batch, heads, length, width = key.shape
    added = [
        part.to(key.dtype).view(1, -1, heads, width).transpose(1, 2).expand(batch, -1, -1, -1)
        for part in (prefix.key, prefix.value)
    ]
    seen = query.shape[2]
    if mask is None and seen > 1 and vars(layer).get("is_causal", True):
        # A causal mask that is left out would be taken to begin at the prefix.
        mask = torch.ones(seen, length, dtype=torch.bool, device=key.device).tril(length - seen)[None, None]
    if mask is not None:
        wide = mask.new_ones(()) if mask.dtype == torch.bool else mask.new_zeros(())
        mask = torch.cat([wide.expand(*mask.shape[:3], added[0].shape[2]), mask], dim=-1)
    return torch.cat([added[0], key], 2), torch.cat([added[1], value], 2), mask


def draw_attention_dropout(module: PreTrainedModel, multiplier: Multiplier) -> None:
    """Let the body drop attention probabilities by `multiplier` where it would have scaled_dot_product_attention do so.

    A body that computes its attention in the open uses dropout layers, which can be replaced as such.
    """
    if not can_take_prefix(module):
        return

    def attend(
        layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        key, value, mask = with_prefix(layer, query, key, value, mask)
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


@contextmanager
def computing_attention(module: PreTrainedModel, how: str) -> Iterator[None]:
    """A block in which the body computes its attention by transformers' implementation `how`.

    Layers that see a `Prefix` keep their own, by which alone they see it.
    """
    own = module.config._attn_implementation
    keeps = any(isinstance(part, Prefix) for part in module.modules())
    if not keeps:
        module.set_attn_implementation(how)
    try:
        yield
    finally:
        if not keeps:
            module.set_attn_implementation(own)
