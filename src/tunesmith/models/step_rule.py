"""What a method does between optimiser steps."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class StepRule(Protocol):
    """Changes of a model over a run, by the step's number and what `state` holds, so that a resumed run is the same."""

    def before(self, step: int, total: int) -> None:
        """Before the batches of step `step` (from 0, of `total`) are computed."""

    def after(self, step: int, total: int) -> None:
        """After the weights moved, while the step's gradients are still there."""

    def penalty(self) -> Tensor | None:
        """What is added to every loss; None for nothing."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep besides the weights."""

    def load_state(self, kept: dict[str, Tensor]) -> None:
        """Take up what `state` returned."""
