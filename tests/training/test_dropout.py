"""Dropout by bits: the rate, the scale, the gradient and the reproducibility of plain dropout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ModernBertConfig, ModernBertModel

from tests.builders import TASK_CASES, build_model
from tests.conftest import SIZES, build_tokenizer, save_tiny
from tunesmith.data.records import Example
from tunesmith.training.dropout import BitDropout, multiplier, use_bit_dropout


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_the_rate_and_the_mean_are_those_of_dropout(rate: float) -> None:
    torch.manual_seed(0)
    values = BitDropout(rate)(torch.ones(400_000))
    assert float((values == 0).float().mean()) == pytest.approx(rate, abs=0.003)
    assert float(values.mean()) == pytest.approx(1.0, abs=0.01)


def test_the_gradient_flows_where_values_do() -> None:
    values = torch.ones(1000, requires_grad=True)
    dropped = BitDropout(0.3)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())


def test_in_bfloat16_the_mean_does_not_move() -> None:
    torch.manual_seed(0)
    factors = multiplier(torch.ones(4_000_000, dtype=torch.bfloat16), 0.1)
    assert float(factors.double().mean()) == pytest.approx(1.0, abs=0.001)
    assert float((factors == 0).double().mean()) == pytest.approx(0.1, abs=0.002)


def test_the_factors_depend_on_the_seed_alone() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(multiplier(torch.ones(33, 7), 0.5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_everything_can_be_dropped() -> None:
    assert not BitDropout(1.0)(torch.ones(100)).any()


@pytest.mark.parametrize("folder", ["tiny_model_folder", "tiny_roberta_folder", "tiny_mpnet_folder"])
def test_attention_is_the_same_without_dropout_and_drops_in_training(
    folder: str, request: pytest.FixtureRequest
) -> None:
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(request.getfixturevalue(folder), task, examples)
    batch = task.collate([task.encode(example, encoder) for example in examples], 0)
    assert not bool(batch.attention_mask.all()), "there is padding to leave out"
    expected = model.eval()(batch)
    use_bit_dropout(model)
    assert torch.equal(model(batch), expected)
    # A rate so small that nothing is dropped takes the other way through attention, to the same answer.
    for module in model.train().modules():
        if isinstance(module, BitDropout):
            module.p = 1e-7
    torch.testing.assert_close(model(batch), expected, atol=1e-5, rtol=1e-4)
    for module in model.modules():
        if isinstance(module, BitDropout):
            module.p = 0.3
    assert not torch.allclose(model(batch), model(batch))


def test_every_dropout_layer_is_replaced(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples)
    before = sum(type(module) is torch.nn.Dropout for module in model.modules())
    use_bit_dropout(model)
    assert sum(isinstance(module, BitDropout) for module in model.modules()) == before > 0
    assert not any(type(module) is torch.nn.Dropout for module in model.modules())


def test_a_padded_row_that_sees_nothing_is_no_nan(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(build_tokenizer()),
        max_position_embeddings=64,
        local_attention=4,
        attention_dropout=0.1,
        pad_token_id=0,
        **SIZES,
    )
    folder = save_tiny(tmp_path / "modern", ModernBertModel(config))
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(folder, task, examples)
    use_bit_dropout(model.train())
    texts = [Example("short", "good"), Example("long", "a good day was bad work " * 6)]
    states = model.hidden(task.collate([task.encode(example, encoder) for example in texts], 0))
    assert bool(states.isfinite().all())
