"""Model = backbone + head."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from tunesmith.models.anatomy import (
    body_dropout,
    core,
    decoder_inputs,
    embedding_block,
    extend_token_types,
    token_type_table,
    word_table,
)
from tunesmith.models.backbone import Backbone
from tunesmith.models.generation import written_tokens
from tunesmith.models.packing import packed_inputs
from tunesmith.models.quantization import Quantized
from tunesmith.models.soft_prompt import SoftPrompt
from tunesmith.models.step_rule import StepRule
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import Batch, Generation, Heard
from tunesmith.tasks.heads import BodyShape

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


def token_types(batch: Batch, first_kind: int | None) -> Tensor | None:
    """What the body reads as token types [P, T]: kinds of token from `first_kind` on, or which text of a pair it is."""
    if first_kind is None:
        return batch.segments
    kinds = torch.zeros_like(batch.input_ids) if batch.token_kinds is None else batch.token_kinds
    return torch.where(kinds > 0, kinds - 1 + first_kind, 0)


class Model(nn.Module):
    """A pre-trained body and a task's head.

    Attributes:
        body: the pre-trained network.
        head: the task's layer.
        kinds: the added embedding of token kinds, or None.
        config: the body's configuration before token kinds were added, from which it is built again.
        kind: what it is: a bare body, or one with an output layer.
        shape: what the head was told of the body when it was made.
        first_kind: the token type that stands for the first kind of token, where the body's own table was extended.
        pooling: how the backbone was trained to turn token states into one ("mean", "cls" or "last").
        lacking: names of the parameters that the pre-trained checkpoint did not hold; they always learn.
        plain: names of all that the model consists of before a method adds anything.
        rule: what the method does between steps, or None.
        exact: parts of the names of weights that stay in float32 when the body computes in bfloat16.
        soft_prompt: learnt vectors before the text, or None.
        quantized: what quantising its frozen weights did, or None.
        tokenizer: the body's own.
    """

    def __init__(self, backbone: Backbone, task: Task, dropout: float | None = None) -> None:
        super().__init__()
        self.config = copy.deepcopy(backbone.module.config)
        self.pooling = backbone.pooling
        self.body = backbone.module
        self.kind = backbone.kind
        rate = dropout if dropout is not None else body_dropout(backbone.module)
        words = cast(nn.Embedding, backbone.module.get_input_embeddings()).num_embeddings
        self.shape = BodyShape(
            backbone.hidden_size, backbone.pooling, rate, words, backbone.classes, self.gives_classes
        )
        self.head = task.build_head(self.shape)
        came = dict(backbone.head) if backbone.classes else {}
        if came:
            self.head.load_state_dict(came)
        self.first_kind = extend_token_types(backbone.module, task.token_types) if task.token_types else None
        added = bool(task.token_types) and self.first_kind is None
        self.kinds = TokenKinds(task.token_types, backbone.hidden_size) if added else None
        knows_kinds = self._take_token_kinds(backbone.token_kinds)
        pretrained = {f"body.{name}" for name, _ in backbone.module.named_parameters()} - {
            f"body.{name}" for name in backbone.missing
        }
        pretrained |= {f"head.{name}" for name in came}
        pretrained |= {"kinds.table.weight"} if knows_kinds else set()
        self.lacking = frozenset(name for name, _ in self.named_parameters() if name not in pretrained)
        self.plain = frozenset(self.state_dict())
        self.rule: StepRule | None = None
        self.exact: tuple[str, ...] = ()
        self.soft_prompt: SoftPrompt | None = None
        self.quantized: Quantized | None = None
        self.tokenizer = backbone.tokenizer

    def _take_token_kinds(self, known: Tensor | None) -> bool:
        """Take the embeddings of token kinds that an artifact's body learnt, and say whether they fit."""
        first = self.first_kind or 0
        added = None if self.kinds is None else self.kinds.table
        table = added if self.first_kind is None else token_type_table(self.body)
        if table is None or known is None or known.shape != table.weight[first:].shape:
            return False
        with torch.no_grad():
            table.weight[first:] = known
        return True

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the batch, in the form that the task's head gives them (fp32)."""
        body = self.hidden if self.kind == "encoder" else self.vocabulary_logits
        logits: Tensor = self.head((self.class_logits if self.gives_classes else body)(batch).float(), batch)
        return logits

    @property
    def gives_classes(self) -> bool:
        """Whether the body ends in a classifier of its own, which reads the places that it was made to read."""
        return self.kind == "classifier"

    def class_logits(self, batch: Batch) -> Tensor:
        """The logits of the body's own classifier [P, C]."""
        return self._in_parts(batch, lambda part: self._run(part, self.body).logits)

    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state of every token, [P, T, H]."""
        return self._in_parts(batch, lambda part: self._run(part, core(self.body)).last_hidden_state)

    def vocabulary_logits(self, batch: Batch) -> Tensor:
        """The body's own logits over its vocabulary: at the batch's `unit_positions` [P, U, V], or at its targets.

        The output layer sees only the places that are asked for: over all of them its logits would be the largest
        tensor of the run. An encoder-decoder has its logits where its targets stand.
        """
        if self.kind == "seq2seq":
            return self._in_parts(batch, lambda part: self._run(part, self.body).logits)

        return self._in_parts(batch, self._logits_at_units)

    def generate(self, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
        """The tokens that the body writes after each piece (or, for an encoder-decoder, from it).

        The end token and what follows it are left out. `heard` is told each token of a single piece at once.
        """
        return written_tokens(self.body, batch, how, heard)

    def _logits_at_units(self, batch: Batch) -> Tensor:
        def gather(_module: nn.Module, _inputs: object, output: Any) -> Any:
            states = output.last_hidden_state
            index = batch.unit_positions[:, :, None].expand(-1, -1, states.shape[-1])
            output.last_hidden_state = states.gather(1, index)
            return output

        hook = core(self.body).register_forward_hook(gather)
        try:
            logits: Tensor = self._run(batch, self.body).logits
            return logits
        finally:
            hook.remove()

    def _in_parts(self, batch: Batch, ask: Callable[[Batch], Tensor]) -> Tensor:
        rows = max(1, INFERENCE_TOKENS // max(1, batch.input_ids.shape[1]))
        if self.training or len(batch.input_ids) <= rows:
            return ask(batch)
        starts = range(0, len(batch.input_ids), rows)
        return torch.cat([ask(batch.rows(start, start + rows)) for start in starts])

    def _run(self, batch: Batch, body: nn.Module) -> Any:
        inputs: dict[str, Tensor] = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if self.kind == "seq2seq":
            assert batch.targets is not None, "an encoder-decoder reads the answer as it is written"
            return body(**inputs, **decoder_inputs(self.body, batch.targets), use_cache=False)
        if batch.blocks is not None:
            inputs |= packed_inputs(batch.blocks, causal=self.kind == "causal_lm")
        types = token_types(batch, self.first_kind)
        return self.asked(body, inputs if types is None else {**inputs, "token_type_ids": types}, batch.token_kinds)

    def asked(self, body: nn.Module, inputs: dict[str, Tensor], kinds: Tensor | None) -> Any:
        """What the body (or its core) gives for its own inputs, with what was put around it: kinds, learnt tokens."""
        if self.soft_prompt is not None:
            return self._with_soft_prompt(self.soft_prompt, inputs, body)
        if self.kinds is None:
            return body(**inputs)
        table, ids = self.kinds, inputs["input_ids"]
        given = torch.zeros_like(ids) if kinds is None else kinds
        hook = self.word_embeddings.register_forward_hook(lambda _module, _inputs, output: table(output, given))
        try:
            return body(**inputs)
        finally:
            hook.remove()

    def _with_soft_prompt(self, prompt: SoftPrompt, inputs: dict[str, Tensor], body: nn.Module) -> Any:
        """The body's output, without the states of the learnt tokens."""

        def take_off(_module: nn.Module, _inputs: object, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[:, prompt.tokens :]
            return output

        hook = core(self.body).register_forward_hook(take_off, prepend=True)
        try:
            with prompt.put_in(self.word_embeddings):
                return body(**prompt.extend(inputs, body))
        finally:
            hook.remove()

    @property
    def word_embeddings(self) -> nn.Module:
        """The table of word vectors (its output is where adversarial objectives perturb); the encoder's of two."""
        return word_table(self.body)

    @property
    def embedding_block(self) -> nn.Module | None:
        """The body's embeddings with their normalisation, where the body keeps them in one module."""
        return embedding_block(self.body)

    @property
    def body_learns(self) -> bool:
        """Whether a weight of the body is open to learning."""
        return any(parameter.requires_grad for parameter in self.body.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def count_parameters(model: Model) -> tuple[int, int]:
    """How many numbers the model has, and how many of them learn."""
    every = list(model.parameters())
    uncounted = model.quantized.uncounted if model.quantized else 0
    return sum(p.numel() for p in every) + uncounted, sum(p.numel() for p in every if p.requires_grad)
