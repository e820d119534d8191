"""Optimisers: rows move as AdamW moves them, groups follow their rules, schedules rise and fall."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers import AlbertConfig, AlbertModel

from tests.builders import TASK_CASES, build_learner, build_material, build_model, run_steps
from tests.conftest import SIZES, build_tokenizer, save_tiny
from tunesmith.errors import CheckpointError, ModelError
from tunesmith.training.optimizer import SGD, AdamRows, AdamW, Grouping, Optimizer, Schedule


def test_rows_that_every_step_uses_move_exactly_as_adamw_moves_them() -> None:
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(6, 4))
    twin = torch.nn.Parameter(table.detach().clone())
    rows = AdamRows(table, AdamW(), weight_decay=0.1)
    reference = torch.optim.AdamW([twin], lr=0.01, weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(6, 4)
        rows.step(torch.arange(6), gradient, 0.01)
        twin.grad = gradient
        reference.step()
    torch.testing.assert_close(table, twin, atol=1e-6, rtol=1e-5)


def test_unused_rows_rest() -> None:
    table = torch.nn.Parameter(torch.ones(6, 4))
    AdamRows(table, AdamW(), weight_decay=0.1).step(torch.tensor([1, 4]), torch.ones(2, 4), 0.01)
    moved = (table != 1).all(1)
    assert moved.tolist() == [False, True, False, False, True, False]


def test_word_embeddings_are_updated_by_rows_on_a_cpu(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples)
    assert build_learner(model).optimizer.sparse_table == "body.embeddings.word_embeddings.weight"


def test_lower_layers_learn_less_and_vectors_do_not_decay(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples)
    grouping = Grouping(weight_decay=0.1, layer_decay=0.5, head_multiplier=3.0)
    assert grouping.scale("head.output.weight", model) == 3.0
    assert grouping.scale("body.encoder.layer.1.attention.self.query.weight", model) == 0.5
    assert grouping.scale("body.encoder.layer.0.attention.self.query.weight", model) == 0.25
    assert grouping.scale("body.embeddings.word_embeddings.weight", model) == 0.125
    assert grouping.decay(torch.zeros(3)) == 0
    assert grouping.decay(torch.zeros(3, 3)) == 0.1


@pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
def test_schedules_rise_to_one_and_fall_as_they_say(shape: Literal["linear", "cosine", "constant"]) -> None:
    factors = [Schedule(shape, 0.1).factor(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in pairwise(factors[10:]))
    assert factors[-1] == pytest.approx(1.0) if shape == "constant" else factors[-1] < 0.02


def test_a_body_whose_layers_are_not_known_learns_as_long_as_its_layers_learn_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {key: value for key, value in SIZES.items() if key != "num_hidden_layers"}
    config = AlbertConfig(vocab_size=len(build_tokenizer()), embedding_size=16, num_hidden_layers=2, **sizes)
    folder = save_tiny(tmp_path / "albert", AlbertModel(config, add_pooling_layer=False))
    task, examples = TASK_CASES["tokens_casing"]
    model, task, encoder = build_model(folder, task, examples)
    (step,) = run_steps(build_learner(model), build_material(task, encoder, examples), steps=1, rate=1e-3)
    assert step.gradient_norm > 0
    with pytest.raises(ModelError, match="layers of a AlbertModel are not known"):
        Optimizer(model, dict(model.named_parameters()), AdamW(), Grouping(layer_decay=0.9))


def test_averages_of_another_kind_of_device_are_refused(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples)
    by_rows = build_learner(model).optimizer
    whole = build_learner(model, optimizer=SGD()).optimizer
    with pytest.raises(CheckpointError, match="another kind of device"):
        whole.load_state(by_rows.state())
