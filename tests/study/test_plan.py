"""What a study's file means: its cells, their recipes, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.errors import RecipeError
from tunesmith.study.plan import Study

RECIPE: dict[str, Any] = {"task": "sequence_classification", "data": {"train": "a.csv", "test": "b.csv"}}


def write_study(folder: Path, **settings: object) -> Path:
    path = folder / "mine.yaml"
    given = {"recipe": RECIPE, "vary": {"method": ["full"]}, **settings}
    whole = {key: value for key, value in given.items() if value is not None}
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


def read(folder: Path, **settings: object) -> Study:
    return Study.from_yaml(write_study(folder, **settings))


def test_cells_are_every_combination_in_the_order_of_the_file(tmp_path: Path) -> None:
    methods = ["full", {"name": "lora", "rank": 4}]
    study = read(tmp_path, vary={"method": methods, "training.epochs": [1, 2]})
    names = ["full+epochs=1", "full+epochs=2", "lora-rank=4+epochs=1", "lora-rank=4+epochs=2"]
    assert [cell.name for cell in study.cells()] == names
    assert study.compared_with() == "full+epochs=1"
    last = study.experiment(study.cells()[-1], 7).to_mapping()
    assert last["seed"] == 7
    assert last["method"] == {**last["method"], "name": "lora", "rank": 4}  # type: ignore[dict-item]
    assert last["training"]["epochs"] == 2  # type: ignore[index]


def test_named_sets_of_keys_carry_their_own_tuning(tmp_path: Path) -> None:
    ways = {
        "all weights": {"method": "full", "training.learning_rate": 1e-4},
        "低秩": {"method": "lora", "method.rank": 2, "training.batch_size": 8},
    }
    study = read(tmp_path, vary={"way": ways}, baseline="低秩")
    assert [cell.name for cell in study.cells()] == ["all-weights", "低秩"]
    full, lora = (study.experiment(cell, 1) for cell in study.cells())
    assert full.training.learning_rate == 1e-4
    assert lora.to_mapping()["method"]["rank"] == 2  # type: ignore[index]
    assert lora.training.batch_size == 8


def test_remedies_sizes_and_data_sets_are_combined_and_each_has_its_baseline(tmp_path: Path) -> None:
    study = read(
        tmp_path,
        data={"one": {"data.train": "1.csv"}, "two": {"data.train": "2.csv", "task.problem": "binary"}},
        sizes=[10, 20],
        remedies={"r_drop": {"objective": "r_drop"}},
        vary={"training.epochs": [1, 2]},
        baseline="baseline+epochs=2",
    )
    cells = {cell.name: cell for cell in study.cells()}
    assert len(cells) == 2 * 2 * 2 * 2
    assert list(cells)[:2] == ["one+limit=10+baseline+epochs=1", "one+limit=10+baseline+epochs=2"]
    last = cells["two+limit=20+r_drop+epochs=2"]
    assert (last.block, last.way) == (("two", 20), "r_drop+epochs=2")
    made = study.experiment(last, 1).to_mapping()
    assert made["data"]["train"] == "2.csv"  # type: ignore[index]
    assert made["data"]["limit"] == 20  # type: ignore[index]
    assert made["objective"]["name"] == "r_drop"  # type: ignore[index]
    assert made["task"]["problem"] == "binary"  # type: ignore[index]
    assert study.compared_with() == "baseline+epochs=2"


def test_only_a_study_that_judges_by_test_has_runs_that_answer_it(tmp_path: Path) -> None:
    for split, answers in (("validation", False), ("test", True)):
        study = read(tmp_path, split=split)
        assert study.experiment(study.cells()[0], 1).evaluation.test is answers


def test_runs_stand_in_folders_of_cells_and_seeds(tmp_path: Path) -> None:
    study = read(tmp_path, vary={"method": ["full", "bitfit"]}, seeds=[2, 1])
    places = [str(run.folder.relative_to(tmp_path)) for run in study.runs(tmp_path)]
    assert places == ["full/seed-2", "bitfit/seed-2", "full/seed-1", "bitfit/seed-1"]
    assert study.name == "mine"


@pytest.mark.parametrize(
    ("settings", "message", "where"),
    [
        ({"sedes": [1]}, "Unknown key 'sedes'. Did you mean 'seeds'?", "mine.yaml"),
        ({"vary": {}}, "needs 'vary'", "mine.yaml"),
        ({"remedies": {"a": 3}}, "valid dictionary", "remedies.a"),
        ({"remedies": {"a": {"seed": 3}}}, "'seed' is no key that can be varied", "remedies"),
        ({"remedies": {"baseline": {"method": "lora"}}, "vary": None}, "Two cells have the name 'baseline'", ""),
        ({"data": {"a": {"data.limit": 3}}, "sizes": [3]}, "'data.limit' is varied twice", "data"),
        ({"sizes": [10, 10]}, "none twice", "sizes"),
        ({"sizes": [0]}, "positive numbers", "sizes"),
        ({"workers": -1}, "must not be negative", "workers"),
        ({"vary": None}, "nothing to vary", "vary"),
        ({"recipe": "other.yaml"}, "needs 'recipe'", "mine.yaml"),
        ({"vary": {"method": []}}, "nothing to vary", "vary.method"),
        ({"vary": {"way": {"a": 3}}}, "'a' must hold keys", "vary.way"),
        ({"vary": {"seed": [1, 2]}}, "'seed' is no key that can be varied", "vary"),
        ({"vary": {"a.b.c": [1, 2]}}, "'a.b.c' is no key", "vary"),
        ({"vary": {"training.epochs": [1, 1]}}, "Two cells have the name 'epochs=1'", "vary"),
        ({"vary": {"training.epochs": [1], "x": {"y": {"training.epochs": 2}}}}, "varied twice", "vary"),
        ({"vary": {"method": ["full", "lora"]}, "baseline": "ful"}, "Did you mean 'full'?", "baseline"),
        ({"seeds": []}, "There must be a seed", "seeds"),
        ({"seeds": [1, 1]}, "none twice", "seeds"),
        ({"seeds": ["x"]}, "valid integer", "seeds"),
        ({"split": "train"}, "'test' or 'validation'", "split"),
        ({"recipe": {**RECIPE, "seed": 3}}, "has no seed", "recipe.seed"),
    ],
)
def test_bad_files_say_what_is_wrong_and_where(
    settings: dict[str, object], message: str, where: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError) as error:
        read(tmp_path, **settings)
    assert message in error.value.what
    assert where in error.value.where
    assert error.value.to_do


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"method": ["full", "lorra"]}, "Unknown name 'lorra'. Did you mean 'lora'?"),
        ({"trainig.epochs": [1, 2]}, "Unknown key 'trainig'. Did you mean 'training'?"),
        ({"training.epoch": [1, 2]}, "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ({"training.epochs": [0, 2]}, "epochs must be at least 1"),
    ],
)
def test_a_wrong_recipe_is_found_with_its_cell(vary: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        read(tmp_path, vary=vary).runs(tmp_path)
    assert message in error.value.what
    assert "cell '" in error.value.where


@pytest.mark.parametrize(
    ("name", "size"),
    [("compare_methods", 21), ("choose_learning_rates", 22), ("learning_curve", 18), ("study_little_data", 165)],
)
def test_the_studies_among_the_examples_are_right(name: str, size: int) -> None:
    study = Study.from_yaml(Path(__file__).parents[2] / "examples" / f"{name}.yaml")
    runs = study.runs(Path("out"))
    assert len(runs) == size
    rates = {run.experiment.training.learning_rate for run in runs}
    assert all(isinstance(rate, float) for rate in rates)


def test_a_file_that_is_none_is_called_a_study(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="The study does not exist"):
        Study.from_yaml(tmp_path / "none.yaml")
