"""Causal language models of Llama's kind as one GGUF file, which llama.cpp and its kin load.

The file holds the weights (in float16, or in 8 bits with a scale for each 32 of a row), the tokenizer, the chat
template, and of which artifact it is. What it says of the tokenizer is what the artifact's own tokenizer does, and not
what models of that name usually do: a model that was itself read from GGUF may split texts otherwise.

Format: "GGUF", github.com/ggml-org/ggml, docs/gguf.md, version 3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.errors import ArtifactError, import_extra
from tunesmith.inference.artifact import WEIGHTS, Loaded, file_hash, load_artifact, need_space
from tunesmith.writing import refused

Precision = Literal["f16", "q8_0"]
"""How matrices are held: float16, or 8-bit integers with a float16 scale for each 32 of a row (8.5 bits a weight)."""

SOURCE = "tunesmith.weights_sha256"
"""The file's entry with the sha256 of the weights that it was made of (a manifest changes with each form beside)."""

_FILE_TYPES: Mapping[Precision, int] = {"f16": 1, "q8_0": 7}
_NORMAL, _CONTROL, _GIVEN, _UNUSED = 1, 3, 4, 5
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class GgufFile:
    """What was written.

    Attributes:
        path: the file.
        precision: how its matrices are held.
        tensors: how many tensors it has.
        bytes: its size.
    """

    path: Path
    precision: Precision
    tensors: int
    bytes: int


def export_gguf(artifact: Path, out: Path, precision: Precision = "f16") -> GgufFile:
    """Write an artifact's language model as a GGUF file, whole or not at all.

    Raises:
        ArtifactError: it is no causal language model of Llama's kind, or has parts that GGUF has no place for.
        MissingExtraError: the package gguf is not installed.
        ResourceError: the disk is full.
    """
    loaded = load_artifact(artifact)
    check_exportable(loaded, artifact)
    return write_gguf(loaded, out, precision, source=file_hash(artifact / WEIGHTS))


def write_gguf(loaded: Loaded, out: Path, precision: Precision, *, source: str) -> GgufFile:
    """Write a model that `check_exportable` let pass, made of weights with the sha256 `source`.

    Raises:
        MissingExtraError: the package gguf is not installed.
        ResourceError: the disk is full; nothing is left behind.
    """
    library = import_extra("gguf", "gguf")
    body = loaded.model.body
    need_space(out.resolve().parent, sum(tensor.numel() * 2 for tensor in body.state_dict().values()) + (16 << 20))
    draft = out.with_name(f".{out.name}.draft")
    try:
        with refused(out, to_do="Free disk space, or choose another --out."):
            writer = library.GGUFWriter(draft, "llama")
            writer.add_string(SOURCE, source)
            _describe(writer, library, loaded, precision)
            _describe_tokenizer(writer, loaded.encoder.tokenizer, body.config)
            count = 0
            for name, values, kind in _tensors(library, body, precision):
                writer.add_tensor(name, values, raw_dtype=kind)
                count += 1
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return GgufFile(out, precision, count, out.stat().st_size)


def check_exportable(loaded: Loaded, artifact: Path) -> None:
    """See that GGUF has a place for all that the artifact's answers come from.

    Raises:
        ArtifactError: it has not.
    """
    config = loaded.model.config
    told = config.to_dict()
    rope = told.get("rope_parameters") or {}
    own = loaded.description.get("method") or loaded.model.soft_prompt is not None
    reasons = {
        "is no causal language model": loaded.task.body != "causal_lm",
        f"is of type '{config.model_type}', not llama": config.model_type != "llama",
        f"holds its weights in {loaded.description.get('weights')}": bool(loaded.description.get("weights")),
        "holds what its method added and could not merge": bool(own),
        "has biases in its layers": bool(told.get("attention_bias") or told.get("mlp_bias")),
        f"has the activation {told.get('hidden_act')}, not silu": told.get("hidden_act") != "silu",
        f"stretches its positions ({rope.get('rope_type')})": rope.get("rope_type", "default") != "default",
    }
    other = "Export it in another form, or train a model such as smollm2-135m with task: text_generation."
    for reason, holds in reasons.items():
        if holds:
            raise ArtifactError(
                f"The model {reason}, so it cannot be written as GGUF.",
                where=str(artifact),
                to_do="Export the artifact that it was made of." if reason.startswith("holds its weights") else other,
            )
    words = loaded.model.word_embeddings.get_parameter("weight")
    if len(loaded.encoder.tokenizer) > len(words):
        raise ArtifactError(
            f"The tokenizer knows {len(loaded.encoder.tokenizer)} tokens and the model {len(words)}.",
            where=str(artifact),
            to_do="Train the artifact anew: the model must have a vector for every token.",
        )
    splitting(loaded.encoder.tokenizer)


