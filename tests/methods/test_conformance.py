"""What every method must do: move only the weights it claims, learn, and survive merging, saving and loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders import TASK_CASES, build_learner, build_material, build_model, run_steps
from tunesmith.errors import RecipeError
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS, HeadOnly, LoRA, TopLayers
from tunesmith.training.objectives import OBJECTIVES

EXPECTED = {
    "full": lambda name: True,
    "head_only": lambda name: False,
    "top_layers": lambda name: "layer.1." in name or "layer.0." in name,
    "bitfit": lambda name: name.endswith("bias"),
    "lora": lambda name: "lora_" in name,
}


LEARNING = [name for name in METHODS if name != "none"]


@pytest.mark.parametrize("name", LEARNING)
def test_only_the_claimed_weights_learn(name: str, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["tokens_casing"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, METHODS[name]())
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    run_steps(build_learner(model), build_material(task, encoder, examples), steps=4, rate=1e-2)
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    allowed = {key for key in before if key in model.lacking or EXPECTED[name](key)}
    assert moved <= allowed
    assert {key for key in model.lacking if key.startswith("head")} <= moved
    assert all(value.requires_grad == (key in allowed) for key, value in model.named_parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_the_loss_falls_in_twenty_steps(name: str, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, METHODS[name]())
    steps = run_steps(build_learner(model), build_material(task, encoder, examples), steps=20, rate=5e-3, batch_size=8)
    assert steps[-1].loss < steps[0].loss


@pytest.mark.parametrize("case", TASK_CASES)
@pytest.mark.parametrize("name", LEARNING)
def test_logits_are_the_same_after_merge_save_and_load(
    name: str, case: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    task, examples = TASK_CASES[case]
    method = METHODS[name]()
    model, task, encoder = build_model(tiny_model_folder, task, examples, method)
    learner = build_learner(model)
    run_steps(learner, build_material(task, encoder, examples), steps=3, rate=1e-2)
    learner.weights.finish()
    trained = Predictor(model.eval(), task, encoder)
    encoded = [task.encode(example, encoder) for example in examples]
    unmerged = trained.logits(encoded)
    method.merge(model)
    merged = trained.logits(encoded)
    save_artifact(tmp_path / "artifact", model, task, encoder, Origin("{}", {}, "tiny", {}, 1), "")
    loaded = Predictor.load(tmp_path / "artifact", device="cpu")
    for before, after, again in zip(unmerged, merged, loaded.logits(encoded), strict=True):
        torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)
        assert torch.equal(after, again)
    assert loaded.predict(examples) == trained.predict(examples)


@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("case", TASK_CASES)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", LEARNING)
def test_one_step_of_every_combination(
    name: str, objective: str, case: str, low: bool, tiny_model_folder: Path
) -> None:
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(tiny_model_folder, task, examples, METHODS[name]())
    learner = build_learner(model, OBJECTIVES[objective](), low=low)
    learning = learner.weights.learning()
    before = {key: value.detach().clone() for key, value in learning.items()}
    frozen = {key: value.detach().clone() for key, value in model.named_parameters() if not value.requires_grad}
    (step,) = run_steps(learner, build_material(task, encoder, examples), steps=1, rate=1e-2, batch_size=8)
    assert 0 < step.loss < 100
    assert any(not torch.equal(value, before[key]) for key, value in learning.items())
    assert all(torch.equal(value, frozen[key]) for key, value in model.named_parameters() if key in frozen)


def test_lora_on_an_unknown_layer_names_the_known_ones(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match="No linear layer's name ends in 'q_proj'") as error:
        build_model(tiny_model_folder, task, examples, LoRA(targets=("q_proj",)))
    assert "query" in error.value.to_do


def test_more_top_layers_than_there_are_is_an_error(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match="has 2 layers, not 3"):
        build_model(tiny_model_folder, task, examples, TopLayers(layers=3))


def test_head_only_trains_nothing_of_the_body(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples, HeadOnly())
    assert not any(parameter.requires_grad for parameter in model.body.parameters())


def test_with_method_none_nothing_learns(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["prompts"]
    model, _, _ = build_model(tiny_model_folder, task, examples, METHODS["none"]())
    assert not any(parameter.requires_grad for parameter in model.parameters())
