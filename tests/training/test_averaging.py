"""Averages of weights: their closed forms, served in the place of the last weights, and the same after a stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.builders import write_examples, write_recipe
from tunesmith import pipeline
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment
from tunesmith.models.model import Model
from tunesmith.preparation import prepare
from tunesmith.training import fitting
from tunesmith.training.averaging import EMA, SWA, Average, NoAveraging
from tunesmith.training.checkpoint import Progress, Stateful, save_checkpoint


def walk(steps: int) -> list[Tensor]:
    """Weights after each of some steps, the first before them."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, generator=generator) for _ in range(steps + 1)]


def averaged(settings: EMA | SWA | NoAveraging, weights: list[Tensor]) -> Tensor:
    """The average after all steps, as a run takes it."""
    learning = {"w": weights[0].clone()}
    average = Average(settings, learning, len(weights) - 1)
    for step, now in enumerate(weights[1:], 1):
        learning["w"].copy_(now)
        average.update(step)
    return average.weights["w"]


def test_ema_without_warmup_is_its_closed_form() -> None:
    weights, decay = walk(30), 0.9
    n = len(weights) - 1
    wanted = decay**n * weights[0]
    for step in range(1, n + 1):
        wanted = wanted + (1 - decay) * decay ** (n - step) * weights[step]
    torch.testing.assert_close(averaged(EMA(decay, warmup=False), weights), wanted)


def test_the_decay_of_ema_rises_so_that_a_short_run_forgets_its_start() -> None:
    weights = walk(40)
    decays = [min(0.999, (1 + t) / (10 + t)) for t in range(1, 41)]
    wanted = math.prod(decays) * weights[0]
    for step in range(1, 41):
        wanted = wanted + (1 - decays[step - 1]) * math.prod(decays[step:]) * weights[step]
    torch.testing.assert_close(averaged(EMA(0.999), weights), wanted)
    assert math.prod(decays) < 1e-6 < 0.9 < 0.999**40


@pytest.mark.parametrize(("start", "first"), [(0.0, 1), (0.75, 31), (0.99, 40)])
def test_swa_is_the_mean_of_the_weights_from_its_start_on(start: float, first: int) -> None:
    weights = walk(40)
    assert SWA(start).first(40) == first
    torch.testing.assert_close(averaged(SWA(start), weights), torch.stack(weights[first:]).mean(0))


def test_before_its_start_swa_is_the_weights_themselves() -> None:
    weights = walk(40)
    learning = {"w": weights[0].clone()}
    average = Average(SWA(0.75), learning, 40)
    for step in range(1, 31):
        learning["w"].copy_(weights[step])
        average.update(step)
        assert torch.equal(average.weights["w"], weights[step])


def test_an_average_of_weights_that_stand_still_is_these_weights() -> None:
    still = walk(0) * 21
    for settings in (EMA(0.99), SWA(0.5)):
        torch.testing.assert_close(averaged(settings, still), still[0], rtol=1e-6, atol=0)


def test_the_weights_are_back_in_place_after_the_average_was_there() -> None:
    learning = {"w": torch.zeros(2)}
    average = Average(EMA(0.5, warmup=False), learning, 10)
    learning["w"].fill_(1.0)
    average.update(1)
    with average.in_place():
        assert learning["w"].tolist() == [0.5, 0.5]
    assert learning["w"].tolist() == [1.0, 1.0]


def test_without_averaging_nothing_is_copied() -> None:
    learning = {"w": torch.zeros(2)}
    average = Average(NoAveraging(), learning, 10)
    assert average.weights is learning
    assert average.state() is None


def fit(experiment: Experiment, folder: Path) -> Model:
    """Train in a folder, or go on there, without all that follows; the weights to be served are in the model."""
    prepared = prepare(experiment)
    folder.mkdir(exist_ok=True)
    model = pipeline.rehearse(experiment, prepared)
    pipeline.fit(experiment, prepared, model, folder, quiet=True)
    return model


def kept(folder: Path, file: str) -> dict[str, Tensor]:
    """A file of the newest checkpoint."""
    return load_file(sorted((folder / "checkpoints").glob("step-*"))[-1] / file)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("name", "precision"), [("ema", "bf16"), ("swa", "fp32")])
def test_a_stopped_run_goes_on_to_the_same_average_to_the_bit(
    name: str, precision: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"epochs": 3, "precision": precision, "validate_every": 5, "checkpoint_every": 3}
    experiment = Experiment.from_yaml(write_recipe(place, averaging=name, training=training))
    whole = fit(experiment, place / "whole")

    def stop(folder: Path, learning: dict, states: Stateful, progress: Progress) -> None:
        save_checkpoint(folder, learning, states, progress)
        if progress.step >= 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "save_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(experiment, place / "stopped")
    resumed = fit(experiment, place / "stopped")
    assert same(resumed.state_dict(), whole.state_dict())
    for file in ("average.safetensors", "weights.safetensors"):
        assert same(kept(place / "stopped", file), kept(place / "whole", file))


def test_the_average_is_what_is_validated_saved_and_served(place: Path) -> None:
    training = {"epochs": 2, "precision": "fp32"}
    fit(Experiment.from_yaml(write_recipe(place, training=training)), place / "plain")
    recipe = write_recipe(place, training=training, averaging={"name": "ema", "decay": 0.9})
    result = pipeline.run(Experiment.from_yaml(recipe), place / "ema", quiet=True)
    assert same(kept(place / "plain", "weights.safetensors"), kept(place / "ema", "weights.safetensors")), (
        "an average must not touch what is learnt"
    )
    served = load_file(result.artifact / "model.safetensors")
    best = load_file(place / "ema" / "checkpoints" / "best.safetensors")
    assert same({name: served[name] for name in best}, best)
    assert any("average of the weights from step 1" in note for note in result.report.notes)
    steps = {path.name: load_file(path / "average.safetensors") for path in (place / "ema" / "checkpoints").glob("s*")}
    assert any(same(best, average) for average in steps.values())


def test_only_learning_weights_are_averaged(place: Path) -> None:
    recipe = write_recipe(place, method={"name": "lora", "rank": 2}, averaging="swa", training={"epochs": 1})
    fit(Experiment.from_yaml(recipe), place)
    names = set(kept(place, "average.safetensors"))
    assert names == set(kept(place, "weights.safetensors"))
    assert all("lora_" in name or name.startswith("head.") for name in names)


def test_a_run_without_validation_ends_with_the_average(place: Path) -> None:
    recipe = write_recipe(place, averaging={"name": "swa", "start": 0.0}, training={"epochs": 1, "precision": "fp32"})
    model = fit(Experiment.from_yaml(recipe, ["data.validation=none"]), place)
    assert same(dict(model.named_parameters()), kept(place, "average.safetensors"))


def test_averaging_of_nothing_is_refused(place: Path) -> None:
    files = {"train": "none", "validation": "none", "test": write_examples(place)["test"]}
    recipe = write_recipe(
        place,
        task={"name": "zero_shot_classification", "labels": ["good", "bad"]},
        data=files,
        method="none",
        averaging="ema",
    )
    with pytest.raises(RecipeError, match="no weight of this model learns"):
        pipeline.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("name", "settings"), [("ema", {"decay": 1.0}), ("ema", {"decay": 0.0}), ("swa", {"start": 1.0})]
)
def test_settings_without_meaning_are_refused(name: str, settings: dict, place: Path) -> None:
    with pytest.raises(RecipeError, match=f"{next(iter(settings))} must"):
        Experiment.from_yaml(write_recipe(place, averaging={"name": name, **settings}))
