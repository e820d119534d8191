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
from tunesmith.data.dataset import Data
from tunesmith.data.splits import fingerprint
from tunesmith.errors import DataError, RecipeError, ResourceError, TunesmithError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.study.conduct import conduct, forecast
from tunesmith.study.judged import judge
from tunesmith.study.plan import Study
from tunesmith.study.running import JOURNAL, alone, finished, known
from tunesmith.study.table import as_markdown
from tunesmith.study.testing import LOOKS
from tunesmith.study_console import show_forecast


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
    whole = {key: value for key, value in {**given, **settings}.items() if value is not None}
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
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
        assert all("test" not in metrics for metrics in reported), "no run answers the test examples"
        values = [metrics["validation"][found["metric"]]["value"] for metrics in reported]
        assert list(cell["values"].values()) == values, "the study judges by what the runs report"
        assert cell["mean"]["value"] == pytest.approx(sum(values) / 2)
    assert full["difference"] is None
    assert head["difference"]["difference"]["value"] == pytest.approx(head["mean"]["value"] - full["mean"]["value"])
    assert head["learning"] == 66 < full["learning"] == full["parameters"]
    assert head["peak_memory"] > 0 < head["seconds"]
    table = (out / "study.md").read_text(encoding="utf-8")
    assert "| head_only |" in table
    assert head["difference"]["verdict"] in table
    page = (out / "study.html").read_text(encoding="utf-8")
    assert head["difference"]["verdict"] in page
    assert "http-equiv" not in page
    assert "<script src" not in page


def test_test_is_looked_at_once_for_the_chosen_cell_and_the_baseline(finished_study: Path) -> None:
    out = finished_study / "out"
    found = json.loads((out / "study.json").read_text(encoding="utf-8"))
    (looked,) = json.loads((out / LOOKS).read_text(encoding="utf-8"))
    (tested,) = found["tested"]
    best = max(found["cells"], key=lambda cell: (cell["mean"]["value"], cell["difference"] is None))
    assert looked["key"]["chosen"] == tested["chosen"] == best["name"]
    assert (tested["baseline"], tested["looks"]) == ("full", 1)
    assert "Test (" in (out / "study.md").read_text(encoding="utf-8")
    artifact = Predictor.load(out / "full" / "seed-1" / "artifact")
    experiment = Experiment.from_yaml(out / "full" / "seed-1" / "recipe.yaml")
    assert experiment.evaluation.test is False
    examples = experiment.data.load("class", 1).splits.test
    answers = artifact.predict(examples)
    right = [answer.label == example.label for answer, example in zip(answers, examples, strict=True)]
    assert judge(out / "full" / "seed-1" / "artifact", "test").size == tested["examples"] == len(right)


def test_another_choice_is_another_look_and_is_counted(finished_study: Path, place: Path) -> None:
    out = place / "out"
    shutil.copytree(finished_study / "out", out)
    looks = json.loads((out / LOOKS).read_text(encoding="utf-8"))
    looks[0]["key"]["chosen"] = "an earlier favourite"
    (out / LOOKS).write_text(json.dumps(looks), encoding="utf-8")
    findings = conduct(Study.from_yaml(finished_study / "study.yaml"), out, quiet=True)
    assert findings.tested[0].looks == 2
    assert "look number 2" in as_markdown(findings)
    (out / LOOKS).write_text("[cut", encoding="utf-8")
    with pytest.raises(ResourceError, match="earlier looks"):
        conduct(Study.from_yaml(finished_study / "study.yaml"), out, quiet=True)


