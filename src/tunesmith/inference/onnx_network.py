"""A trained model whose body ONNX Runtime computes; its head is the task's own layer, in torch and float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.errors import ArtifactError
from tunesmith.inference.onnx_graph import LOGITS, STATES, Graph
from tunesmith.inference.onnx_session import run_session
from tunesmith.models.model import token_types
from tunesmith.tasks.encoding import Batch, Generation, Heard

TOKENS_AT_ONCE = 4096
"""The most tokens that pass through the body at once: one text may have hundreds of windows."""


class OnnxNetwork(nn.Module):
    """What a task asks of a model, answered by a graph and a head. It runs on the CPU and learns nothing.

    Attributes:
        head: the task's layer.
        pooling: how the body was trained to turn token states into one ("mean", "cls" or "last").
    """

    def __init__(self, session: Any, head: nn.Module, graph: Graph, *, pooling: str, first_kind: int | None) -> None:
        super().__init__()
        self.head = head
        self.pooling = pooling
        self._session = session
        self._graph = graph
        self._first_kind = first_kind

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the batch, in the form that the task's head gives them (fp32)."""
        gives_classes = STATES not in self._graph.outputs
        logits: Tensor = self.head(self._asked(batch, LOGITS) if gives_classes else self.hidden(batch), batch)
        return logits

    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state of every token, [P, T, H]."""
        return self._asked(batch, STATES)

    def generate(self, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
        """An encoder writes nothing.

        Raises:
            ArtifactError: always.
        """
        raise ArtifactError("A model in the form onnx writes no text.", where="generate", to_do="Serve it with torch.")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device("cpu")

    @property
    def body_learns(self) -> bool:
        """A graph's weights are constants."""
        return False

    def _asked(self, batch: Batch, output: str) -> Tensor:
        inputs = graph_inputs(batch, self._graph.inputs, self._first_kind)
        pieces, length = batch.input_ids.shape
        rows = max(1, TOKENS_AT_ONCE // max(1, length))
        if pieces <= rows:
            return run_session(self._session, (output,), inputs)[0]
        parts = [
            run_session(self._session, (output,), {name: value[start : start + rows] for name, value in inputs.items()})
            for start in range(0, pieces, rows)
        ]
        return torch.cat([part for (part,) in parts])


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
