"""R-Drop and cutoff: two views of a text, and how far their answers are apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.batches import small
from tunesmith.errors import TrainingError
from tunesmith.training.dropout import has_dropout, use_bit_dropout
from tunesmith.training.objectives import (
    Cutoff,
    RDrop,
)


def test_r_drop_without_dropout_compares_nothing_and_is_refused(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.0)
    assert not has_dropout(model)
    with pytest.raises(TrainingError, match="this model has none"):
        RDrop().check(model, criterion.task)
    plain = float(criterion(model, batch).detach())
    assert float(RDrop(alpha=9.0)(model, batch, criterion).detach()) == pytest.approx(plain, abs=1e-7)


@pytest.mark.parametrize("bits", [False, True])
def test_r_drop_is_the_mean_of_two_losses_and_their_divergence(bits: bool, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.3)
    if bits:
        use_bit_dropout(model)
    RDrop().check(model, criterion.task)
    torch.manual_seed(1)
    one, other = model(batch), model(batch)
    assert batch.targets is not None
    cross = [-(logits.log_softmax(-1)[range(8), batch.targets]).mean() for logits in (one, other)]
    p, q = one.softmax(-1), other.softmax(-1)
    between = 0.5 * ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 8
    torch.manual_seed(1)
    found = RDrop(alpha=2.0)(model, batch, criterion)
    torch.testing.assert_close(found, 0.5 * (cross[0] + cross[1]) + 2.0 * between)
    assert float(between.detach()) > 0


@pytest.mark.parametrize(("part", "share"), [("token", 0.4), ("span", 0.4), ("feature", 0.25)])
def test_cutoff_cuts_its_share_of_each_text_and_no_special_token(part: str, share: float) -> None:
    mask = torch.tensor([[0, 1, 1, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool()
    objective = Cutoff(part=part, share=share)  # type: ignore[arg-type]
    seen = set()
    for seed in range(20):
        cut = objective.cut_places(mask, 8, torch.Generator().manual_seed(seed))
        assert not cut[~mask].any()
        if part == "feature":
            assert cut[0, 1:6].sum(-1).tolist() == [2] * 5
            assert (cut[0, 1] == cut[0, 5]).all()
        else:
            assert cut.sum((1, 2)).tolist() == [2, 1, 0]
            places = cut[0, :, 0].nonzero().flatten().tolist()
            assert part == "token" or places[1] == places[0] + 1
        seen.add(tuple(cut[0].nonzero().flatten().tolist()))
    assert len(seen) > 3
