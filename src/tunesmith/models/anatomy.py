"""How transformers names the parts of a body: layers, embeddings, attention, dropout."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tunesmith.errors import ModelError, RecipeError
from tunesmith.tasks.encoding import IGNORED

# Of BERT and its kin; DistilBERT; Llama and its kin (attention alone); ModernBERT; GPT-2; T5.
_DROPOUT_FIELDS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("embedding_dropout", "mlp_dropout", "embd_pdrop", "attn_pdrop", "resid_pdrop"),
    "dropout_rate",
)
_LAYER_LISTS = ("encoder.layer", "transformer.layer", "encoder.layers", "layers", "layer", "h")
_ATTENTION_PAIRS = (
    *(("query", "value"), ("q_lin", "v_lin"), ("query_proj", "value_proj")),
    *(("q_proj", "v_proj"), ("attn.q", "attn.v"), ("Wqkv",), ("q", "v")),
)
# Of BERT and its kin; DistilBERT; MPNet; Llama and its kin; BART and its kin; ModernBERT; T5.
_ATTENTION_OUTPUTS = (
    *("attention.output.dense", "attention.out_lin", "attention.attn.o", "self_attn.o_proj", "self_attn.out_proj"),
    *("encoder_attn.out_proj", "attn.Wo", "SelfAttention.o", "EncDecAttention.o"),
)
_FEED_FORWARD_OUTPUTS = ("output.dense", "ffn.lin2", "mlp.down_proj", "fc2", "mlp.Wo", "DenseReluDense.wo")
_KEYS = ("key", "k_lin", "key_proj", "k_proj", "attn.k", "k")
_VALUES = ("value", "v_lin", "value_proj", "v_proj", "attn.v", "v")
_NORMS = ("LayerNorm", "RMSNorm", "T5LayerNorm")


def set_dropout(config: PretrainedConfig, value: float) -> None:
    """Set every dropout that the model has.

    Raises:
        RecipeError: it has none.
    """
    names = [name for name in _DROPOUT_FIELDS if name in config.to_dict()]
    if not names:
        what = f"A model of type '{config.model_type}' has no dropout in its layers."
        raise RecipeError(what, where="model.dropout", to_do="Leave model.dropout out.")
    for name in names:
        setattr(config, name, value)


def body_dropout(module: PreTrainedModel) -> float:
    """The dropout that the body was trained with; the head takes the same."""
    settings = module.config.to_dict()
    return next((float(settings[name]) for name in _DROPOUT_FIELDS if isinstance(settings.get(name), float)), 0.0)


def drops_inside(module: PreTrainedModel) -> bool:
    """Whether the body's configuration names a dropout, which need not be a layer of its own."""
    settings = module.config.to_dict()
    return any(isinstance(rate := settings.get(name), float) and rate > 0 for name in _DROPOUT_FIELDS)


def enable_gradient_checkpointing(module: PreTrainedModel) -> None:
    """Compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: this kind of model cannot.
    """
    # Renamed within transformers 5, where the old name warns.
    enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        what, where = f"A {type(module).__name__} cannot compute activations again.", "training.gradient_checkpointing"
        raise RecipeError(what, where=where, to_do="Leave it out, or choose another model.") from error


def core(module: nn.Module) -> nn.Module:
    """The body without its output layer over the vocabulary; a bare body is its own core."""
    return module.base_model if isinstance(module, PreTrainedModel) else module


def is_tied(module: PreTrainedModel) -> bool:
    """Whether the word embeddings are the output layer's weights too."""
    output: object = module.get_output_embeddings()  # type: ignore[no-untyped-call]
    table = module.get_input_embeddings()
    return isinstance(output, nn.Linear) and isinstance(table, nn.Embedding) and output.weight is table.weight


def embedding_block(module: nn.Module) -> nn.Module | None:
    """The module that turns ids into normalised embeddings, where the body has such a one."""
    return dict(core(module).named_children()).get("embeddings")


def word_table(module: PreTrainedModel) -> nn.Module:
    """The table of the words that are read: each side of an encoder-decoder has its own, with the same weights."""
    reader = module.get_encoder() if module.config.is_encoder_decoder else module
    table: nn.Module = reader.get_input_embeddings()
    return table


def layer_list(module: nn.Module) -> tuple[str, nn.ModuleList]:
    """The layers of a body, and the name under which they stand.

    Raises:
        ModelError: they have no name that is known, or the body is an encoder-decoder.
    """
    inner = core(module)
    start = next((f"{name}." for name, part in module.named_modules() if part is inner and name), "")
    named = dict(inner.named_modules())
    is_pair = isinstance(module, PreTrainedModel) and module.config.is_encoder_decoder
    for name in _LAYER_LISTS if not is_pair else ():
        if isinstance(found := named.get(name), nn.ModuleList):
            return f"{start}{name}", found
    what = f"The layers of a {type(module).__name__} are not known to Tunesmith."
    raise ModelError(what, where="model", to_do="Use method: full without layer_decay.")


def number_of_layers(module: nn.Module) -> int:
    """How many layers the body has."""
    return len(layer_list(module)[1])


