"""Pre-trained bodies with their tokenizers: the only file that knows how transformers names things."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging as transformers_logging

from tunesmith.errors import ModelError, RecipeError, import_extra
from tunesmith.models.catalogue import ModelFolder

_DROPOUT_FIELDS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "embd_pdrop", "attn_pdrop", "resid_pdrop")
_LAYER_LISTS = ("encoder.layer", "transformer.layer", "encoder.layers", "layers", "h")
_ATTENTION_PAIRS = (("query", "value"), ("q_lin", "v_lin"), ("query_proj", "value_proj"), ("q_proj", "v_proj"), ("attn.q", "attn.v"), ("Wqkv",))


@dataclass(frozen=True)
class Backbone:
    """A pre-trained body without a head.

    Attributes:
        module: the body, in float32, whose output has `last_hidden_state` [P, T, H].
        tokenizer: its fast tokenizer.
        missing: names of the body's parameters that the checkpoint lacked.
        hidden_size: H.
        max_length: the most tokens that it can read at once, special tokens included.
        pooling: how it was trained to turn token states into one: "mean", "cls" or "last".
        prefix: what it expects before every text.
        identity: name, source and checksum, for reports.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    missing: frozenset[str]
    hidden_size: int
    max_length: int
    pooling: str
    prefix: str
    identity: str


def load(folder: ModelFolder, *, dropout: float | None) -> Backbone:
    """Load a pre-trained body and its tokenizer from a folder.

    Raises:
        ModelError: the folder holds no model, only pickles, remote code, or damaged weights.
        RecipeError: dropout is asked of a model that has none.
    """
    config = read_config(folder.path, folder.gguf)
    if dropout is not None:
        set_dropout(config, dropout)
    module, missing = _load_module(folder, config)
    tokenizer = load_tokenizer(folder.path, folder.gguf)
    return Backbone(
        module=module,
        tokenizer=tokenizer,
        missing=missing,
        hidden_size=int(config.hidden_size),
        max_length=usable_length(config, tokenizer),
        pooling=folder.pooling,
        prefix=folder.prefix,
        identity=folder.identity,
    )


def load_saved(folder: Path, *, pooling: str) -> Backbone:
    """A body of the form that `folder`'s configuration says, with weights still to be filled in, and its tokenizer."""
    config = read_config(folder)
    kind = MODEL_MAPPING[type(config)]
    module = kind._from_config(config, attn_implementation="sdpa", dtype=torch.float32, **_without_pooler(kind))
    tokenizer = load_tokenizer(folder)
    return Backbone(module, tokenizer, frozenset(), int(config.hidden_size), usable_length(config, tokenizer), pooling, "", str(folder))


def read_config(folder: Path, gguf: str = "") -> PretrainedConfig:
    """Read and vet a model's configuration.

    Raises:
        ModelError: it is missing, not readable, of an unknown kind, or asks for code of its own.
    """
    if gguf:
        import_extra("gguf", "gguf")
        return AutoConfig.from_pretrained(folder, gguf_file=gguf, local_files_only=True)
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError("The folder holds no model: config.json is missing.", where=str(folder), to_do="Give the folder of a Hugging Face model.") from error
    except (OSError, ValueError) as error:
        raise ModelError("The model's config.json is not readable JSON.", where=str(path), to_do="Download the model again.") from error
    if "auto_map" in raw:
        raise ModelError("The model asks for code of its own, which Tunesmith does not run.", where=str(path), to_do="Choose a model that transformers supports itself.")
    if "model_type" not in raw:
        raise ModelError("The model's config.json does not say its model_type.", where=str(path), to_do="Download the model again, or add the type.")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ValueError as error:
        raise ModelError(f"transformers knows no model_type '{raw['model_type']}'.", where=str(path), to_do="Choose another model, or a newer transformers.") from error


def _load_module(folder: ModelFolder, config: PretrainedConfig) -> tuple[PreTrainedModel, frozenset[str]]:
    if type(config) not in MODEL_MAPPING:
        raise ModelError(f"A model of type '{config.model_type}' has no text body.", where=str(folder.path), to_do="Choose a text encoder or decoder.")
    kind = MODEL_MAPPING[type(config)]
    options: dict[str, Any] = {"gguf_file": folder.gguf} if folder.gguf else {"use_safetensors": True}
    if not folder.gguf:
        _check_weights(folder.path)
    before = transformers_logging.get_verbosity()
    # What the checkpoint lacks is read from the loading report below, and counted; the printed table would repeat it.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        module, report = kind.from_pretrained(
            folder.path, config=config, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True, output_loading_info=True, **options, **_without_pooler(kind)
        )
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(f"The model's weights cannot be loaded: {str(error).splitlines()[0]}", where=str(folder.path), to_do="Download the model again.") from error
    finally:
        transformers_logging.set_verbosity(before)
    return module, frozenset(report["missing_keys"])


