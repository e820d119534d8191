"""Text states and the states of a picture or a recording, made into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tunesmith.tasks.encoding import Batch
from tunesmith.tasks.heads import BodyShape, pool, pool_windows
from tunesmith.tasks.media_encoders import MediaEncoder

_HEADS = 4


@dataclass(frozen=True)
class Views:
    """A batch as both modalities see it; what an example lacks is a learnt vector in every place.

    Attributes:
        tokens: text states [P, T, H], P windows of E examples.
        token_mask: the real ones [P, T].
        example_of: to which example each window belongs [P].
        media: states of places or moments [E, G, H].
        media_mask: the real ones [E, G].
        pooling: how a window's token states become one.
    """

    tokens: Tensor
    token_mask: Tensor
    example_of: Tensor
    media: Tensor
    media_mask: Tensor
    pooling: str

    def pooled(self, tokens: Tensor) -> Tensor:
        """Token states [P, T, H] as one per example [E, H]: pooled, then averaged over windows."""
        states = pool(tokens, self.token_mask, self.pooling)
        return pool_windows(states, self.example_of, len(self.media), "mean")

    @property
    def text(self) -> Tensor:
        """One state per text [E, H]."""
        return self.pooled(self.tokens)

    @property
    def medium(self) -> Tensor:
        """One state per picture or recording [E, H]: in each dimension the most that any place or moment has."""
        return pool(self.media, self.media_mask, "max")


class Concatenation(nn.Module):
    """Both states side by side, and a layer over them."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.joint = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, views: Views) -> Tensor:
        """[E, H]."""
        joint: Tensor = self.joint(torch.cat([views.text, views.medium], -1))
        return F.gelu(joint)


class Gate(nn.Module):
    """A gate that says in each dimension how much of each modality goes on (Arevalo et al. 2017, sec. 3.1, eq. 1)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.from_text = nn.Linear(hidden_size, hidden_size)
        self.from_medium = nn.Linear(hidden_size, hidden_size)
        self.gate = nn.Linear(2 * hidden_size, hidden_size, bias=False)

    def forward(self, views: Views) -> Tensor:
        """[E, H]."""
        text, medium = views.text, views.medium
        share: Tensor = self.gate(torch.cat([medium, text], -1)).sigmoid()
        one: Tensor = self.from_medium(medium).tanh()
        other: Tensor = self.from_text(text).tanh()
        return share * one + (1 - share) * other


class CrossAttention(nn.Module):
    """Tokens look at the places or moments they speak of: a layer of attention from text to media.

    Attention and feed-forward beside shortcuts, normalised before (Vaswani et al. 2017, sec. 3.2, with queries from the
    text as in Lu et al. 2019, sec. 3.1).
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.heads = _HEADS if hidden_size % _HEADS == 0 else 1
        self.query_norm, self.inner_norm = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.query, self.key = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.value, self.output = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.inner = nn.Sequential(
            nn.Linear(hidden_size, 2 * hidden_size), nn.GELU(), nn.Linear(2 * hidden_size, hidden_size)
        )

    def forward(self, views: Views) -> Tensor:
        """[E, H]."""
        seen, mask = views.media[views.example_of], views.media_mask[views.example_of]
        query = self._parted(self.query(self.query_norm(views.tokens)))
        key, value = self._parted(self.key(seen)), self._parted(self.value(seen))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        states = views.tokens + self.output(read.transpose(1, 2).flatten(2))
        return views.pooled(states + self.inner(self.inner_norm(states)))

    def _parted(self, states: Tensor) -> Tensor:
        """[P, T, H] -> [P, heads, T, H / heads]."""
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)


FUSIONS: Mapping[str, type[Concatenation] | type[Gate] | type[CrossAttention]] = {
    "concat": Concatenation,
    "gated": Gate,
    "cross_attention": CrossAttention,
}


class FusionHead(nn.Module):
    """Text states [P, T, H] and the batch's media -> logits [E, C].

    A learnt vector stands for a modality that an example lacks. In training each modality of an example that has both
    is dropped with probability `modality_dropout`, never both at once (Neverova et al. 2016, sec. 4.3).
    """

    def __init__(
        self, shape: BodyShape, encoder: MediaEncoder, fusion: nn.Module, outputs: int, modality_dropout: float
    ) -> None:
        super().__init__()
        width = shape.hidden_size
        self.pooling = shape.pooling
        self.modality_dropout = modality_dropout
        self.encoder = encoder
        self.text_norm = nn.LayerNorm(width)
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.no_medium = nn.Parameter(torch.randn(width) * 0.02)
        self.fusion = fusion
        self.classifier = nn.Sequential(
            nn.Dropout(shape.dropout),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(shape.dropout),
            nn.Linear(width, outputs),
        )

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The logits [E, C] of each example with what it has; in training without what is dropped."""
        has_text, has_medium = self._kept(batch)
        return self.answer(hidden, batch, self.read(batch), has_text, has_medium)

    def vectors(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Both modalities as one vector [E, H]; in training without what is dropped."""
        has_text, has_medium = self._kept(batch)
        return self._fused(hidden, batch, self.read(batch), has_text, has_medium)

    def _kept(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Which examples have their text, and which their medium, when some are dropped [E]."""
        has_text, has_medium = batch.media["text_mask"], batch.media[f"{self.encoder.modality}_mask"]
        if self.training and self.modality_dropout:
            drawn = torch.rand(batch.size, device=has_text.device)
            both, share = has_text & has_medium, self.modality_dropout
            has_text = has_text & ~(both & (drawn < share))
            has_medium = has_medium & ~(both & (drawn >= share) & (drawn < 2 * share))
        return has_text, has_medium

    def scores(self, vectors: Tensor) -> Tensor:
        """The vectors' logits [E, C]."""
        logits: Tensor = self.classifier(vectors)
        return logits

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States [E, G, H] and mask [E, G] of the pictures or recordings; only those that are there are looked at."""
        modality = self.encoder.modality
        values, there = batch.media[modality], batch.media[f"{modality}_mask"]
        lengths = batch.media.get(f"{modality}_length")
        if bool(there.all()):
            return self.encoder(values, lengths)  # type: ignore[no-any-return]
        if not bool(there.any()):
            states = self.no_medium.new_zeros(batch.size, 1, len(self.no_medium))
            return states, torch.ones_like(states[:, :, 0], dtype=torch.bool)
        states, mask = self.encoder(values[there], None if lengths is None else lengths[there])
        every = states.new_zeros(batch.size, *states.shape[1:])
        every[there] = states
        known = torch.ones(every.shape[:2], dtype=torch.bool, device=mask.device)
        known[there] = mask
        return every, known

    def answer(
        self, hidden: Tensor, batch: Batch, media: tuple[Tensor, Tensor], has_text: Tensor, has_medium: Tensor
    ) -> Tensor:
        """The logits [E, C] of examples with the modalities that `has_text` and `has_medium` [E] say."""
        return self.scores(self._fused(hidden, batch, media, has_text, has_medium))

    def _fused(
        self, hidden: Tensor, batch: Batch, media: tuple[Tensor, Tensor], has_text: Tensor, has_medium: Tensor
    ) -> Tensor:
        tokens = torch.where(has_text[batch.example_of][:, None, None], self.text_norm(hidden), self.no_text)
        states = torch.where(has_medium[:, None, None], media[0], self.no_medium)
        mask = batch.attention_mask.bool()
        fused: Tensor = self.fusion(Views(tokens, mask, batch.example_of, states, media[1], self.pooling))
        return fused
