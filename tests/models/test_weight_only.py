"""Matrices in few bits: codes and scales by an exact oracle, the layer's product, the artifact read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from tests.conftest import SIZES
from tests.inference.causal_artifacts import causal_artifact
from tunesmith.data.records import Example
from tunesmith.errors import ArtifactError, ModelError
from tunesmith.inference.artifact import WEIGHTS, load_artifact
from tunesmith.inference.gguf_file import export_gguf
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.weight_only import hold_artifact
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import ModelFolder
from tunesmith.models.weight_only import GROUP, Held, HeldMatrix, held_as, hold_weights, packed, unpacked
from tunesmith.trade_offs import parameters_in


def test_every_code_of_four_bits_is_read_back() -> None:
    codes = torch.arange(-7, 8, dtype=torch.int8).repeat(2)[None].repeat(3, 1)
    assert packed(codes).shape == (3, 15)
    assert torch.equal(unpacked(packed(codes)), codes)


def test_eight_bits_are_the_nearest_of_255_steps_of_each_row() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 48) * torch.tensor([1e-6, 0.01, 1, 100, 0])[:, None]
    held = HeldMatrix(weight, "int8")
    steps = weight.abs().amax(1) / 127
    assert ((held.rows() - weight).abs() <= steps[:, None] / 2 * (1 + 1e-4)).all()
    assert torch.equal(held.rows(torch.tensor([[2, 4]])), held.rows()[[2, 4]][None])


@pytest.mark.parametrize("width", [96, 50, 33])
def test_four_bits_are_the_nearest_of_15_steps_of_each_group(width: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, width)
    held = HeldMatrix(weight, "int4")
    groups = weight.reshape(5, -1, GROUP if width % GROUP == 0 else width)
    steps = held.scales.float()[..., None]
    # What lies beyond the last step is cut to it.
    limit = torch.maximum(steps / 2, groups.abs() - 7 * steps) * (1 + 1e-4)
    assert ((held.rows().reshape(groups.shape) - groups).abs() <= limit).all()
    assert held.codes.nbytes == 5 * (width // 2 if width % 2 == 0 else width)


def test_no_group_in_four_bits_is_further_off_than_with_its_largest_weight_as_the_last_step() -> None:
    torch.manual_seed(0)
    weight = torch.distributions.StudentT(4.0).sample((40, 128))
    groups = weight.reshape(40, -1, GROUP)
    widest = (groups.abs().amax(-1, keepdim=True) / 7).half().float()
    plain = ((groups / widest).round().clamp(-7, 7) * widest - groups).square().sum(-1)
    found = (HeldMatrix(weight, "int4").rows().reshape(groups.shape) - groups).square().sum(-1)
    assert (found <= plain * (1 + 1e-6)).all()
    assert found.sum() < 0.95 * plain.sum()


def test_eight_bits_are_those_of_torchao() -> None:
    torchao = pytest.importorskip("torchao.quantization")
    layer = nn.Linear(64, 32, bias=False)
    held = HeldMatrix(layer.weight.detach(), "int8")
    torchao.quantize_(nn.Sequential(layer), torchao.Int8WeightOnlyConfig())
    theirs: Any = layer.weight
    assert (theirs.qdata.int() - held.codes.int()).abs().max() <= 1  # it rounds after a division in another order
    assert (theirs.dequantize() - held.rows()).abs().max() <= held.scales.max()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_an_artifact_held_in_few_bits_answers_like_any_other(tmp_path: Path, kind: Held, tied: bool) -> None:
    artifact = causal_artifact(tmp_path, tied=tied)
    told = hold_artifact(artifact, tmp_path / "held", kind)
    assert told.bytes_after < told.bytes_before * 0.6
    assert told.holding.bytes_after < told.holding.bytes_before * 0.45
    before, after = load_artifact(artifact).model, load_artifact(tmp_path / "held").model
    assert held_as(after.body) == kind
    ids = torch.tensor([[3, 20, 30, 40, 50]])
    with torch.inference_mode():
        expected, found = before.body(ids).logits, after.body(ids).logits
        hold_weights(before.body, kind)
        assert torch.equal(before.body(ids).logits, found)
    assert 0 < (found - expected).norm() / expected.norm() < (0.02 if kind == "int8" else 0.3)
    assert parameters_in(tmp_path / "held") == parameters_in(artifact)
    (answer,) = Predictor.load(tmp_path / "held", device="cpu").predict([Example("1", "hi", "yes")])
    assert isinstance(answer.label, str)


def test_an_encoder_is_held_too_and_a_body_without_layers_is_refused() -> None:
    body = BertModel(BertConfig(vocab_size=50, **SIZES), add_pooling_layer=False)
    told = hold_weights(body, "int8")
    assert told.layers == 2 * 6 + 1
    assert body(torch.tensor([[1, 2]])).last_hidden_state.isfinite().all()
    with pytest.raises(ModelError, match="no linear layers"):
        hold_weights(body, "int8")


def test_what_needs_plain_weights_refuses_it(tmp_path: Path) -> None:
    artifact = causal_artifact(tmp_path)
    held = hold_artifact(artifact, tmp_path / "held", "int8").folder
    assert (held / WEIGHTS).stat().st_size < (artifact / WEIGHTS).stat().st_size
    with pytest.raises(ArtifactError, match="exists already"):
        hold_artifact(artifact, held, "int8")
    with pytest.raises(ArtifactError, match="in few bits already"):
        hold_artifact(held, tmp_path / "again", "int4")
    with pytest.raises(ArtifactError, match="holds its weights in int8"):
        export_gguf(held, tmp_path / "model.gguf")
    with pytest.raises(ModelError, match="from which nothing can be learnt"):
        load(ModelFolder(held, "folder", "held"), dropout=None, kind="causal_lm")
