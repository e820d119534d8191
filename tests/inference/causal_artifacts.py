"""Artifacts of tiny language models of Llama's kind, whose weights are numbers that float16 holds exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tests.conftest import SIZES, build_chat_tokenizer
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.models.backbone import Backbone
from tunesmith.models.model import Model
from tunesmith.tasks import TextGeneration
from tunesmith.tasks.encoding import TextEncoder


def causal_artifact(
    folder: Path,
    module: PreTrainedModel | None = None,
    *,
    tied: bool = True,
    changed: dict[str, str] | None = None,
    **more: Any,
) -> Path:
    """Save a tiny random language model that was not trained as an artifact; `changed` is how it splits texts."""
    torch.manual_seed(0)
    tokenizer = build_chat_tokenizer()
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    size = len(told["model"]["vocab"])
    told["model"]["vocab"] |= {"th": size, "the": size + 1, "Ġthe": size + 2}
    told["model"]["merges"] = [["t", "h"], ["th", "e"], ["Ġ", "the"]]
    told["pre_tokenizer"] = changed or told["pre_tokenizer"]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(told))
    if module is None:
        config = LlamaConfig(
            vocab_size=len(tokenizer), max_position_embeddings=512, num_key_value_heads=2, pad_token_id=0,
            bos_token_id=3, eos_token_id=2, tie_word_embeddings=tied, **{**SIZES, "intermediate_size": 64, **more},
        )  # fmt: skip
        module = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    backbone = Backbone(module, tokenizer, frozenset(), 32, 256, "last", "", "tiny", "causal_lm")
    task = TextGeneration(max_new_tokens=6).prepared([], tokenizer)
    encoder = TextEncoder.of(tokenizer, 256)
    origin = Origin("task: text_generation\n", {}, "tiny", {}, 0)
    save_artifact(folder / "artifact", Model(backbone, task), task, encoder, origin, "")
    return folder / "artifact"
