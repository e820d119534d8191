"""Several adapters on one body: each answers as its artifact does, and none changes another."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders import TASK_CASES, build_material, build_model, torch_model
from tests.trained_adapters import trained
from tunesmith.errors import ArtifactError
from tunesmith.inference.adapters import AdapterSet, Bases, learnt_weights, parameters_of
from tunesmith.inference.artifact import ADAPTER, Origin, read_description, save_artifact, seal
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate

METHODS_OF = {
    "entities": ("lora", "tokens_casing"),
    "mood": ("bitfit", "single_label"),
    "score": ("houlsby", "regression"),
}


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
        base, method = locate(str(tiny_model_folder)).identity, {"name": "none"}
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


def test_three_adapters_take_hardly_more_than_their_base(artifacts: dict[str, Path]) -> None:
    bases = Bases("cpu")
    predictors = {name: bases.load(name, folder) for name, folder in artifacts.items()}
    base = load(locate(base_folder(artifacts)), dropout=None).module
    own = sum(tensor.numel() for folder in artifacts.values() for tensor in load_file(folder / ADAPTER).values())
    held = parameters_of(predictors.values())
    whole = [Predictor.load(folder, device="cpu") for folder in artifacts.values()]
    assert held <= 1.01 * (sum(one.numel() for one in base.parameters()) + own)
    assert held < 0.6 * parameters_of(whole)
    assert bases.held == 1


def base_folder(artifacts: dict[str, Path]) -> str:
    return str(read_description(artifacts["mood"])["model_name"])


def test_who_leaves_frees_its_own_weights_and_the_base_stays_while_somebody_is_there(
    artifacts: dict[str, Path],
) -> None:
    bases = Bases("cpu")
    mood, score = (bases.load(name, artifacts[name]) for name in ("mood", "score"))
    words = weakref.ref(torch_model(mood).body.get_parameter("embeddings.word_embeddings.weight"))
    own = weakref.ref(torch_model(score).head)
    bases.let_go("score")
    del score
    assert own() is None, "it waits for the garbage collector"
    assert words() is not None
    assert mood.predict_texts(["good film"])
    bases.let_go("mood")
    assert bases.held == 0
    del mood
    assert words() is None


def test_a_base_that_was_changed_since_is_refused_and_not_held(tmp_path: Path, tiny_model_folder: Path) -> None:
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "base"))
    folder = trained(tmp_path / "bitfit", base, "bitfit", "single_label")
    weights = load_file(base / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, base / "model.safetensors", {"format": "pt"})
    bases = Bases("cpu")
    with pytest.raises(ArtifactError, match="learnt beside"):
        bases.load("mood", folder)
    shutil.rmtree(base)
    with pytest.raises(ArtifactError, match="There is no folder"):
        bases.load("mood", folder)
    assert bases.held == 0


def test_an_adapter_that_does_not_fit_leaves_nothing_behind(artifacts: dict[str, Path]) -> None:
    save_file({"nowhere.weight": torch.zeros(2)}, artifacts["mood"] / ADAPTER)
    seal(artifacts["mood"])
    bases = Bases("cpu")
    with pytest.raises(ArtifactError, match="no place in the model"):
        bases.load("mood", artifacts["mood"])
    assert bases.held == 0
