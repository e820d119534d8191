"""What a step learns beside its labelled examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tunesmith.data.records import Example
from tunesmith.models.model import Model
from tunesmith.training.criterion import Criterion


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a step's loss, and how many texts it was made of."""

    loss: Tensor
    texts: int


class Beside(Protocol):
    """Losses of a step beside those of its labelled examples; all is a function of the model and the step's number."""

    @property
    def texts_per_step(self) -> int:
        """How many texts are looked at in each step, whether they then count or not."""

    def kept(
        self, model: Model, criterion: Criterion, examples: Sequence[Example], step: int, total: int
    ) -> Sequence[int]:
        """The places of the labelled examples of a step that are learnt from: at least one."""

    def losses(self, model: Model, criterion: Criterion, step: int) -> Iterator[Part]:
        """The parts of the further loss of a step, which add up to it; each is made when it is asked for."""
