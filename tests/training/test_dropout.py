"""Dropout by bits: the rate, the scale, the gradient and the reproducibility of plain dropout."""

from __future__ import annotations

import pytest
import torch

from tunesmith.training.dropout import BitDropout, drop_mask, use_bit_dropout


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


def test_the_mask_depends_on_the_seed_alone() -> None:
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(drop_mask(torch.Size([33, 7]), 0.5))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_evaluation_drops_nothing_and_every_layer_is_replaced() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.9))
    use_bit_dropout(network)
    assert isinstance(network[1], BitDropout)
    values = torch.randn(5, 4)
    assert torch.equal(network.eval()(values), network[0](values))