def layer_index(parameter: str, module: nn.Module) -> int:
    """0 for embeddings (of words, places, distances), 1 to L for the layers from below, L + 1 for anything else."""
    name, layers = layer_list(module)
    if parameter.startswith(f"{name}."):
        return int(parameter.removeprefix(f"{name}.").split(".")[0]) + 1
    owner = parameter.rpartition(".")[0]
    # DeBERTa normalises its embeddings of distances, which every layer reads, under this name.
    is_below = "embed" in parameter or owner.endswith("encoder.LayerNorm")
    return 0 if is_below or isinstance(dict(module.named_modules()).get(owner), nn.Embedding) else len(layers) + 1


def attention_projections(module: nn.Module) -> tuple[str, ...]:
    """The endings of the names of the query and value projections.

    Raises:
        RecipeError: they have no name that is known.
    """
    linear = {name for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    for pair in _ATTENTION_PAIRS:
        if all(any(name.endswith(f".{end}") for name in linear) for end in pair):
            return pair
    what = f"The attention projections of a {type(module).__name__} are not known."
    raise RecipeError(what, where="method.targets", to_do="Name the layers to update in method.targets.")


def _named_so(module: nn.Module, endings: Sequence[str]) -> list[str]:
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    for ending in endings:
        if found := [name for name in linear if name.endswith(f".{ending}")]:
            return found
    return []


def sublayer_outputs(module: nn.Module) -> tuple[list[str], list[str]]:
    """The names of the linear layers in which each attention, and each feed-forward block, ends.

    Raises:
        ModelError: they have no name that is known.
    """
    attention = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and any(name.endswith(f".{ending}") for ending in _ATTENTION_OUTPUTS)
    ]
    feed_forward = [name for name in _named_so(module, _FEED_FORWARD_OUTPUTS) if name not in attention]
    if not attention or not feed_forward:
        what = f"The ends of attention and feed-forward blocks of a {type(module).__name__} are not known."
        raise ModelError(what, where="method", to_do="Choose lora and name the layers in method.targets.")
    return attention, feed_forward


def keys_and_values(module: nn.Module) -> list[str]:
    """The names of the key and value projections.

    Raises:
        ModelError: they have no name that is known, or are one matrix with the queries.
    """
    keys, values = _named_so(module, _KEYS), _named_so(module, _VALUES)
    if not keys or not values:
        what = f"The key and value projections of a {type(module).__name__} are not known, or are not matrices alone."
        raise ModelError(what, where="method", to_do="Choose lora and name the layers in method.targets.")
    return keys + values


def norms(module: nn.Module) -> list[str]:
    """The names of the normalisation layers."""
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.LayerNorm) or type(part).__name__.endswith(_NORMS)
    ]


def attention_layers(module: PreTrainedModel) -> list[tuple[nn.Module, int]]:
    """The modules that compute attention, each with the width of its keys; none where their parts have other names."""
    found = []
    for name in dict.fromkeys(name.rpartition(".")[0] for name in _named_so(module, _KEYS)):
        layer = module.get_submodule(name)
        key = next(part for end, part in layer.named_children() if end in _KEYS)
        found.append((layer, key.out_features))
    return found  # type: ignore[return-value]


def decoder_inputs(module: PreTrainedModel, targets: Tensor) -> dict[str, Tensor]:
    """What a decoder reads while `targets` [E, L] are expected of it: the same tokens, one place later.

    Each kind of model shifts them in its own way; where it has no function for that, its start token comes first.
    """
    shift = getattr(module, "prepare_decoder_input_ids_from_labels", None)
    if shift is not None:
        return {"decoder_input_ids": shift(labels=targets)}
    shifted = targets.roll(1, dims=1)
    shifted[:, 0] = module.config.decoder_start_token_id
    return {"decoder_input_ids": shifted.masked_fill(shifted == IGNORED, module.config.pad_token_id)}


def fixed_positions(module: nn.Module) -> list[nn.Module]:
    """The tables of places that do not learn: they are no parameters, and so stay in float32."""
    return [
        part
        for name, part in module.named_modules()
        if name.endswith("embed_positions") and not list(part.parameters()) and list(part.buffers())
    ]


def takes_positions(module: nn.Module) -> bool:
    """Whether the body can be told at which place each token stands."""
    return "position_ids" in inspect.signature(core(module).forward).parameters


def first_position(module: nn.Module) -> int:
    """The number of the first place: RoBERTa, MPNet and their kin count from behind the padding's number."""
    for name, table in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding) and table.padding_idx is not None:
            return table.padding_idx + 1
    return 0


def token_type_table(module: PreTrainedModel) -> nn.Embedding | None:
    """The body's token-type embeddings, if it has any."""
    block = embedding_block(module)
    table = dict(block.named_children()).get("token_type_embeddings") if block is not None else None
    return table if isinstance(table, nn.Embedding) else None


def extend_token_types(module: PreTrainedModel, count: int) -> int | None:
    """Add `count` rows to the body's token-type embeddings and return the first new row's number.

    New rows start as row 0, so that the body computes what it did. None where the body tells no token types apart.
    """
    block, table = embedding_block(module), token_type_table(module)
    if table is None or table.num_embeddings < 2 or block is None:
        return None
    old = table.weight.detach()
    wider = nn.Embedding(len(old) + count, table.embedding_dim, device=old.device, dtype=old.dtype)
    with torch.no_grad():
        wider.weight.copy_(torch.cat([old, old[:1].expand(count, -1)]))
    block.register_module("token_type_embeddings", wider)
    module.config.type_vocab_size = wider.num_embeddings
    return len(old)
