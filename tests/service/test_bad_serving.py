"""What goes wrong before a service answers: each mistake says what, where and what to do, and no port stays taken."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.trained_adapters import trained
from tunesmith import cli
from tunesmith.inference.artifact import seal


def unsound(folder: Path, artifact: Path) -> Path:
    """An artifact whose weights are no numbers, with sums that fit."""
    shutil.copytree(artifact, folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, folder / "model.safetensors")
    seal(folder)
    return folder


MISTAKES: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    "no artifact": (lambda place, good: [str(place)], "no manifest"),
    "two of one name": (lambda place, good: [str(good), str(good)], "Two models would be served"),
    "no name": (lambda place, good: [f"Bad Name={good}"], "cannot be the name"),
    "no such root": (lambda place, good: [str(good), "--root", str(place / "none")], "no such folder"),
    "guards for nobody": (lambda place, good: [str(good), "--guards", f"clases={guards(place)}"], "clases"),
    "recognisers without an action": (
        lambda place, good: [str(good), "--recognisers", str(place / "own.yaml")],
        "Recognisers alone",
    ),
    "names without an action": (
        lambda place, good: [str(good), "--redact-names", str(good)],
        "It says who finds names, and not what becomes of them",
    ),
    "names by a model of another task": (
        lambda place, good: [str(good), "--redact", "mask", "--redact-names", str(good)],
        "does not tag names",
    ),
    "names by nobody": (
        lambda place, good: [str(good), "--redact", "mask", "--redact-names", str(place / "none")],
        "There is no such folder",
    ),
    "an action for a kind that nothing finds": (
        lambda place, good: [str(good), "--redact", "mask", "--recognisers", str(kinds(place))],
        "Unknown kind 'PLACE'",
    ),
    "an issuer without an audience": (lambda place, good: [str(good), "--issuer", "https://a.example"], "--audience"),
    "an audience without an issuer": (lambda place, good: [str(good), "--audience", "tunesmith"], "--audience"),
    "an issuer without TLS": (
        lambda place, good: [str(good), "--issuer", "http://a.example", "--audience", "tunesmith"],
        "no https address",
    ),
    "two issuers": (
        lambda place, good: [str(good), "--issuer", "https://a.example", "--tokens", str(tokens(place))],
        "named twice",
    ),
    "no rules for tokens": (lambda place, good: [str(good), "--tokens", str(place / "none.yaml")], "none.yaml"),
    "rules with an unknown key": (lambda place, good: [str(good), "--tokens", str(tokens(place))], "audience"),
    "spans to no address": (lambda place, good: [str(good), "--traces", "collector:4318"], "http or https"),
    "golden examples of nobody": (
        lambda place, good: [str(good), "--golden", f"clases={golden(place, 400)}"],
        "No model is served as 'clases'",
    ),
    "golden examples twice": (
        lambda place, good: [str(good), *2 * ("--golden", f"classes={golden(place, 400)}")],
        "two files of golden examples",
    ),
    "no golden file": (
        lambda place, good: [str(good), "--golden", f"classes={place / 'none.jsonl'}"],
        "There is no such file",
    ),
    "few golden examples": (
        lambda place, good: [str(good), "--golden", str(golden(place, 348))],
        "It has 348 examples; with a margin of 0.01 at least 349 are needed",
    ),
    "a long golden example": (
        lambda place, good: [str(good), "--golden", str(golden(place, 400, "long " * 5000))],
        "golden.jsonl:400",
    ),
    "golden examples with other labels": (
        lambda place, good: [str(good), "--golden", str(golden(place, 400, label="joy"))],
        "The model knows none of these labels",
    ),
    "a margin of nothing": (
        lambda place, good: [str(good), "--golden", str(golden(place, 400)), "--margin", "0"],
        "A margin of 0 cannot be shown",
    ),
    "a margin of calibration below nothing": (
        lambda place, good: [str(good), "--golden", str(golden(place, 400)), "--calibration-margin", "-1"],
        "--calibration-margin",
    ),
    "golden examples of another task": (
        lambda place, good: [str(good), "--golden", str(entities(place))],
        "labelled examples of the model's task (sequence_classification)",
    ),
    "a margin for no examples": (lambda place, good: [str(good), "--margin", "0.02"], "Without --golden NAME=FILE"),
    "a Ray cluster that is not asked": (
        lambda place, good: [str(good), "--ray-address", "127.0.0.1:6379"],
        "Without --engine ray",
    ),
    "versions from nowhere": (lambda place, good: [str(good), "--most-versions", "3"], "--most-versions"),
    "a store that is not there": (lambda place, good: [str(good), "--keep", "raw"], "Without --store FILE"),
    "answers that are no numbers": (lambda place, good: [str(unsound(place / "nan", good))], "numbers that are none"),
}


def golden(place: Path, size: int, last: str = "a good day", label: str = "good") -> Path:
    rows = [{"text": last if number == size else "a day", "label": label} for number in range(1, size + 1)]
    lines = (json.dumps({**row, "channel": "mail"}) + "\n" for row in rows)
    (place / "golden.jsonl").write_text("".join(lines), encoding="utf-8")
    return place / "golden.jsonl"


def entities(place: Path) -> Path:
    row = {"text": "Ann met Bob.", "spans": [{"start": 0, "end": 3, "label": "PER"}]}
    (place / "entities.jsonl").write_text(400 * (json.dumps(row) + "\n"), encoding="utf-8")
    return place / "entities.jsonl"


def guards(place: Path) -> Path:
    (place / "guards.yaml").write_text("guards:\n- name: size\n", encoding="utf-8")
    return place / "guards.yaml"


def kinds(place: Path) -> Path:
    (place / "kinds.yaml").write_text("actions: {PLACE: refuse}\n", encoding="utf-8")
    return place / "kinds.yaml"


def tokens(place: Path) -> Path:
    (place / "tokens.yaml").write_text("issuer: https://a.example\naudiense: tunesmith\n", encoding="utf-8")
    return place / "tokens.yaml"


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_explained(
    case: str, tmp_path: Path, artifacts: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    given, said = MISTAKES[case]
    command = ["serve", *given(tmp_path, artifacts["classes"]), "--port", "0", "--state", str(tmp_path / "state")]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    shown = capfd.readouterr().err
    assert said in shown
    assert "do:" in shown
    assert "Traceback" not in "".join(line for line in shown.splitlines() if not line.startswith("{"))


@pytest.mark.parametrize(("name", "metric"), [("chat", "perplexity"), ("items", "ndcg@10")])
def test_golden_examples_of_a_task_whose_answers_do_not_tell_its_metric_are_refused(
    name: str, metric: str, tmp_path: Path, artifacts: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    given = [f"{name}={artifacts[name]}", "--golden", f"{name}={golden(tmp_path, 400)}"]
    command = ["serve", *given, "--port", "0", "--state", str(tmp_path / "state")]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert f"do not tell {metric}" in shown
    assert "tunesmith evaluate NEW --against OLD" in shown


def test_a_service_asks_no_hub_for_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is read, so that whatever is started from then on inherits it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    command = ["serve", str(tmp_path), "--port", "0", "--state", str(tmp_path / "state")]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_port_that_is_taken_is_said(
    tmp_path: Path, artifacts: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = ["serve", str(artifacts["classes"]), "--port", port, "--state", str(tmp_path / "state")]
        assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert f"127.0.0.1:{port}" in capfd.readouterr().err
    assert not (tmp_path / "state" / "keys.json").exists(), "a key was made, and nobody saw it"


def test_a_base_that_is_not_here_is_said(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tunesmith.inference.adapters.LARGEST_SHARE", 0.5)
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "base"))
    given = [str(trained(tmp_path / name, base, "bitfit", "single_label")) for name in ("one", "other")]
    shutil.rmtree(base)
    command = ["serve", *given, "--share-bases", "--port", "0", "--workers", "1", "--state", str(tmp_path / "state")]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert f"There is no folder '{base}'" in shown
    assert "without --share-bases" in shown
