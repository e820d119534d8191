"""The output layer sees only the places that are asked for, and says there what it says in a full pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    MPNetConfig,
    MPNetForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tests.builders import CLASSES
from tests.conftest import SIZES, build_tokenizer, save_tiny
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.tasks import CausalLanguageModeling, MaskedLanguageModeling
from tunesmith.tasks.encoding import TextEncoder

V = len(build_tokenizer())
SHORT: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "initializer_range": 0.1}
MODERN: dict[str, Any] = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id"), 0)
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForMaskedLM(BertConfig(vocab_size=V, max_position_embeddings=64, **SIZES)),
    "roberta": lambda: RobertaForMaskedLM(
        RobertaConfig(vocab_size=V, max_position_embeddings=66, pad_token_id=0, type_vocab_size=1, **SIZES)
    ),
    "mpnet": lambda: MPNetForMaskedLM(MPNetConfig(vocab_size=V, max_position_embeddings=66, pad_token_id=0, **SIZES)),
    "distilbert": lambda: DistilBertForMaskedLM(DistilBertConfig(vocab_size=V, max_position_embeddings=64, **SHORT)),
    "modernbert": lambda: ModernBertForMaskedLM(
        ModernBertConfig(vocab_size=V, max_position_embeddings=64, sep_token_id=3, **MODERN, **SIZES)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=V, max_position_embeddings=64, **SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=V, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=2, eos_token_id=3,
            initializer_range=0.1,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_logits_at_units_are_those_of_the_full_pass(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = save_tiny(tmp_path / kind, MODELS[kind]())
    task = CausalLanguageModeling() if kind in ("llama", "gpt2") else MaskedLanguageModeling()
    backbone = load(locate(str(folder)), dropout=None, kind=task.body)
    assert not backbone.missing
    assert not backbone.unused
    prepared = task.prepared(CLASSES, backbone.tokenizer)
    model = Model(backbone, prepared).eval()
    encoder = TextEncoder.of(backbone.tokenizer, backbone.max_length)
    batch = prepared.collate([prepared.encode(example, encoder) for example in CLASSES], 0)
    with torch.no_grad():
        found = model(batch)
        full = model.body(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    wanted = full.gather(1, batch.unit_positions[:, :, None].expand(-1, -1, full.shape[-1]))
    assert found.shape == (*batch.unit_positions.shape, V)
    torch.testing.assert_close(found[batch.unit_mask], wanted[batch.unit_mask], atol=1e-5, rtol=1e-5)
