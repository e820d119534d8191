"""A trained model whose body is a graph in another runtime; its head is the task's own layer, in torch and float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from tunesmith.errors import ArtifactError
from tunesmith.inference.traced import LOGITS, STATES
from tunesmith.models.model import token_types
from tunesmith.tasks.encoding import Batch, Generation, Heard


class GraphProgram(Protocol):
    """A graph, ready to be asked.

    Attributes:
        runtime: the module that computes it.
    """

    runtime: ClassVar[str]

    def ask(self, output: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """One of its outputs, [P, ...], for inputs [P, T]."""


class GraphNetwork(nn.Module):
    """What a task asks of a model, answered by a graph and a head. It runs on the CPU and learns nothing.

    Attributes:
        head: the task's layer.
        pooling: how the body was trained to turn token states into one ("mean", "cls" or "last").
    """

    def __init__(
        self,
        program: GraphProgram,
        head: nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        pooling: str,
        first_kind: int | None,
    ) -> None:
        super().__init__()
        self.head = head
        self.pooling = pooling
        self._program = program
        self._inputs = tuple(inputs)
        self._gives_classes = STATES not in outputs
        self._first_kind = first_kind

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the batch, in the form that the task's head gives them (fp32)."""
        logits: Tensor = self.head(self._asked(batch, LOGITS) if self._gives_classes else self.hidden(batch), batch)
        return logits

    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state of every token, [P, T, H]."""
        return self._asked(batch, STATES)

    def generate(self, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
        """An encoder writes nothing.

        Raises:
            ArtifactError: always.
        """
        raise ArtifactError("A model that is a graph writes no text.", where="generate", to_do="Serve it with torch.")

    @property
    def runtime(self) -> str:
        """The module that computes the body."""
        return self._program.runtime

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device("cpu")

    @property
    def body_learns(self) -> bool:
        """A graph's weights are constants."""
        return False

    def _asked(self, batch: Batch, output: str) -> Tensor:
        return self._program.ask(output, graph_inputs(batch, self._inputs, self._first_kind))


def graph_inputs(batch: Batch, names: Sequence[str], first_kind: int | None) -> dict[str, Tensor]:
    """What a graph with these inputs reads of a batch, each [P, T]."""
    types, kinds, ids = token_types(batch, first_kind), batch.token_kinds, batch.input_ids
    given = {
        "input_ids": ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": torch.zeros_like(ids) if types is None else types,
        "token_kinds": torch.zeros_like(ids) if kinds is None else kinds,
    }
    return {name: given[name] for name in names}
