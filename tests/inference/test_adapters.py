"""Several adapters on one body: each answers as its artifact does, and none changes another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders import TASK_CASES, build_learner, build_material, build_model, run_steps, torch_model
from tunesmith.errors import ArtifactError
from tunesmith.inference.adapters import AdapterSet, learnt_weights
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS

METHODS_OF = {
    "entities": ("lora", "tokens_casing"),
    "mood": ("bitfit", "single_label"),
    "score": ("houlsby", "regression"),
}


def trained(folder: Path, base: Path, method_name: str, case: str) -> None:
    task, examples = TASK_CASES[case]
    method = METHODS[method_name]()
    model, task, encoder = build_model(base, task, examples, method)
    learner = build_learner(model)
    run_steps(learner, build_material(task, encoder, examples), steps=5, rate=1e-2)
    learner.weights.finish()
    adapter = learnt_weights(model)
    method.merge(model)
    origin = Origin("{}", {}, f"{base}, sha256 1", {}, 1, {"name": method_name}, str(base), adapter)
    save_artifact(folder, model.eval(), task, encoder, origin, "")


@pytest.fixture
def artifacts(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    # The tiny model's vocabulary is small beside its head and bottlenecks.
    monkeypatch.setattr("tunesmith.inference.adapters.LARGEST_SHARE", 0.5)
    for name, (method, case) in METHODS_OF.items():
        trained(tmp_path / name, tiny_model_folder, method, case)
    return {name: tmp_path / name for name in METHODS_OF}


def test_each_adapter_answers_as_its_own_artifact(artifacts: dict[str, Path]) -> None:
    adapters = AdapterSet.load(artifacts, device="cpu")
    for name in [*METHODS_OF, *METHODS_OF]:  # the second round comes after every other was asked
        examples = TASK_CASES[METHODS_OF[name][1]][1]
        alone = Predictor.load(artifacts[name], device="cpu")
        together = adapters[name].logits(adapters[name].encode(examples))
        for ours, theirs in zip(together, alone.logits(alone.encode(examples)), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_pretrained_weights_are_held_once(artifacts: dict[str, Path]) -> None:
    alone = sum(AdapterSet.load({name: folder}, device="cpu").parameters_held() for name, folder in artifacts.items())
    adapters = AdapterSet.load(artifacts, device="cpu")
    assert adapters.parameters_held() < 0.6 * alone
    words, norm = "embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias"
    entities, mood, score = (torch_model(adapters[name]).body for name in METHODS_OF)
    assert entities.get_parameter(words) is score.get_parameter(words)
    assert mood.get_parameter(norm) is not entities.get_parameter(norm)


def test_tasks_in_which_nothing_was_learnt_are_served_beside_others(
    artifacts: dict[str, Path], tmp_path: Path, tiny_model_folder: Path
) -> None:
    cases = {"few": "few_shot", "zero": "zero_shot", "words": "words"}
    for name, case in cases.items():
        task, examples = TASK_CASES[case]
        model, task, encoder = build_model(tiny_model_folder, task, examples, METHODS["none"]())
        build_material(task, encoder, examples).settle(model)
        base, method = f"{tiny_model_folder}, sha256 1", {"name": "none"}
        origin = Origin("{}", {}, base, {}, 1, method, str(tiny_model_folder), learnt_weights(model))
        save_artifact(tmp_path / name, model.eval(), task, encoder, origin, "")
    adapters = AdapterSet.load({**artifacts, **{name: tmp_path / name for name in cases}}, device="cpu")
    for name, case in cases.items():
        examples = TASK_CASES[case][1]
        assert adapters[name].predict(examples) == Predictor.load(tmp_path / name, device="cpu").predict(examples)


def test_an_unknown_adapter_names_the_nearest(artifacts: dict[str, Path]) -> None:
    with pytest.raises(ArtifactError, match="Did you mean 'mood'"):
        AdapterSet.load(artifacts, device="cpu")["moods"]


def test_a_model_that_was_trained_as_a_whole_has_no_adapter(tmp_path: Path, tiny_model_folder: Path) -> None:
    trained(tmp_path / "full", tiny_model_folder, "full", "single_label")
    with pytest.raises(ArtifactError, match="no adapter"):
        AdapterSet.load({"full": tmp_path / "full"}, device="cpu")


def test_adapters_of_two_base_models_are_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    base = artifacts["mood"]
    task, examples = TASK_CASES["single_label"]
    method = METHODS["lora"]()
    model, task, encoder = build_model(base, task, examples, method)
    origin = Origin("{}", {}, "other, sha256 2", {}, 1, {"name": "lora"}, str(base), learnt_weights(model))
    method.merge(model)
    save_artifact(tmp_path / "other", model.eval(), task, encoder, origin, "")
    with pytest.raises(ArtifactError, match="another base model"):
        AdapterSet.load({"mood": base, "other": tmp_path / "other"}, device="cpu")
