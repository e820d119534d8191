"""What objectives keep from step to step, so that checkpoints can hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from tunesmith.data.subgroups import Subgroups
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task


class Memory(Protocol):
    """What an objective remembers of one training; a resumed run goes on from its `state` to the same bits."""

    def before(self, batches: Sequence[Batch]) -> None:
        """Before the losses of a step's micro-batches are computed."""

    def after(self) -> None:
        """After the weights moved."""

    def noted(self) -> Mapping[str, float]:
        """What the log shows of the step."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep."""

    def load_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take up what `state` returned."""


@runtime_checkable
class Remembering(Protocol):
    """An objective with a memory."""

    def memory(self, model: Model, task: Task, subgroups: Subgroups | None) -> Memory | None:
        """The memory of a model's training: made when it is first asked for, the same one afterwards.

        None where these settings need none.

        Raises:
            TrainingError: the subgroups of the training examples are not what the objective needs.
        """


def memory_of(objective: object, model: Model, task: Task, subgroups: Subgroups | None) -> Memory | None:
    """The objective's memory, if it has one."""
    return objective.memory(model, task, subgroups) if isinstance(objective, Remembering) else None


@dataclass(frozen=True)
class Memories:
    """The memories of the parts of a stack; each part's state is kept under its number."""

    parts: Sequence[Memory | None]

    def before(self, batches: Sequence[Batch]) -> None:
        """Before the losses of a step's micro-batches are computed."""
        for part in self._there():
            part.before(batches)

    def after(self) -> None:
        """After the weights moved."""
        for part in self._there():
            part.after()

    def noted(self) -> Mapping[str, float]:
        """What the log shows of the step."""
        return {name: value for part in self._there() for name, value in part.noted().items()}

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep."""
        return {
            f"{place}.{name}": value
            for place, part in enumerate(self.parts)
            if part is not None
            for name, value in part.state().items()
        }

    def load_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take up what `state` returned."""
        for place, part in enumerate(self.parts):
            if part is not None:
                start = f"{place}."
                part.load_state({name.removeprefix(start): t for name, t in kept.items() if name.startswith(start)})

    def _there(self) -> list[Memory]:
        return [part for part in self.parts if part is not None]
