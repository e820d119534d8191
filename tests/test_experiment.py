"""The recipe as an object: nothing is lost on the way to YAML and back, and wrong keys are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import RecipeError
from tunesmith.experiment import FAMILIES, Experiment, with_changes
from tunesmith.methods import LoRA

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
SMALL = {"task": "sequence_classification", "data": {"train": "a.csv"}}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_recipe_that_survives_yaml(path: Path, tmp_path: Path) -> None:
    experiment = Experiment.from_yaml(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(experiment.to_yaml(), encoding="utf-8")
    assert Experiment.from_yaml(copy) == experiment


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in FAMILIES for name in FAMILIES[family]])
def test_every_member_survives_yaml(family: str, name: str, tmp_path: Path) -> None:
    experiment = Experiment.from_mapping({**SMALL, family: name})
    copy = tmp_path / "copy.yaml"
    copy.write_text(experiment.to_yaml(), encoding="utf-8")
    assert Experiment.from_yaml(copy) == experiment


def test_changes_reach_sections_and_components() -> None:
    recipe = with_changes(SMALL, ["training.epochs=7", "method=lora", "method.rank=4", "seed=2", "data.keep=[a, b]"])
    experiment = Experiment.from_mapping(recipe)
    assert experiment.training.epochs == 7
    assert isinstance(experiment.method, LoRA)
    assert (experiment.method.rank, experiment.seed, experiment.data.keep) == (4, 2, ("a", "b"))


@pytest.mark.parametrize("change", ["epochs", "training.epochs.x=1", "=3", "training.=3"])
def test_malformed_changes_are_refused(change: str) -> None:
    with pytest.raises(RecipeError, match="is no change"):
        with_changes(SMALL, [change])


def test_an_unknown_key_names_the_nearest_at_every_depth() -> None:
    for wrong, nearest in (
        ({"sed": 1}, "seed"),
        ({"model": {"nam": "x"}}, "name"),
        ({"evaluation": {"resample": 1}}, "resamples"),
    ):
        with pytest.raises(RecipeError, match=f"Did you mean '{nearest}'"):
            Experiment.from_mapping({**SMALL, **wrong})
