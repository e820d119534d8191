"""The same random numbers again, so that several passes drop the same units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Replay:
    """Where torch's generators stood, on the CPU and on the accelerator that computes."""

    cpu: Tensor
    device: torch.device
    accelerator: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> Self:
        """Where they stand."""
        own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state()
        return cls(torch.get_rng_state(), device, own)

    def again(self) -> None:
        """Put them back, so that what is drawn next was drawn then."""
        torch.set_rng_state(self.cpu)
        if self.accelerator is not None:
            torch.get_device_module(self.device).set_rng_state(self.accelerator)


def beside(device: torch.device) -> tuple[Replay, torch.Generator]:
    """Where the generators stand, and one of its own for draws that shall not move them.

    It follows from the step's seed as all else does.
    """
    replay = Replay.now(device)
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    replay.again()
    return replay, generator