def test_given_again_it_trains_nothing_and_finds_the_same(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("a finished run is left alone")

    out = finished_study / "out"
    before = (out / "study.json").read_bytes()
    monkeypatch.setattr("tunesmith.study.running.subprocess.Popen", refuse)
    monkeypatch.setattr("tunesmith.study.testing.judge", refuse)
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


def test_runs_of_files_that_were_changed_since_are_no_longer_known(finished_study: Path, place: Path) -> None:
    out = place / "out"
    shutil.copytree(finished_study / "out", out)
    study = Study.from_yaml(finished_study / "study.yaml")
    assert all(known(run) for run in study.runs(out))
    train = Path(study.runs(out)[0].experiment.data.train)
    before = train.read_bytes()
    train.write_bytes(before + before.splitlines(keepends=True)[-1])
    try:
        assert not any(known(run) for run in study.runs(out))
        with pytest.raises(RecipeError, match="a file was changed since"):
            conduct(study, out, quiet=True)
    finally:
        train.write_bytes(before)


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / JOURNAL).read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_result_and_repeats_no_run(finished_study: Path, place: Path) -> None:
    shutil.copy(finished_study / "study.yaml", place / "study.yaml")
    out = place / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "study", str(place / "study.yaml"), "--out", str(out), "--workers", "2"],
        stderr=subprocess.DEVNULL,
    )
    while not list(out.glob("*/seed-*/log.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # its runs live on, and are waited for
    process.wait()
    assert len(journal(out)) == 2, "two runs had begun, none had ended"
    study = Study.from_yaml(place / "study.yaml")
    conduct(study, out, quiet=True)
    assert all(finished(run) for run in study.runs(out))
    started = [(row["cell"], row["seed"]) for row in journal(out) if row["event"] == "start"]
    assert sorted(started) == sorted((run.cell, run.seed) for run in study.runs(out)), "each run began once"
    killed, whole = (json.loads((at / "study.json").read_text("utf-8")) for at in (out, finished_study / "out"))
    assert [cell["values"] for cell in killed["cells"]] == [cell["values"] for cell in whole["cells"]]


def test_an_interrupted_study_leaves_no_process(place: Path) -> None:
    """A signal to the study alone, as a service manager would send it, while runs that would take minutes go on."""
    study = write_study(place, {"training": {"epochs": 5000, "batch_size": 8, "learning_rate": 0.003}})
    out = place / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "study", str(study), "--out", str(out)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not (out / JOURNAL).is_file() or not journal(out):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(120) == 130
    finally:  # where it ignores the signal, as what nohup starts does
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    with alone(out):  # free at once, so no run goes on
        rows = journal(out)
    assert [row["event"] for row in rows].count("start") == [row["event"] for row in rows].count("end")
    assert not any(finished(run) for run in Study.from_yaml(study).runs(out))


def test_a_run_that_stopped_is_resumed(finished_study: Path, place: Path) -> None:
    out = place / "out"
    shutil.copytree(finished_study / "out", out)
    run = out / "full" / "seed-1"
    (out / "full" / "seed-1.json").write_text('{"folder": "cut sh', encoding="utf-8")
    shutil.rmtree(run / "artifact")
    assert not (run / "checkpoints").exists(), "a run that ended well never goes on"
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
    monkeypatch.setattr("tunesmith.study.running.sys.executable", "false")
    arguments = ["study", str(finished_study / "study.yaml"), "--out", str(out)]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    printed = capsys.readouterr()
    assert "Failed: head_only, seed 2: it ended with code 1" in printed.out
    assert "| head_only |" in printed.out
    assert "4 of 4" in printed.err
    assert "No model has answered the test examples, since runs have failed" in printed.out


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


def test_a_later_seed_whose_draw_lacks_a_label_fails_before_any_training(place: Path) -> None:
    data = {**write_examples(place), "limit": 24}

    def with_an_odd_label() -> None:
        for split in ("train", "validation"):
            with (place / f"{split}.csv").open("a", encoding="utf-8") as file:
                file.write(f"an odd one of {split},odd\n")

    with_an_odd_label()
    draws = {seed: Data(**data).load("class", seed).splits.train for seed in range(20)}  # type: ignore[arg-type]
    lacking = {seed: "odd" not in {one.label for one in train} for seed, train in draws.items()}
    first = next(seed for seed, lacks in lacking.items() if not lacks)
    later = next(seed for seed, lacks in lacking.items() if lacks)
    study = Study.from_yaml(write_study(place, {"data": data}, seeds=[first, later]))
    with_an_odd_label()
    with pytest.raises(DataError, match="do not occur in train") as error:
        conduct(study, place / "out", quiet=True)
    assert error.value.where.startswith(f"cell 'full', seed {later}")
    assert not list((place / "out").glob("*/*"))


def test_more_training_examples_than_there_are_are_refused(place: Path) -> None:
    study = Study.from_yaml(write_study(place, sizes=[8, 5000], vary=None))
    with pytest.raises(RecipeError, match=r"There are \d+ training examples, fewer than 5,000") as error:
        conduct(study, place / "out", quiet=True)
    assert error.value.where.startswith("cell 'limit=5000'")
    assert not list((place / "out").glob("*/*"))


def test_seeds_must_be_judged_on_the_same_examples(place: Path) -> None:
    data = {"train": write_examples(place)["train"]}
    for split in ("test", "validation"):
        with pytest.raises(DataError, match=f"Each seed would hold out other {split} examples"):
            conduct(Study.from_yaml(write_study(place, {"data": data}, split=split)), place / "out", quiet=True)
    none = {**write_examples(place), "validation": "", "validation_share": 0}
    study = Study.from_yaml(write_study(place, {"data": none}, split="validation"))
    with pytest.raises(DataError, match="There are no validation examples"):
        conduct(study, place / "out", quiet=True)
    left_out = {**write_examples(place), "test": "none"}
    with pytest.raises(DataError, match="There are no test examples"):
        conduct(Study.from_yaml(write_study(place, {"data": left_out}, split="test")), place / "out", quiet=True)
    alone = {"validation": write_examples(place)["validation"]}  # nothing from which a test split could be held out
    study = Study.from_yaml(write_study(place, {"data": alone}, seeds=[1], split="test"))
    with pytest.raises(DataError, match="There are no test examples"):
        conduct(study, place / "out", quiet=True)


def test_examples_held_out_by_a_seed_of_their_own_are_the_same_for_all_runs(place: Path) -> None:
    data = {"train": write_examples(place)["train"], "split_seed": 5}
    study = Study.from_yaml(write_study(place, {"data": data}))
    splits = [run.experiment.data.load("class", run.seed).splits for run in study.runs(place)]
    assert len({fingerprint(one.validation) for one in splits}) == 1
    assert len({fingerprint(one.test) for one in splits}) == 1
    plain = [Data(train=write_examples(place)["train"]).load("class", seed).splits for seed in (1, 2)]
    assert fingerprint(plain[0].validation) != fingerprint(plain[1].validation)


def test_a_dry_run_lists_cells_and_trains_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = forecast(Study.from_yaml(write_study(place, workers=2)), place / "out")
    assert [cell.name for cell in found.cells] == ["full", "head_only"]
    assert (found.runs, found.done, found.room.workers) == (4, 0, 2)
    assert found.seconds == pytest.approx(sum(found.per_run.values()), rel=0.01), "four runs, two at a time"
    assert found.memory["head_only"] < found.memory["full"]
    assert not (place / "out").exists()
    show_forecast(found, as_json=False)
    printed = capsys.readouterr().out
    assert "| head_only |" in printed
    assert "4 runs, 0 of them done; up to 2 at a time" in printed


def test_cells_that_differ_in_their_augmenters_are_rehearsed_apart(place: Path) -> None:
    remedies = {"wrong": {"augmenters": [{"name": "replace_synonyms", "lexicon": "none.txt"}]}}
    study = Study.from_yaml(write_study(place, vary=None, remedies=remedies))
    with pytest.raises(TunesmithError) as error:
        forecast(study, place / "out")
    assert "cell 'wrong'" in error.value.where


def test_cells_must_be_judged_on_the_same_examples(place: Path) -> None:
    files = write_examples(place)
    vary = {"data.validation": [files["validation"], files["test"]]}
    with pytest.raises(RecipeError, match="different metrics or on different examples"):
        conduct(Study.from_yaml(write_study(place, vary=vary)), place / "out", quiet=True)
