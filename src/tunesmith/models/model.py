"""Model = backbone + head."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tunesmith.models.anatomy import body_dropout, embedding_block, extend_token_types
from tunesmith.models.backbone import Backbone
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import Batch

INFERENCE_TOKENS = 16384
"""The most tokens that pass through the body at once when nothing is learnt: one text may have hundreds of windows."""


class TokenKinds(nn.Module):
    """An added embedding of token kinds, for backbones without token-type embeddings to extend; starts as zero."""

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(count + 1, hidden_size)
        nn.init.zeros_(self.table.weight)

    def forward(self, embedded: Tensor, kinds: Tensor) -> Tensor:
        """Add the kinds' vectors to the word embeddings [P, T, H]."""
        vectors: Tensor = self.table(kinds)
        return embedded + vectors.to(embedded.dtype)


class Model(nn.Module):
    """A pre-trained body and a task's head.

    Attributes:
        body: the pre-trained network.
        head: the task's layer.
        kinds: the added embedding of token kinds, or None.
        config: the body's configuration before token kinds were added, from which it is built again.
        pooling: how the backbone was trained to turn token states into one ("mean", "cls" or "last").
        lacking: names of the parameters that the pre-trained checkpoint did not hold; they always learn.
    """

    def __init__(self, backbone: Backbone, task: Task, dropout: float | None = None) -> None:
        super().__init__()
        self.config = copy.deepcopy(backbone.module.config)
        self.pooling = backbone.pooling
        self.body = backbone.module
        rate = dropout if dropout is not None else body_dropout(backbone.module)
        self.head = task.build_head(backbone.hidden_size, backbone.pooling, rate)
        self._first_kind = extend_token_types(backbone.module, task.token_types) if task.token_types else None
        added = bool(task.token_types) and self._first_kind is None
        self.kinds = TokenKinds(task.token_types, backbone.hidden_size) if added else None
        pretrained = {f"body.{name}" for name, _ in backbone.module.named_parameters()} - {
            f"body.{name}" for name in backbone.missing
        }
        self.lacking = frozenset(name for name, _ in self.named_parameters() if name not in pretrained)

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the batch, in the form that the task's head gives them (fp32)."""
        logits: Tensor = self.head(self.hidden(batch).float(), batch)
        return logits

    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state of every token, [P, T, H]."""
        rows = max(1, INFERENCE_TOKENS // max(1, batch.input_ids.shape[1]))
        if self.training or len(batch.input_ids) <= rows:
            return self._hidden(batch)
        starts = range(0, len(batch.input_ids), rows)
        return torch.cat([self._hidden(batch.rows(start, start + rows)) for start in starts])

    def _hidden(self, batch: Batch) -> Tensor:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        kinds = torch.zeros_like(batch.input_ids) if batch.token_kinds is None else batch.token_kinds
        if self._first_kind is not None:
            inputs["token_type_ids"] = torch.where(kinds > 0, kinds - 1 + self._first_kind, 0)
        if self.kinds is None:
            return self._states(inputs)
        table = self.kinds
        hook = self.word_embeddings.register_forward_hook(lambda _module, _inputs, output: table(output, kinds))
        try:
            return self._states(inputs)
        finally:
            hook.remove()

    def _states(self, inputs: dict[str, Tensor]) -> Tensor:
        states: Tensor = self.body(**inputs).last_hidden_state
        return states

    @property
    def word_embeddings(self) -> nn.Module:
        """The table of word vectors (its output is where adversarial objectives perturb)."""
        table: nn.Module = self.body.get_input_embeddings()
        return table

    @property
    def embedding_block(self) -> nn.Module | None:
        """The body's embeddings with their normalisation, where the body keeps them in one module."""
        return embedding_block(self.body)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
