"""Small networks that turn pictures and recordings into states beside the text's; they are trained from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = 4
"""Stages of a network; each halves height and width."""

GROUPS = 4
"""Most groups of channels, each normalised by itself."""

_PER_GROUP = 4
"""Fewest channels of a group: one that is normalised by itself no longer shows how bright or red a whole picture is."""

_AT_ONCE = 64
"""Pictures or recordings that pass through at once when nothing is learnt."""


class ExampleNorm(nn.Module):
    """Group norm of each picture or recording by itself (Wu and He 2018, sec. 3), where padding does not count.

    Places keep how they differ from each other, which a norm of each place would take away, and no example depends on
    the others of its batch, as it would with batch norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        most = min(GROUPS, max(1, channels // _PER_GROUP))
        self.groups = next(count for count in range(most, 0, -1) if channels % count == 0)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor, real: Tensor | None) -> Tensor:
        """Normalise [E, C, H, W]; `real` [E, 1, 1, W] is zero in the padding."""
        if real is None:
            return F.group_norm(values, self.groups, self.weight, self.bias)
        grouped = _only(values, real).view(len(values), self.groups, -1, *values.shape[2:])
        mask = real[:, :, None]
        count = mask.sum((2, 3, 4), keepdim=True) * grouped.shape[2] * grouped.shape[3]
        centred = (grouped - grouped.sum((2, 3, 4), keepdim=True) / count) * mask
        scaled = centred * (centred.pow(2).sum((2, 3, 4), keepdim=True) / count + 1e-5).rsqrt()
        return scaled.view_as(values) * self.weight[:, None, None] + self.bias[:, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, sec. 3.3), with group norms; height and width are halved."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, stride=2, bias=False)
        self.first_norm, self.second_norm = ExampleNorm(after), ExampleNorm(after)
        # At first each block hands on its shortcut alone: so deep networks learn sooner (Goyal et al. 2017, sec. 5.1).
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, values: Tensor, real: Tensor | None) -> Tensor:
        """[E, C, H, W] -> [E, C', H / 2, W / 2]; `real` [E, 1, 1, W / 2] is zero where the result is padding."""
        inner = _only(F.relu(self.first_norm(self.first(values), real)), real)
        inner = self.second_norm(self.second(inner), real)
        return _only(F.relu(inner + self.shortcut(values)), real)


class MediaEncoder(nn.Module):
    """A residual network of four stages over a picture, or over a recording's log-mel spectrogram.

    A place's state is made of what all stages see there (hypercolumns, Hariharan et al. 2015, sec. 3). So colours and
    loudness reach the task by a short way: beside a text that answers most of it, a small network would hardly learn
    them through all its stages.

    Attributes:
        modality: "image" or "audio".
        bands: how many bands of pitch a spectrogram has; 0 for pictures of three colours.
    """

    def __init__(self, modality: str, bands: int, channels: int, hidden_size: int) -> None:
        super().__init__()
        self.modality = modality
        self.bands = bands
        widths = [channels * 2**stage for stage in range(STAGES)]
        self.stem = nn.Conv2d(1 if bands else 3, channels, 3, padding=1, bias=False)
        self.stem_norm = ExampleNorm(channels)
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after) for before, after in zip([channels, *widths], widths, strict=False)
        )
        # What is heard depends on the pitch where it is heard, and so each band left has weights of its own.
        self.output = nn.Linear((channels + sum(widths)) * -(-max(bands, 1) // 2**STAGES), hidden_size)
        self.output_norm = nn.LayerNorm(hidden_size)

    def forward(self, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Pictures [E, 3, H, W] of bytes, or spectrograms [E, F, T] with their lengths [E] -> states and their mask.

        The states [E, G, hidden] are those of a picture's places, row by row, or of a recording's moments; the mask
        [E, G] is False for padding.
        """
        if not self.training and len(values) > _AT_ONCE:
            parts = [
                self.forward(
                    values[start : start + _AT_ONCE], None if lengths is None else lengths[start : start + _AT_ONCE]
                )
                for start in range(0, len(values), _AT_ONCE)
            ]
            return torch.cat([states for states, _ in parts]), torch.cat([mask for _, mask in parts])
        grid = values[:, None] if lengths is not None else values.float() / 127.5 - 1
        real = _real(lengths, grid.shape[-1])
        grid = _only(F.relu(self.stem_norm(self.stem(grid), real)), real)
        seen = [grid]
        for block in self.blocks:
            seen = [_halved(one, real) for one in seen]
            lengths = None if lengths is None else (lengths + 1) // 2
            real = _real(lengths, (grid.shape[-1] + 1) // 2)
            grid = block(grid, real)
            seen.append(grid)
        column = torch.cat(seen, 1)
        places = column.flatten(1, 2) if self.bands else column.flatten(2)
        states: Tensor = self.output_norm(self.output(places.movedim(1, -1)))
        numbers = torch.arange(states.shape[1], device=states.device)
        mask = torch.ones_like(states[:, :, 0], dtype=torch.bool) if lengths is None else numbers < lengths[:, None]
        return states, mask


def _real(lengths: Tensor | None, width: int) -> Tensor | None:
    """[E] -> [E, 1, 1, width]: one where a recording has something, zero behind its end; None for pictures."""
    if lengths is None:
        return None
    return (torch.arange(width, device=lengths.device) < lengths[:, None])[:, None, None].float()


def _halved(values: Tensor, real: Tensor | None) -> Tensor:
    """[E, C, H, W] -> [E, C, H / 2, W / 2], each the mean of up to four places that are no padding."""
    mean = F.avg_pool2d(values, 2, ceil_mode=True)
    if real is None:
        return mean
    share = F.avg_pool2d(real, (1, 2), ceil_mode=True)
    return mean / share.clamp(min=0.5)


def _only(values: Tensor, real: Tensor | None) -> Tensor:
    """The values, with zeros in the padding: what a convolution takes to lie outside."""
    return values if real is None else values * real
