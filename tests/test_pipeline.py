"""A run from recipe to report, and what makes it trustworthy: resuming to the same bits, and a proven artifact."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.builders import write_recipe
from tunesmith import pipeline
from tunesmith.data.records import Example
from tunesmith.errors import ArtifactError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import file_hash, verify
from tunesmith.inference.predictor import Predictor
from tunesmith.scoring import Measure, mean_measure
from tunesmith.training.fitting import Validation

FILES = ["artifact", "checkpoints", "log.jsonl", "metrics.json", "predictions.jsonl", "recipe.yaml", "report.html"]


def accuracy(value: float) -> Measure:
    return mean_measure("accuracy", np.array([value]))


def test_a_run_leaves_what_it_promises(finished_run: Path) -> None:
    assert sorted(path.name for path in finished_run.iterdir()) == FILES
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) == {"validation", "test"}
    for split in metrics.values():
        for estimate in split.values():
            assert set(estimate) == {"value", "low", "high"}
        assert split["accuracy"]["low"] <= split["accuracy"]["value"] <= split["accuracy"]["high"]
    rows = [json.loads(line) for line in (finished_run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["split"] for row in rows] == ["validation"] * 16 + ["test"] * 16
    accuracy = sum(row["label"] == row["gold"] for row in rows if row["split"] == "test") / 16
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_the_artifact_holds_recipe_report_and_fingerprints_under_its_seal(finished_run: Path) -> None:
    artifact = finished_run / "artifact"
    description = verify(artifact)
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    assert {"model.safetensors", "tokenizer.json", "recipe.yaml", "report.html", "metrics.json"} <= set(manifest)
    assert manifest["model.safetensors"] == file_hash(artifact / "model.safetensors")
    assert set(description["data_fingerprints"]) == {"train", "validation", "test"}  # type: ignore[call-overload]
    assert len(str(description["schema_sha256"])) == 64


def test_the_loaded_artifact_answers_as_it_was_evaluated(finished_run: Path) -> None:
    rows = [json.loads(line) for line in (finished_run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = Predictor.load(finished_run / "artifact").predict([Example(row["id"], row["text"]) for row in rows])
    assert [answer.label for answer in answers] == [row["label"] for row in rows]
    assert [answer.confidence for answer in answers] == pytest.approx([row["confidence"] for row in rows], abs=1e-6)


def test_a_foreign_label_schema_is_refused(finished_run: Path) -> None:
    Predictor.load(finished_run / "artifact", labels=["good", "bad"])
    with pytest.raises(ArtifactError, match="another label schema"):
        Predictor.load(finished_run / "artifact", labels=["good", "awful"])


def test_the_same_recipe_gives_the_same_bits(place: Path, finished_run: Path) -> None:
    again = pipeline.run(Experiment.from_yaml(write_recipe(place)), place / "again", quiet=True)
    assert file_hash(again.artifact / "model.safetensors") == file_hash(finished_run / "artifact" / "model.safetensors")


def test_checkpoints_by_the_clock_change_no_result(
    place: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.training.fitting.SAVE_AFTER", 0.0)
    again = pipeline.run(Experiment.from_yaml(write_recipe(place)), place / "again", quiet=True)
    saved = sorted(path.name for path in (again.folder / "checkpoints").glob("step-*"))
    assert saved == ["step-00000011", "step-00000012"]
    assert file_hash(again.artifact / "model.safetensors") == file_hash(finished_run / "artifact" / "model.safetensors")


SETTINGS = {"epochs": 6, "batch_size": 4, "learning_rate": 0.003, "checkpoint_every": 5, "precision": "fp32"}


def start(folder: Path, verb: str) -> subprocess.Popen[bytes]:
    """Run or resume in a process of its own."""
    target = [str(folder / "recipe.yaml"), "--out", str(folder / "run"), "--overwrite"]
    command = [sys.executable, "-m", "tunesmith", verb, *(target if verb == "run" else [str(folder / "run")])]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)  # type: ignore[call-overload]


def steps_done(folder: Path) -> int:
    log = folder / "run" / "log.jsonl"
    return log.read_bytes().count(b'"event": "step"') if log.is_file() else 0


def kill_and_resume(folder: Path, kills: int, seed: int) -> Path:
    """Kill the run after a random number of steps, again and again, and let it end at last."""
    generator = random.Random(seed)
    verb = "run"
    for _ in range(kills):
        process = start(folder, verb)
        began = steps_done(folder) if verb == "resume" else 0
        wanted = began + generator.randint(1, 12)
        while process.poll() is None and steps_done(folder) < wanted:
            time.sleep(0.002)
        time.sleep(generator.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        verb = "resume" if (folder / "run" / "recipe.yaml").is_file() else "run"
    assert start(folder, verb).wait() == 0
    return folder / "run" / "artifact" / "model.safetensors"


@pytest.mark.parametrize(
    ("kills", "method"),
    [(2, "full"), pytest.param(20, "full", marks=pytest.mark.slow), pytest.param(5, "lora", marks=pytest.mark.slow)],
)
def test_a_killed_run_resumes_to_the_same_bits(kills: int, method: str, place: Path) -> None:
    recipe = write_recipe(place, training=SETTINGS, method=method)
    whole = pipeline.run(Experiment.from_yaml(recipe), place / "whole", quiet=True)
    killed = kill_and_resume(place, kills, seed=5)
    assert file_hash(killed) == file_hash(whole.artifact / "model.safetensors")
    entries = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in entries if entry["event"] == "step"] == list(range(1, 73))


def test_early_stopping_stops_and_keeps_the_best(place: Path) -> None:
    training = {"epochs": 40, "batch_size": 8, "learning_rate": 0.003, "patience": 2}
    result = pipeline.run(Experiment.from_yaml(write_recipe(place, training=training)), place / "out", quiet=True)
    measured = [point.validation for point in result.report.history if point.validation is not None]
    assert len(measured) < 40
    assert measured.index(max(measured)) == len(measured) - 3
    validation = next(split for split in result.report.splits if split.name == "validation")
    assert validation.metrics["accuracy"].value == pytest.approx(max(measured))


def test_the_automatic_learning_rate_is_found_kept_and_drawn(place: Path) -> None:
    training = {"epochs": 1, "batch_size": 8, "learning_rate": "auto"}
    recipe = write_recipe(place, training=training, task={"name": "sequence_classification"})
    result = pipeline.run(Experiment.from_yaml(recipe), place / "out", quiet=True)
    kept = json.loads((place / "out" / "learning_rate.json").read_text(encoding="utf-8"))
    assert len(result.report.learning_rate_test) == len(kept["points"]) > 5
    assert max(point.learning_rate for point in result.report.history) == pytest.approx(kept["suggestion"], rel=0.5)
    assert "Learning-rate range test" in (place / "out" / "report.html").read_text(encoding="utf-8")


def test_tensorboard_gets_its_events(place: Path) -> None:
    recipe = write_recipe(place, trackers=["tensorboard"], training={"epochs": 1})
    pipeline.run(Experiment.from_yaml(recipe), place / "out", quiet=True)
    assert list((place / "out" / "trackers").rglob("events.out.tfevents.*"))


def test_gradient_checkpointing_changes_nothing_but_memory(place: Path) -> None:
    losses = []
    for setting in (False, True):
        training = {"epochs": 1, "gradient_checkpointing": setting, "precision": "fp32"}
        recipe = write_recipe(place, training=training, model={"name": str(place / "model"), "dropout": 0.0})
        result = pipeline.run(Experiment.from_yaml(recipe), place / f"out{setting}", quiet=True)
        losses.append([point.loss for point in result.report.history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_metric_that_is_no_number_at_first_does_not_choose(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([math.nan, 0.25])
    monkeypatch.setattr(Validation, "evaluate", lambda *_arguments: [accuracy(next(values))])
    run = pipeline.run(Experiment.from_yaml(write_recipe(place)), place / "run", quiet=True)
    assert "Validation chose the checkpoint (step 12)" in run.report.notes[0]


def test_a_metric_that_is_never_a_number_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Validation, "evaluate", lambda *_arguments: [accuracy(math.nan)])
    run = pipeline.run(Experiment.from_yaml(write_recipe(place)), place / "run", quiet=True)
    assert any("was never a number" in note for note in run.report.notes)
