"""Artifacts of tiny language models of Llama's kind, whose weights are numbers that float16 holds exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from tests.conftest import SIZES, build_chat_tokenizer
from tunesmith.data.records import Example
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.models.backbone import Backbone
from tunesmith.models.model import Model
from tunesmith.tasks import Task, TextGeneration
from tunesmith.tasks.encoding import TextEncoder


def causal_artifact(
    folder: Path,
    module: PreTrainedModel | None = None,
    *,
    tied: bool = True,
    changed: dict[str, str] | None = None,
    task: Callable[[Sequence[Example], PreTrainedTokenizerBase], Task] | None = None,
    window: int = 256,
    seed: int = 0,
    **more: Any,
) -> Path:
    """Save a tiny random language model that was not trained as an artifact; `changed` is how it splits texts.

    `task` is made ready for the tokenizer; without one it writes answers of six tokens.
    """
    torch.manual_seed(seed)
    tokenizer = build_chat_tokenizer()
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    size = len(told["model"]["vocab"])
    told["model"]["vocab"] |= {"th": size, "the": size + 1, "Ġthe": size + 2}
    told["model"]["merges"] = [["t", "h"], ["th", "e"], ["Ġ", "the"]]
    told["pre_tokenizer"] = changed or told["pre_tokenizer"]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(told))
    if module is None:
        config = LlamaConfig(
            vocab_size=len(tokenizer), num_key_value_heads=2, pad_token_id=0, bos_token_id=3, eos_token_id=2,
            tie_word_embeddings=tied, **{"max_position_embeddings": 512, **SIZES, "intermediate_size": 64, **more},
        )  # fmt: skip
        module = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
    backbone = Backbone(module, tokenizer, frozenset(), 32, window, "last", "", "tiny", "causal_lm")
    ready = (task or TextGeneration(max_new_tokens=6).prepared)([], tokenizer)
    encoder = TextEncoder.of(tokenizer, window)
    origin = Origin("task: text_generation\n", {}, "tiny", {}, 0)
    save_artifact(folder / "artifact", Model(backbone, ready), ready, encoder, origin, "")
    return folder / "artifact"
