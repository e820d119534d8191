"""What a method does between optimiser steps."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class StepRule(Protocol):
    """Changes of a model over a run. Each is a function of the step's number, so that a resumed run repeats it."""

    def before(self, step: int, total: int) -> None:
        """Before the batches of step `step` (from 0, of `total`) are computed."""

    def after(self, step: int, total: int) -> None:
        """After the weights moved, while the step's gradients are still there."""

    def penalty(self) -> Tensor | None:
        """What is added to every loss; None for nothing."""
