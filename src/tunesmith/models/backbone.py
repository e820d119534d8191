"""Pre-trained bodies with their tokenizers: found, vetted and loaded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto import modeling_auto as kinds
from transformers.utils import logging as transformers_logging

from tunesmith.errors import ModelError, import_extra
from tunesmith.models.anatomy import set_dropout
from tunesmith.models.catalogue import ModelFolder
from tunesmith.models.classifiers import CLASSIFIERS, classifier_in, object_in, put_names
from tunesmith.models.packages import check_weights, config_kind
from tunesmith.tasks.encoding import BodyKind

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, StrictDataclassError)
_FORMS: Mapping[BodyKind, tuple[Any, str, str]] = {
    "encoder": (
        kinds.MODEL_MAPPING,
        "text body that a head can be put on",
        "Choose a text encoder (such as BERT) or decoder (such as Llama).",
    ),
    "masked_lm": (
        kinds.MODEL_FOR_MASKED_LM_MAPPING,
        "form that fills in masked words",
        "Choose an encoder such as BERT or RoBERTa.",
    ),
    "causal_lm": (
        kinds.MODEL_FOR_CAUSAL_LM_MAPPING,
        "form that writes text from left to right",
        "Choose a decoder such as Llama, Qwen or SmolLM.",
    ),
    "seq2seq": (
        kinds.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        "form that reads one text and writes another",
        "Choose an encoder-decoder such as T5, BART or Marian.",
    ),
    "classifier": (
        kinds.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        "form that classifies texts",
        "Choose an encoder such as BERT or RoBERTa that was trained on inference.",
    ),
}
"""For each kind of body: its classes, what a model of other kinds lacks, and what to choose instead."""
_AGAIN = "Download the model again."
_TOKENIZER_ADVICE = "Put the model's tokenizer.json beside its weights."


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
        kind: a bare body, or one with its output layer over the vocabulary.
        head: the weights of the head of the artifact that the body was taken from; empty for other models.
        token_kinds: the embeddings of further kinds of token (word shapes) that an artifact's body learnt, or None.
        unused: names of the checkpoint's weights that this form of the body has no place for.
        classes: what its classifier tells apart, be it part of the body or of `head`; empty without one.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    missing: frozenset[str]
    hidden_size: int
    max_length: int
    pooling: str
    prefix: str
    identity: str
    kind: BodyKind = "encoder"
    head: Mapping[str, Tensor] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
    classes: tuple[str, ...] = ()
    token_kinds: Tensor | None = None


def load(folder: ModelFolder, *, dropout: float | None, kind: BodyKind = "encoder") -> Backbone:
    """Load a pre-trained body and its tokenizer from a folder, which may be an artifact of an earlier run.

    Raises:
        ModelError: the folder holds no model or tokenizer, only pickles, remote code, or damaged weights.
        RecipeError: dropout is asked of a model that has none.
    """
    config = read_config(folder.path, folder.gguf)
    classifier = classifier_in(folder.path) if kind == "classifier" else None
    if classifier is not None:
        put_names(config, classifier.classes)
        kind = "encoder" if classifier.has_own_head else "classifier"
    form = _body_class(config, folder.path, kind)
    if dropout is not None:
        set_dropout(config, dropout)
    tokenizer = load_tokenizer(folder.path, folder.gguf)
    parts = _parts_of_artifact(folder.path, config) if (folder.path / "artifact.json").is_file() else None
    module, missing, unused = _load_module(folder, config, form, parts)
    rows = cast(nn.Embedding, module.get_input_embeddings()).num_embeddings
    if len(tokenizer) > rows:
        what = f"The tokenizer knows {len(tokenizer)} pieces and the model only {rows}."
        raise _refusal(what, folder.path, "Use the tokenizer that was made for this model.")
    if classifier is not None and missing:
        what = f"The checkpoint has no trained classifier: it lacks {', '.join(sorted(missing)[:2])}."
        raise _refusal(what, folder.path, CLASSIFIERS)
    pooling = classifier.pooling if classifier is not None else folder.pooling
    return Backbone(
        module=module,
        tokenizer=tokenizer,
        missing=missing,
        hidden_size=int(config.hidden_size),
        max_length=usable_length(module, tokenizer),
        pooling=pooling or _natural_pooling(config),
        prefix=folder.prefix,
        identity=folder.identity,
        kind=kind,
        head=parts.head if parts else {},
        unused=unused,
        classes=classifier.classes if classifier is not None else (),
        token_kinds=parts.token_kinds if parts else None,
    )


def load_saved(folder: Path, *, pooling: str, kind: BodyKind = "encoder") -> Backbone:
    """A body of the form that `folder`'s configuration says, with weights still to be filled in, and its tokenizer.

    Raises:
        ModelError: the configuration or the tokenizer cannot be read.
    """
    config = read_config(folder)
    classes: tuple[str, ...] = ()
    if kind == "classifier":
        classifier = classifier_in(folder)
        classes, kind = classifier.classes, "encoder" if classifier.has_own_head else "classifier"
    form = _body_class(config, folder, kind)
    options: dict[str, Any] = {"dtype": torch.float32, **_without_pooler(form)}
    try:
        with _quietly():
            module: PreTrainedModel = form._from_config(config, **options)  # type: ignore[no-untyped-call]
    except _LOADING_ERRORS as error:
        what = f"The model's configuration is not usable: {_reason(error)}"
        raise _refusal(what, folder / "config.json", _AGAIN) from error
    tokenizer = load_tokenizer(folder)
    length = usable_length(module, tokenizer)
    width = int(config.hidden_size)
    return Backbone(module, tokenizer, frozenset(), width, length, pooling, "", str(folder), kind=kind, classes=classes)


def read_config(folder: Path, gguf: str = "") -> PretrainedConfig:
    """Read and vet a model's configuration.

    Raises:
        ModelError: it is missing, not readable, of an unknown kind, or asks for code of its own.
    """
    path = folder / (gguf or "config.json")
    if gguf:
        import_extra("gguf", "gguf")
    else:
        kind = config_kind(path)
        if kind not in CONFIG_MAPPING:
            raise _refusal(f"transformers knows no model_type '{kind}'.", path, "Choose another model.")
    options = {"gguf_file": gguf} if gguf else {}
    try:
        with _quietly():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except _LOADING_ERRORS as error:
        raise _refusal(f"The model's configuration is not usable: {_reason(error)}", path, _AGAIN) from error
    # A configuration can name attention that transformers would download and run; the choice is made here.
    config._attn_implementation = None
    return cast(PretrainedConfig, config)


def _body_class(config: PretrainedConfig, folder: Path, kind: BodyKind) -> type[PreTrainedModel]:
    """The class of a body of a kind, which reads token ids."""
    mapping, wanted, advice = _FORMS[kind]
    found = mapping.get(type(config), None)
    form = cast("type[PreTrainedModel] | None", found[0] if isinstance(found, tuple) else found)
    is_body = form is not None and "input_ids" in inspect.signature(form.forward).parameters
    kinds_of_pairs = ("seq2seq", "classifier") if config.is_encoder_decoder else ("seq2seq",)
    fits = bool(config.is_encoder_decoder) == (kind in kinds_of_pairs) and hasattr(config, "hidden_size")
    # Kinds of model that could be both, such as BERT, were trained to fill in and not to go on.
    fits = fits and not (kind == "causal_lm" and type(config) in kinds.MODEL_FOR_MASKED_LM_MAPPING)
    # A decoder's classifier looks for the last token by the padding's number, which may be an end token's too.
    fits = fits and not (kind == "classifier" and _natural_pooling(config) == "last")
    if form is None or not is_body or not fits:
        raise _refusal(f"A model of type '{config.model_type}' has no {wanted}.", folder, advice)
    return form


def _load_module(
    folder: ModelFolder, config: PretrainedConfig, form: type[PreTrainedModel], parts: _Parts | None
) -> tuple[PreTrainedModel, frozenset[str], frozenset[str]]:
    options: dict[str, Any] = {"gguf_file": folder.gguf} if folder.gguf else {"use_safetensors": True}
    if not folder.gguf:
        check_weights(folder.path)
    options |= {"config": config, "dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    options |= _without_pooler(form)
    if parts is not None:
        options["state_dict"] = parts.body
    try:
        with _quietly():
            # transformers takes scaled_dot_product_attention by itself wherever the kind of model supports it.
            loaded: Any = form.from_pretrained(None if parts else folder.path, **options)
    except (*_LOADING_ERRORS, SafetensorError) as error:
        raise _refusal(f"The model's weights cannot be loaded: {_reason(error)}", folder.path, _AGAIN) from error
    module, report = cast("tuple[PreTrainedModel, Mapping[str, set[str]]]", loaded)
    names = {name for name, _ in module.named_parameters()}
    missing = frozenset(names & set(report["missing_keys"]))
    if missing == names:
        what = f"The weights' file holds none of the weights of a {type(module).__name__}."
        raise _refusal(what, folder.path, "Put the weights and the config.json of one model together.")
    return module, missing, frozenset(report["unexpected_keys"])


@dataclass(frozen=True)
class _Parts:
    """The weights of an artifact: its body's, its head's, and the embeddings of further kinds of token, if any."""

    body: dict[str, Tensor]
    head: dict[str, Tensor]
    token_kinds: Tensor | None


def _parts_of_artifact(folder: Path, config: PretrainedConfig) -> _Parts:
    told = object_in(folder / "artifact.json")
    if held := told.get("weights"):
        what = f"The artifact holds its weights in {held}, from which nothing can be learnt."
        raise _refusal(what, folder, "Give the artifact that it was made of.")
    if told.get("method"):
        what = "The artifact's method could not be merged into its model, which is another without it."
        raise _refusal(what, folder, "Train it with a method such as full or lora.")
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise _refusal(f"The model's weights cannot be loaded: {_reason(error)}", folder, _AGAIN) from error
    body = {name.removeprefix("body."): tensor for name, tensor in weights.items() if name.startswith("body.")}
    head = {name.removeprefix("head."): tensor for name, tensor in weights.items() if name.startswith("head.")}
    kinds = weights.get("kinds.table.weight")
    rows = getattr(config, "type_vocab_size", 0)
    for name, tensor in body.items():
        # The configuration is that of the body before rows for further kinds were added.
        if name.endswith("token_type_embeddings.weight") and 0 < rows < len(tensor):
            body[name], kinds = tensor[:rows], tensor[rows:]
    return _Parts(body, head, kinds)


def _without_pooler(kind: type[PreTrainedModel]) -> dict[str, bool]:
    """Heads pool for themselves, so a pooler would be weights without use."""
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind.__init__).parameters else {}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' bars and tables: what they say of a checkpoint is in the loading report, and counted."""
    verbosity, has_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load_tokenizer(folder: Path, gguf: str = "") -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a folder.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    # Without files transformers makes a tokenizer that knows nothing but special tokens, and says nothing.
    if not gguf and not any(file for pattern in _TOKENIZER_FILES for file in folder.glob(pattern)):
        raise _refusal("The folder holds no tokenizer.", folder, _TOKENIZER_ADVICE)
    options = {"gguf_file": gguf} if gguf else {}
    try:
        with _quietly():
            made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except _LOADING_ERRORS as error:
        raise _refusal("The model's tokenizer cannot be loaded.", folder, _TOKENIZER_ADVICE) from error
    tokenizer = cast(PreTrainedTokenizerBase, made)
    if not tokenizer.is_fast:
        raise _refusal("The model has no fast tokenizer (tokenizer.json).", folder, _TOKENIZER_ADVICE)
    # Our own windows and batches decide lengths and padding; settings left in tokenizer.json must not cut texts.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            what = "The tokenizer has neither a padding nor an end token, so texts cannot share a batch."
            raise _refusal(what, folder, "Name its pad_token in tokenizer_config.json.")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the tokenizer's files."""
    tokenizer.save_pretrained(folder)


def usable_length(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens, specials included, for which the body has positions and the tokenizer was made."""
    positions = getattr(module.config, "max_position_embeddings", None) or 1 << 20
    for name, table in module.named_modules():
        # RoBERTa, MPNet and their kin count positions from the padding id on, so that the first rows are never used.
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding) and table.padding_idx is not None:
            positions = table.num_embeddings - table.padding_idx - 1
    return min(int(positions), int(tokenizer.model_max_length), 1 << 20)


def _natural_pooling(config: PretrainedConfig) -> str:
    """Only the last token of a decoder has seen the whole text; encoders have a first token for that."""
    is_causal = type(config) in kinds.MODEL_FOR_CAUSAL_LM_MAPPING
    is_decoder = is_causal and type(config) not in kinds.MODEL_FOR_MASKED_LM_MAPPING
    return "last" if is_decoder else "cls"


def _reason(error: Exception) -> str:
    """What a foreign error says, on one line, kept short."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _refusal(what: str, place: Path, to_do: str) -> ModelError:
    return ModelError(what, where=str(place), to_do=to_do)
