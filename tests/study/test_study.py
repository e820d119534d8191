"""A study from its file to its table: each run once, going on where it was stopped, and honest about what failed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import write_examples
from tunesmith import cli
from tunesmith.errors import DataError, RecipeError
from tunesmith.study.conduct import conduct
from tunesmith.study.plan import Study
from tunesmith.study.running import finished
from tunesmith.study.table import as_markdown


def write_study(folder: Path, changes: dict[str, Any] | None = None, **settings: object) -> Path:
    """A study that runs in seconds with the model at `folder`/model; `changes` replace sections of its recipe."""
    recipe = {
        "task": "sequence_classification",
        "data": write_examples(folder),
        "model": {"name": str(folder / "model")},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.003},
        "evaluation": {"resamples": 100},
        "trackers": [],
    }
    given = {"recipe": {**recipe, **(changes or {})}, "vary": {"method": ["full", "head_only"]}, "seeds": [1, 2]}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**given, **settings}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """The folder of a study that ended well; not to be changed."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "model").symlink_to(tiny_model_folder)
    conduct(Study.from_yaml(write_study(folder)), folder / "out", quiet=True)
    return folder


def test_every_cell_has_its_runs_and_the_table_has_every_cell(finished_study: Path) -> None:
    out = finished_study / "out"
    for cell in ("full", "head_only"):
        for seed in (1, 2):
            recipe = yaml.safe_load((out / cell / f"seed-{seed}" / "recipe.yaml").read_text(encoding="utf-8"))
            assert (recipe["method"]["name"], recipe["seed"]) == (cell, seed)
    found = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert [cell["name"] for cell in found["cells"]] == ["full", "head_only"]
    full, head = found["cells"]
    for cell in found["cells"]:
        reported = [
            json.loads((out / cell["name"] / f"seed-{seed}" / "metrics.json").read_text(encoding="utf-8"))
            for seed in (1, 2)
        ]
        values = [metrics["test"][found["metric"]]["value"] for metrics in reported]
        assert list(cell["values"].values()) == values, "the study judges by what the runs report"
        assert cell["mean"]["value"] == pytest.approx(sum(values) / 2)
    assert full["difference"] is None
    assert head["difference"]["difference"]["value"] == pytest.approx(head["mean"]["value"] - full["mean"]["value"])
    assert head["learning"] == 66 < full["learning"] == full["parameters"]
    assert head["peak_memory"] > 0 < head["seconds"]
    table = (out / "study.md").read_text(encoding="utf-8")
    assert "| head_only |" in table
    assert head["difference"]["verdict"] in table


def test_given_again_it_trains_nothing_and_finds_the_same(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("a finished run is left alone")

    out = finished_study / "out"
    before = (out / "study.json").read_bytes()
    monkeypatch.setattr("tunesmith.study.running.subprocess.Popen", refuse)
    findings = conduct(Study.from_yaml(finished_study / "study.yaml"), out, quiet=True)
    assert (out / "study.json").read_bytes() == before
    assert as_markdown(findings) == (out / "study.md").read_text(encoding="utf-8")


def test_another_recipe_in_the_same_folder_is_refused(finished_study: Path) -> None:
    text = (finished_study / "study.yaml").read_text(encoding="utf-8").replace("epochs: 2", "epochs: 3")
    (finished_study / "changed.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match="another recipe") as error:
        conduct(Study.from_yaml(finished_study / "changed.yaml"), finished_study / "out", quiet=True)
    assert "seed-1" in error.value.where
    assert "--overwrite" in error.value.to_do


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_result(finished_study: Path, place: Path) -> None:
    text = (finished_study / "study.yaml").read_text(encoding="utf-8")
    (place / "study.yaml").write_text(text, encoding="utf-8")
    out = place / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "study", str(place / "study.yaml"), "--out", str(out)],
        stderr=subprocess.DEVNULL,
    )
    while not (out / "full" / "seed-1" / "log.jsonl").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # its run lives on, and is waited for
    process.wait()
    study = Study.from_yaml(place / "study.yaml")
    shutil.copytree(finished_study / "out" / "head_only", out / "head_only")
    shutil.copytree(finished_study / "out" / "full" / "seed-2", out / "full" / "seed-2")
    shutil.copy(finished_study / "out" / "full" / "seed-2.json", out / "full")
    conduct(study, out, quiet=True)
    assert all(finished(run) for run in study.runs(out))
    killed, whole = (json.loads((at / "study.json").read_text("utf-8")) for at in (out, finished_study / "out"))
    assert [cell["values"] for cell in killed["cells"]] == [cell["values"] for cell in whole["cells"]]


