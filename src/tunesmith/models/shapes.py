"""The shape of a body that is smaller than its configuration says: what was taken out, and how it is rebuilt."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.errors import ModelError
from tunesmith.models.anatomy import layer_list

_KEPT = "kept_heads"


@dataclass(frozen=True)
class Shape:
    """What each layer has left.

    Attributes:
        heads: per layer the attention heads that stayed, by their number before any was taken out.
        feed_forward: per layer how many neurons its feed-forward block has.
    """

    heads: tuple[tuple[int, ...], ...]
    feed_forward: tuple[int, ...]

    def plain(self) -> dict[str, object]:
        """The shape as plain values."""
        return {"heads": [list(one) for one in self.heads], "feed_forward": list(self.feed_forward)}

    @classmethod
    def of_plain(cls, value: object) -> Shape:
        """The shape that `plain` wrote.

        Raises:
            ModelError: it is none.
        """
        try:
            given: Mapping[str, Any] = dict(value)  # type: ignore[call-overload]
            heads = tuple(tuple(int(head) for head in layer) for layer in given["heads"])
            widths = tuple(int(width) for width in given["feed_forward"])
        except (TypeError, ValueError, KeyError) as error:
            raise _unfit("it cannot be read") from error
        if len(heads) != len(widths) or any(not one or min(one) < 0 for one in heads) or min(widths, default=0) < 1:
            raise _unfit("its layers have no heads or no neurons")
        return cls(heads, widths)


@dataclass(frozen=True)
class _Names:
    """How a kind of body names the parts of a layer."""

    attention: str
    projections: tuple[str, str, str]
    output: str
    widening: str
    narrowing: str


# Of BERT, RoBERTa and ELECTRA; MPNet; DistilBERT.
_KINDS = (
    _Names("attention.self", ("query", "key", "value"), "attention.output.dense", "intermediate.dense", "output.dense"),
    _Names("attention.attn", ("q", "k", "v"), "attention.attn.o", "intermediate.dense", "output.dense"),
    _Names("attention", ("q_lin", "k_lin", "v_lin"), "attention.out_lin", "ffn.lin1", "ffn.lin2"),
)


@dataclass(frozen=True)
class Block:
    """The parts of a layer from which heads and neurons can be taken.

    Attributes:
        attention: the module that computes attention.
        projections: of queries, keys and values; each head has `head_size` rows of each.
        output: the layer after the heads, with `head_size` columns for each.
        widening, narrowing: the two layers of the feed-forward block, with a row and a column for each neuron.
        head_size: numbers per head.
    """

    attention: nn.Module
    projections: tuple[nn.Linear, nn.Linear, nn.Linear]
    output: nn.Linear
    widening: nn.Linear
    narrowing: nn.Linear
    head_size: int

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads that are left, by their first numbers."""
        known = dict(self.attention.named_buffers(recurse=False)).get(_KEPT)
        return tuple(range(self.output.in_features // self.head_size)) if known is None else tuple(known.tolist())

    @property
    def neurons(self) -> int:
        """How many neurons the feed-forward block has."""
        return self.narrowing.in_features


def blocks_of(module: PreTrainedModel, *, beneath: bool = False) -> list[Block]:
    """The layers of a body, with the parts from which heads and neurons can be taken.

    With `beneath` a layer that a method put something around is the layer within, which does not give its output.

    Raises:
        ModelError: its parts have other names than those of BERT, RoBERTa, ELECTRA, MPNet and DistilBERT.
    """
    unknown = ModelError(
        f"The heads and feed-forward blocks of a {type(module).__name__} are not known to Tunesmith.",
        where="model",
        to_do="Leave head_prune and feed_forward_prune out, or choose a BERT, RoBERTa, ELECTRA, MPNet or DistilBERT.",
    )
    if module.config.is_encoder_decoder:
        raise unknown
    _, layers = layer_list(module)
    size = int(module.config.hidden_size) // int(module.config.num_attention_heads)
    found = []
    for layer in layers:
        named = dict(layer.named_modules())
        kind = next((one for one in _KINDS if set(_linear_names(one)) <= set(named)), None)
        parts = [named[name] for name in _linear_names(kind)] if kind is not None else []
        if beneath:
            parts = [dict(part.named_children()).get("base_layer", part) for part in parts]
        if kind is None or not all(isinstance(part, nn.Linear) for part in parts):
            raise unknown
        query, key, value, output, widening, narrowing = parts
        found.append(Block(named[kind.attention], (query, key, value), output, widening, narrowing, size))
    return found


def _linear_names(kind: _Names) -> list[str]:
    return [*(f"{kind.attention}.{name}" for name in kind.projections), kind.output, kind.widening, kind.narrowing]


def shape_of(module: PreTrainedModel) -> Shape | None:
    """The shape of a body; None where it is what its configuration says, or nothing can be taken out of it."""
    try:
        blocks = blocks_of(module, beneath=True)
    except ModelError:
        return None
    settings = module.config.to_dict()
    width = settings.get("intermediate_size", settings.get("hidden_dim"))
    whole = tuple(range(int(module.config.num_attention_heads)))
    shape = Shape(tuple(block.heads for block in blocks), tuple(block.neurons for block in blocks))
    is_usual = all(heads == whole for heads in shape.heads) and set(shape.feed_forward) <= {width}
    return None if is_usual else shape


def reshape(module: PreTrainedModel, shape: Shape) -> None:
    """Give a body as its configuration says another shape; its weights are to be filled in afterwards.

    Raises:
        ModelError: the body has other layers, or fewer heads or neurons.
    """
    blocks = blocks_of(module)
    if len(blocks) != len(shape.heads):
        raise _unfit(f"it has {len(shape.heads)} layers, and the configuration {len(blocks)}")
    for block, heads, neurons in zip(blocks, shape.heads, shape.feed_forward, strict=True):
        if max(heads) >= len(block.heads) or neurons > block.neurons:
            raise _unfit("it has heads or neurons that the configuration has not")
        keep_heads(block, heads)
        keep_neurons(block, torch.arange(neurons))


def keep_heads(block: Block, heads: Sequence[int]) -> None:
    """Take all heads out but these, which are named by their first numbers."""
    places = [block.heads.index(head) for head in heads]
    size = block.head_size
    kept = torch.tensor([place * size + number for place in places for number in range(size)], dtype=torch.long)
    for projection in block.projections:
        _keep_rows(projection, kept)
    _keep_columns(block.output, kept)
    attention = block.attention
    takes_bias = "position_bias" in inspect.signature(attention.forward).parameters
    if takes_bias and _KEPT not in dict(attention.named_buffers(recurse=False)):
        # MPNet computes its bias of distances once for all layers, for every head that the configuration has.
        attention.register_forward_pre_hook(_with_own_bias)
    attention.register_buffer(_KEPT, torch.tensor(list(heads), device=block.output.weight.device), persistent=False)
    for name, value in (("num_attention_heads", len(heads)), ("n_heads", len(heads)), ("all_head_size", len(kept))):
        if name in vars(attention):
            setattr(attention, name, value)


def keep_neurons(block: Block, neurons: Tensor) -> None:
    """Take all neurons out of a feed-forward block but those at these places."""
    _keep_rows(block.widening, neurons)
    _keep_columns(block.narrowing, neurons)


def keep_layers(module: PreTrainedModel, layers: Sequence[int]) -> None:
    """Take all layers out of a body but these, and number those that stay anew; embeddings and output stay.

    Raises:
        ModelError: the body's layers are not known.
    """
    name, known = layer_list(module)
    parent, _, last = name.rpartition(".")
    stay = [known[number] for number in layers]
    setattr(module.get_submodule(parent), last, nn.ModuleList(stay))
    for number, layer in enumerate(stay):
        for part in layer.modules():
            if "layer_idx" in vars(part):
                setattr(part, "layer_idx", number)  # noqa: B010  # a foreign module's own number


def say_layers(config: Any, layers: Sequence[int]) -> None:
    """Let a configuration say that these layers are left."""
    kinds = config.to_dict().get("layer_types")
    if isinstance(kinds, list):
        config.layer_types = [kinds[number] for number in layers]
    config.num_hidden_layers = len(layers)


def _with_own_bias(attention: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if len(inputs) < 3 or not isinstance(inputs[2], Tensor):
        return None
    states, mask, bias, *rest = inputs
    return (states, mask, bias[:, attention.get_buffer(_KEPT)], *rest)


def _keep_rows(linear: nn.Linear, rows: Tensor) -> None:
    rows = rows.to(linear.weight.device)
    linear.weight = nn.Parameter(linear.weight.detach()[rows].clone())
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[rows].clone())
    linear.out_features = len(rows)


def _keep_columns(linear: nn.Linear, columns: Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[:, columns.to(linear.weight.device)].clone())
    linear.in_features = len(columns)


def _unfit(why: str) -> ModelError:
    return ModelError(
        f"The shape that the artifact names does not fit its model: {why}.",
        where="artifact.json, shape",
        to_do="Copy the artifact again from where it was made.",
    )