def read_gguf(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model of a GGUF file in float32 and its tokenizer, as transformers reads them: for comparing the two.

    Raises:
        ArtifactError: the file cannot be read.
    """
    import_extra("gguf", "gguf")
    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"The file is no GGUF file that transformers can read: {error}.",
            where=str(file),
            to_do="Export the artifact again.",
        ) from error
    model.eval()  # type: ignore[no-untyped-call]
    return model, tokenizer


def splitting(tokenizer: PreTrainedTokenizerBase) -> str:
    """The name that llama.cpp has for how this tokenizer splits texts before it looks for pairs of bytes to merge.

    Raises:
        ArtifactError: it is no byte-pair encoding over bytes, or splits in a way that is not known.
    """
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    before = told["pre_tokenizer"] or {}
    steps = before.get("pretokenizers", [before])
    plain = [
        (step.get("type"), step.get("individual_digits"), step.get("add_prefix_space"), step.get("use_regex"))
        for step in steps
    ]
    known = {
        (("ByteLevel", None, False, True),): "gpt-2",
        (("Digits", True, None, None), ("ByteLevel", None, False, True)): "smollm",
    }
    name = known.get(tuple(plain))
    if told["model"]["type"] != "BPE" or told["normalizer"] is not None or name is None:
        raise ArtifactError(
            "The tokenizer is none of those that can be written as GGUF: byte-level BPE as GPT-2 or SmolLM have it.",
            to_do="Export in another form, or fine-tune a model such as smollm2-135m.",
        )
    return name


def _describe(writer: Any, library: ModuleType, loaded: Loaded, precision: Precision) -> None:
    """The entries about the network."""
    config = cast(Any, loaded.model.body.config)
    writer.add_type("model")
    writer.add_name(str(loaded.description.get("model_name") or "model"))
    writer.add_file_type(_FILE_TYPES[precision])
    writer.add_quantization_version(library.GGML_QUANT_VERSION)
    head = config.head_dim or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _describe_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """The entries about tokens: their names, kinds and merges, the special ones, the chat template."""
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    size = int(cast(Any, config).vocab_size)
    names = {number: piece for piece, number in told["model"]["vocab"].items()}
    kinds = dict.fromkeys(names, _NORMAL)
    for added in told["added_tokens"]:
        names[added["id"]] = added["content"]
        kinds[added["id"]] = _CONTROL if added["special"] else _GIVEN
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting(tokenizer))
    writer.add_token_list([names.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types([kinds.get(number, _UNUSED) for number in range(size)])
    # A file may write each merge as "a b" or as two texts.
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in told["model"]["merges"]]
    if pairs:
        writer.add_token_merges(pairs)
    special = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: tokenizer.eos_token_id,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, number in special.items():
        if number is not None:
            add(int(number))
    wrapped = list(tokenizer("", add_special_tokens=True)["input_ids"])
    writer.add_add_bos_token(bool(wrapped) and wrapped[0] == tokenizer.bos_token_id)
    writer.add_add_space_prefix(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(library: ModuleType, body: PreTrainedModel, precision: Precision) -> Iterator[tuple[str, Any, Any]]:
    """Each tensor once: its name in the file, its numbers, and how they are held.

    Vectors stay in float32. An output layer that shares the word vectors' matrix is left out, and llama.cpp takes
    that. Rotary positions turn pairs of numbers: transformers pairs the first half of a head with its second, and the
    file each number with the next.
    """
    config = cast(Any, body.config)
    known = library.get_tensor_name_map(library.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    kinds = library.GGMLQuantizationType
    seen: set[int] = set()
    for name, tensor in body.state_dict(keep_vars=True).items():
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        values = tensor.detach().float().cpu()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            is_query = name.endswith("q_proj.weight")
            values = paired(values, config.num_attention_heads if is_query else config.num_key_value_heads)
        named = known.get_name(name, try_suffixes=(".weight",))
        assert named is not None, f"a Llama has no tensor {name}"
        numbers = values.numpy()
        if values.dim() == 1:
            yield named, numbers, kinds.F32
        elif precision == "q8_0" and values.shape[-1] % _BLOCK == 0:
            yield named, library.quants.quantize(numbers, kinds.Q8_0), kinds.Q8_0
        else:
            yield named, numbers.astype("float16"), kinds.F16


def paired(weight: Tensor, heads: int) -> Tensor:
    """The rows of queries or keys [heads * D, H] in the file's order: 0, D/2, 1, D/2 + 1, ... of each head."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width).contiguous()
