"""The recipe as an object: nothing is lost on the way to YAML and back, and wrong keys are named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tunesmith.errors import RecipeError
from tunesmith.experiment import FAMILIES, Experiment
from tunesmith.methods import LoRA
from tunesmith.recipes import with_changes
from tunesmith.semi_supervision import SEMI_SUPERVISION

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
    if "recipe" not in yaml.safe_load(path.read_text(encoding="utf-8"))  # studies: tests/study/test_plan.py
]
SMALL = {"task": "sequence_classification", "data": {"train": "a.csv"}}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_recipe_that_survives_yaml(path: Path, tmp_path: Path) -> None:
    experiment = Experiment.from_yaml(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(experiment.to_yaml(), encoding="utf-8")
    assert Experiment.from_yaml(copy) == experiment


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in FAMILIES for name in FAMILIES[family]])
def test_every_member_survives_yaml(family: str, name: str, tmp_path: Path) -> None:
    uses_texts = FAMILIES[family] is SEMI_SUPERVISION and name != "none"
    beside = {"data": {"train": "a.csv", "unlabelled": "texts.csv"}} if uses_texts else {}
    needed = {"distillation": {"teacher": "runs/teacher/artifact"}}.get(name, {})
    experiment = Experiment.from_mapping({**SMALL, family: {"name": name, **needed}, **beside})
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**40}, "seed must be"),
        ({"name": "../elsewhere"}, "cannot be a folder's"),
        ({"name": ".."}, "cannot be a folder's"),
        ({"name": " "}, "cannot be a folder's"),
        ({"name": "a\\b"}, "cannot be a folder's"),
        ({"training": {"clip": float("nan")}}, "clip must be a finite number"),
        ({"training": {"weight_decay": float("inf")}}, "weight_decay must be a finite number"),
        ({"training": {"head_multiplier": 0}}, "head_multiplier must be a positive number"),
        ({"training": {"learning_rate": -1.0}}, "learning_rate must be a positive number"),
        ({"training": {3: 1}}, "Unknown key '3'"),
        ({3: 1}, "Unknown key '3'"),
        ({"optimizer": {"name": "adamw", "beta1": 1.0}}, "beta1 must be"),
        ({"optimizer": {"name": "adamw", "epsilon": 0}}, "epsilon must be positive"),
        ({"optimizer": {"name": "sgd", "momentum": 1.0}}, "momentum must be"),
        ({"optimizer": {"name": "sgd", "momentum": 0.0, "nesterov": True}}, "nesterov looks ahead"),
        ({"task": {"name": "sequence_classification", "class_weights": {"a": -1.0}}}, "class_weights must be positive"),
        ({"method": {"name": "lora", "alpha": 0}}, "alpha must be positive"),
        ({"method": {"name": "lora", "dropout": 1.0}}, "dropout must be"),
        ({"task": {"name": "sequence_classification", "max_length": -1}}, "max_length must not be negative"),
        ({"task": {"name": "token_classification", "stride": -5}}, "stride must not be negative"),
        ({"task": {"name": "token_classification", "temperature": 0}}, "temperature must be positive"),
        ({"task": {"name": "sequence_classification", "labels": ["a", "b", "a"]}}, "'a' stands twice"),
        ({"task": {"name": "token_classification", "labels": ["a", ""]}}, "must not be empty"),
        ({"task": {"name": "sequence_classification", "positive": "a"}}, "positive has no effect on problem"),
        (
            {"task": {"name": "sequence_classification", "problem": "regression", "threshold": 0.4}},
            "threshold has no effect",
        ),
    ],
    ids=str,
)
def test_a_setting_without_sense_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        Experiment.from_mapping({**SMALL, **changes})


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("task: sequence_classification\ntraining:\n  epochs: 1\n  epochs: 2\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="'epochs' stands twice") as error:
        Experiment.from_yaml(path)
    assert error.value.where == f"{path}, line 4"


@pytest.mark.parametrize("text", ["task: &a [*a]\n", "a: &a x\ndata: {train: *a}\n", "task: " + "[" * 3000])
def test_a_recipe_that_would_not_end_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match="not valid YAML"):
        Experiment.from_yaml(path)


def test_a_value_that_yaml_cannot_hold_is_refused() -> None:
    with pytest.raises(RecipeError, match="not valid YAML"):
        with_changes(SMALL, ["name=2024-13-01"])
