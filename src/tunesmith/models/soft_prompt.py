"""Learnt vectors before a text's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tunesmith.models.anatomy import core, first_position


class SoftPrompt(nn.Module):
    """Vectors [N, H] that stand before the text's word vectors; they begin as those of frequent words of the table."""

    def __init__(self, table: nn.Embedding, tokens: int) -> None:
        super().__init__()
        # Vocabularies begin with special tokens and letters; whole words come after them, the frequent ones first.
        rows = torch.randint(min(1000, table.num_embeddings // 4), min(5000, table.num_embeddings), (tokens,))
        self.vectors = nn.Parameter(table.weight.detach()[rows.to(table.weight.device)].float().clone())

    @property
    def tokens(self) -> int:
        """N, the number of vectors."""
        return len(self.vectors)

    def extend(self, inputs: dict[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
        """The body's inputs with N places before the text.

        Where places are learnt, the vectors share the numbers of the first ones with the text, which so keeps its own
        and its whole length; where they are relative, the text comes after the vectors.
        """
        ids = inputs["input_ids"]
        before = ids.new_zeros(ids.shape[0], self.tokens)  # len() would be a constant in an exported graph
        longer = dict(inputs)
        longer["input_ids"] = torch.cat([before, ids], 1)
        longer["attention_mask"] = _seen(inputs["attention_mask"], before)
        if "token_type_ids" in inputs:
            longer["token_type_ids"] = torch.cat([before, inputs["token_type_ids"]], 1)
        elif any(name.endswith("token_type_embeddings") for name, _ in core(body).named_modules()):
            longer["token_type_ids"] = torch.zeros_like(longer["input_ids"])
        own = torch.arange(self.tokens, device=ids.device)
        places = inputs.get("position_ids", torch.arange(ids.shape[1], device=ids.device).expand_as(ids))
        own = own.expand_as(before)
        if any(name.endswith("position_embeddings") for name, _ in core(body).named_modules()):
            first = first_position(body)
            longer["position_ids"] = torch.cat([own % 128, places], 1) + first
        else:
            longer["position_ids"] = torch.cat([own, places + self.tokens], 1)
        return longer

    @contextmanager
    def put_in(self, table: nn.Module) -> Iterator[None]:
        """Let the table give the learnt vectors for the first N places of whatever is longer than one token."""

        def replace(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            if output.shape[1] == 1:  # a further token of an answer that is being written
                return output
            own = self.vectors.to(output.dtype).expand(output.shape[0], -1, -1)
            return torch.cat([own, output[:, self.tokens :]], 1)

        hook = table.register_forward_hook(replace)
        try:
            yield
        finally:
            hook.remove()


def _seen(mask: Tensor, before: Tensor) -> Tensor:
    """The mask with the learnt places [P, N] before the text, which every token sees.

    A mask [P, 1, T, T] is that of packed rows, which only decoders read: a learnt token there sees those before it.
    """
    if mask.dim() == 2:
        return torch.cat([torch.ones_like(before), mask], 1)
    count, length = before.shape[1], mask.shape[-1]
    above = before.new_ones(count, count).tril().bool()
    above = torch.cat([above, above.new_zeros(count, length)], 1).expand(len(mask), 1, -1, -1)
    return torch.cat([above, torch.cat([mask.new_ones(len(mask), 1, length, count), mask], 3)], 2)