def _check_weights(folder: Path) -> None:
    """Refuse pickles, and weights that are cut short."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        if pickles:
            raise ModelError(f"The weights are a pickle ({pickles[0]}), which can run code when loaded.", where=str(folder), to_do="Use a version of the model with model.safetensors.")
        raise ModelError("The folder holds no weights (*.safetensors).", where=str(folder), to_do="Download the model again.")
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (OSError, SafetensorError) as error:
            raise ModelError(f"The weights are damaged: {error}.", where=str(path), to_do="Download the model again.") from error


def _without_pooler(kind: type[PreTrainedModel]) -> dict[str, bool]:
    """Heads pool for themselves, so a pooler would be weights without use."""
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind.__init__).parameters else {}


def load_tokenizer(folder: Path, gguf: str = "") -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a folder.

    Raises:
        ModelError: there is none.
    """
    options = {"gguf_file": gguf} if gguf else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("The model's tokenizer cannot be loaded.", where=str(folder), to_do="Put tokenizer.json beside the weights.") from error
    if not tokenizer.is_fast:
        raise ModelError("The model has no fast tokenizer (tokenizer.json).", where=str(folder), to_do="Use a version of the model with tokenizer.json.")
    # Our own windows and batches decide lengths and padding; settings left in tokenizer.json must not cut texts.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the tokenizer's files."""
    tokenizer.save_pretrained(folder)


def usable_length(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens, specials included, for which the body has positions and the tokenizer was made."""
    positions = int(config.max_position_embeddings)
    # These families count positions from the padding id on, so that many are never used.
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= int(config.pad_token_id) + 1
    return min(positions, int(tokenizer.model_max_length), 1 << 20)


def set_dropout(config: PretrainedConfig, value: float) -> None:
    """Set every dropout that the model has.

    Raises:
        RecipeError: it has none.
    """
    names = [name for name in _DROPOUT_FIELDS if name in config.to_dict()]
    if not names or (config.model_type in ("llama", "mistral", "qwen2", "qwen3") and value > 0):
        raise RecipeError(f"A model of type '{config.model_type}' has no dropout in its layers.", where="model.dropout", to_do="Leave model.dropout out.")
    for name in names:
        setattr(config, name, value)


def body_dropout(module: PreTrainedModel) -> float:
    """The dropout that the body was trained with; the head takes the same."""
    settings = module.config.to_dict()
    return next((float(settings[name]) for name in _DROPOUT_FIELDS if isinstance(settings.get(name), float)), 0.0)


def enable_gradient_checkpointing(module: PreTrainedModel) -> None:
    """Compute activations again in the backward pass instead of keeping them."""
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def embedding_block(module: nn.Module) -> nn.Module | None:
    """The module that turns ids into normalised embeddings, where the body has such a one."""
    return dict(module.named_children()).get("embeddings")


def _layer_list(module: nn.Module) -> tuple[str, nn.ModuleList]:
    named = dict(module.named_modules())
    for name in _LAYER_LISTS:
        if isinstance(found := named.get(name), nn.ModuleList):
            return name, found
    raise ModelError(f"The layers of a {type(module).__name__} are not known to Tunesmith.", where="model", to_do="Use method: full without layer_decay.")


def number_of_layers(module: nn.Module) -> int:
    """How many layers the body has."""
    return len(_layer_list(module)[1])


def layer_index(parameter: str, module: nn.Module) -> int:
    """0 for embeddings, 1 to L for the layers from below, L + 1 for anything after them."""
    name, layers = _layer_list(module)
    if parameter.startswith(f"{name}."):
        return int(parameter.removeprefix(f"{name}.").split(".")[0]) + 1
    return 0 if "embed" in parameter or parameter.startswith("wte") else len(layers) + 1


def attention_projections(module: nn.Module) -> tuple[str, ...]:
    """The endings of the names of the query and value projections.

    Raises:
        RecipeError: they have no name that is known.
    """
    linear = {name for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    for pair in _ATTENTION_PAIRS:
        if all(any(name.endswith(f".{end}") for name in linear) for end in pair):
            return pair
    raise RecipeError(f"The attention projections of a {type(module).__name__} are not known.", where="method.targets", to_do="Name the layers to update in method.targets.")


def extend_token_types(module: PreTrainedModel, count: int) -> int | None:
    """Add `count` rows to the body's token-type embeddings and return the first new row's number.

    New rows start as row 0, so that the body computes what it did. None where the body tells no token types apart.
    """
    block = embedding_block(module)
    table = dict(block.named_children()).get("token_type_embeddings") if block is not None else None
    if not isinstance(table, nn.Embedding) or table.num_embeddings < 2 or block is None:
        return None
    wider = nn.Embedding(table.num_embeddings + count, table.embedding_dim)
    with torch.no_grad():
        wider.weight[: table.num_embeddings] = table.weight
        wider.weight[table.num_embeddings :] = table.weight[0]
    block.register_module("token_type_embeddings", wider)
    module.config.type_vocab_size = wider.num_embeddings
    return table.num_embeddings