def test_a_run_that_stopped_is_resumed(finished_study: Path, place: Path) -> None:
    out = place / "out"
    shutil.copytree(finished_study / "out", out)
    run = out / "full" / "seed-1"
    (out / "full" / "seed-1.json").write_text('{"folder": "cut sh', encoding="utf-8")
    shutil.rmtree(run / "artifact")
    shutil.rmtree(run / "checkpoints")
    findings = conduct(Study.from_yaml(finished_study / "study.yaml"), out, quiet=True)
    assert not findings.failures
    before = json.loads((finished_study / "out" / "study.json").read_text(encoding="utf-8"))
    assert {str(seed): value for seed, value in findings.cells[0].values.items()} == before["cells"][0]["values"]


def test_a_failed_run_is_named_and_the_others_go_on(
    finished_study: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "out"
    shutil.copytree(finished_study / "out", out)
    (out / "head_only" / "seed-2.json").unlink()
    (out / "head_only" / "seed-2" / "checkpoints").rename(place / "gone")
    monkeypatch.setattr("tunesmith.study.running.sys.executable", "false")
    arguments = ["study", str(finished_study / "study.yaml"), "--out", str(out)]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    printed = capsys.readouterr()
    assert "Failed: head_only, seed 2: it ended with code 1" in printed.out
    assert "| head_only |" in printed.out
    assert "4 of 4" in printed.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vary": {"method": ["full", "boft"]}}, "no multiple of 8"),
        ({"vary": {"training.metric": ["", "bleurt"]}}, "bleurt"),
        ({"vary": {"data.validation": ["none.csv"]}}, "none.csv"),
    ],
)
def test_what_would_fail_late_fails_before_any_training(settings: dict[str, Any], message: str, place: Path) -> None:
    with pytest.raises((RecipeError, DataError)) as error:
        conduct(Study.from_yaml(write_study(place, **settings)), place / "out", quiet=True)
    assert message in str(error.value)
    assert "cell '" in error.value.where
    assert not list((place / "out").glob("*/*"))


def test_seeds_must_be_judged_on_the_same_examples(place: Path) -> None:
    data = {"train": write_examples(place)["train"]}
    with pytest.raises(DataError, match="Each seed would hold out other test examples"):
        conduct(Study.from_yaml(write_study(place, {"data": data})), place / "out", quiet=True)
    none = {**write_examples(place), "validation": "", "validation_share": 0}
    study = Study.from_yaml(write_study(place, {"data": none}, split="validation"))
    with pytest.raises(DataError, match="There are no validation examples"):
        conduct(study, place / "out", quiet=True)
    left_out = {**write_examples(place), "test": "none"}
    with pytest.raises(DataError, match="There are no test examples"):
        conduct(Study.from_yaml(write_study(place, {"data": left_out})), place / "out", quiet=True)
    alone = {"validation": write_examples(place)["validation"]}  # nothing from which a test split could be held out
    with pytest.raises(DataError, match="There are no test examples"):
        conduct(Study.from_yaml(write_study(place, {"data": alone}, seeds=[1])), place / "out", quiet=True)


def test_cells_must_be_judged_on_the_same_examples(place: Path) -> None:
    files = write_examples(place)
    vary = {"data.test": [files["test"], files["validation"]]}
    with pytest.raises(RecipeError, match="different metrics or on different examples"):
        conduct(Study.from_yaml(write_study(place, vary=vary)), place / "out", quiet=True)
