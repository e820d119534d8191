"""Several outputs as one: means computed by hand, and how far outputs are apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tunesmith.tasks.mixing import disagreement, mixed


def logits(*shape: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(*shape, generator=generator) for _ in range(3)]


def test_the_mean_of_probabilities_by_hand() -> None:
    one, other = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.3, 0.7]).log()
    torch.testing.assert_close(mixed([one, other], "classes", "probabilities").softmax(-1), torch.tensor([0.6, 0.4]))
    yes = [torch.tensor([math.log(p / (1 - p))]) for p in (0.9, 0.3)]
    torch.testing.assert_close(mixed(yes, "chances", "probabilities").sigmoid(), torch.tensor([0.6]))


def test_the_mean_of_logits_is_the_geometric_mean_of_probabilities() -> None:
    every = logits(5, 4)
    wanted = torch.stack([one.softmax(-1) for one in every]).log().mean(0).exp()
    wanted = wanted / wanted.sum(-1, keepdim=True)
    torch.testing.assert_close(mixed(every, "classes", "logits").softmax(-1), wanted)


def test_sure_answers_stay_finite() -> None:
    far = [torch.tensor([200.0, -200.0]), torch.tensor([190.0, -210.0])]
    assert mixed(far, "classes", "probabilities").isfinite().all()
    assert mixed(far, "chances", "probabilities").tolist() == pytest.approx([194.5, -204.5], abs=5)


@pytest.mark.parametrize("form", ["classes", "chances"])
def test_disagreement_is_the_mutual_information(form: str) -> None:
    every = logits(6, 4)
    if form == "classes":
        chances = torch.stack([one.double().softmax(-1) for one in every])
        wanted = -(chances.mean(0) * chances.mean(0).log()).sum(-1) + (chances * chances.log()).sum(-1).mean(0)
    else:
        p = torch.stack([one.double().sigmoid() for one in every])

        def entropy(p: Tensor) -> Tensor:
            return -(p * p.log() + (1 - p) * (1 - p).log())

        wanted = (entropy(p.mean(0)) - entropy(p).mean(0)).sum(-1)
    torch.testing.assert_close(disagreement(every, form), wanted.float(), atol=1e-5, rtol=1e-4)  # type: ignore[arg-type]
    assert float(disagreement([every[0]] * 3, form).abs().max()) < 1e-6  # type: ignore[arg-type]


def test_numbers_have_their_mean_and_deviation() -> None:
    every = [torch.tensor([1.0]), torch.tensor([3.0])]
    assert mixed(every, "numbers", "probabilities").tolist() == [2.0]
    assert float(disagreement(every, "numbers")) == 1.0
