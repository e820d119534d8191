"""Pooling over tokens and windows, and one long text as many windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders import TASK_CASES, build_model
from tunesmith.data.records import Example
from tunesmith.models import model as models
from tunesmith.tasks.heads import pool_windows


@pytest.mark.parametrize("how", ["mean", "max"])
def test_windows_are_pooled_within_their_example(how: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3)
    owner = torch.tensor([0, 1, 1, 1, 2, 2])
    found = pool_windows(logits, owner, 3, how)
    for example, part in enumerate((logits[:1], logits[1:4], logits[4:])):
        assert torch.allclose(found[example], part.mean(0) if how == "mean" else part.amax(0))


@pytest.mark.parametrize("case", ["single_label", "tokens_casing"])
@pytest.mark.parametrize("folder", ["tiny_model_folder", "tiny_mpnet_folder"])
def test_a_text_of_many_windows_is_answered_a_few_windows_at_a_time(
    folder: str, case: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, examples = TASK_CASES[case]
    place: Path = request.getfixturevalue(folder)
    model, task, encoder = build_model(place, task, examples, max_length=16)
    encoded = [task.encode(Example("long", "Anna was in Rome on a good day " * 20), encoder)]
    batch = task.collate(encoded, 0)
    assert len(batch.input_ids) > 10
    with torch.inference_mode():
        whole = model.eval()(batch)
        seen: list[int] = []
        model.body.register_forward_pre_hook(
            lambda _module, _inputs, given: seen.append(len(given["input_ids"])), with_kwargs=True
        )
        monkeypatch.setattr(models, "INFERENCE_TOKENS", 48)
        parted = model(batch)
    assert max(seen) == 3
    assert torch.allclose(whole, parted, atol=1e-5)
