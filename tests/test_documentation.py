"""New recipes: each is whole, fits its task, and works on files like the rows that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.builders import write_sample
from tunesmith import pipeline
from tunesmith.data.samples import SAMPLES
from tunesmith.documentation import FITTING, new_recipe, starting
from tunesmith.experiment import Experiment
from tunesmith.tasks import TASKS

BODIES = {
    "encoder": "tiny_model_folder",
    "masked_lm": "tiny_model_folder",
    "causal_lm": "tiny_llama_folder",
    "seq2seq": "tiny_bart_folder",
}


@pytest.mark.parametrize("task", TASKS)
def test_a_new_recipe_says_the_defaults_and_what_fits_its_task(task: str) -> None:
    made = Experiment.from_mapping(yaml.safe_load(new_recipe(task))).to_mapping()
    given = starting(task)
    plain = Experiment.from_mapping({**given, "task": {"name": task, **given.get("task", {})}}).to_mapping()
    assert {**made, "name": ""} == {**plain, "name": ""}
    settings = [line for line in new_recipe(task).splitlines() if line.startswith("  ")]
    assert all("#" in line for line in settings), "every setting has a remark"


@pytest.mark.parametrize("task", TASKS)
def test_a_new_recipe_shows_the_rows_of_its_files_above_data(task: str) -> None:
    before, _, _ = new_recipe(task).partition("\ndata:\n")
    shown = [line.removeprefix("#   ") for line in before.splitlines() if line.startswith("#   ")]
    assert shown == [row for rows in SAMPLES[task][0].beginnings().values() for row in rows]
    assert 2 <= len(SAMPLES[task][0].beginnings()[next(iter(SAMPLES[task][0].files))]) <= 4
    assert "docs/data.md" in before


@pytest.mark.parametrize("task", TASKS)
def test_a_new_recipe_is_ready_for_files_like_its_rows(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(new_recipe(task), encoding="utf-8")
    given = SAMPLES[task][0]
    write_sample(tmp_path, given)
    for name, content in given.files.items():
        (tmp_path / name.replace("train", "test")).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # Two rows leave nothing to hold out, and a tiny model reads less.
    window = 64 if starting(task).get("task", {}).get("join") else 0
    changes = ["data.validation_share=0", f"task.max_length={window}", "trackers=[]"]
    experiment = Experiment.from_yaml(path, changes)
    if not experiment.model.is_scratch:
        folder = request.getfixturevalue(BODIES[experiment.task.body])
        experiment = Experiment.from_yaml(path, [*changes, f"model.name={folder}"])
    assert [finding for finding in pipeline.check(experiment) if finding.severity == "error"] == []


def test_what_fits_a_task_is_said_of_tasks_that_there_are() -> None:
    assert set(FITTING) <= set(TASKS)


def test_a_value_longer_than_a_line_stays_whole() -> None:
    assert "up_proj, down_proj]" in new_recipe("text_generation")
