"""Whether a service answers over HTTP as its artifact does: sound for every task, and what differs is caught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders import TASK_CASES
from tests.service.conftest import SERVED
from tests.service.running import FakeEngine, Running, running
from tunesmith import cli
from tunesmith.data.records import Example
from tunesmith.errors import DataError, TunesmithError
from tunesmith.inference.artifact import seal
from tunesmith.served_parity import ServedCheck, check_running
from tunesmith.service.engine import Answers
from tunesmith.service.local import LocalEngine
from tunesmith.service.versions import read_version

TEXTS = [Example(str(number), text) for number, text in enumerate(("good film", "a bad one", "今天天气很好"))]


def checked(service: Running, *artifacts: Path, model: str = "", examples: Any = TEXTS) -> ServedCheck:
    address = f"http://127.0.0.1:{service.port}"
    return check_running(address, "any", model, artifacts, examples)


@pytest.mark.parametrize("name", SERVED)
def test_every_task_answers_over_http_as_it_does_here(name: str, service: Running, artifacts: dict[str, Path]) -> None:
    examples = TASK_CASES[SERVED[name]][1]
    found = checked(service, artifacts[name], examples=examples)
    assert found.problems == ()
    assert (found.texts, found.changed, found.unanswered) == (len(examples), 0, {})
    assert found.probabilities < 1e-4
    assert found.version == read_version(artifacts[name]).id


def test_another_artifact_is_caught(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Of the same labels, so that only its answers and its sum tell."""
    other = _changed(artifacts["classes"], tmp_path / "other")
    with running([read_version(other, name="classes")], LocalEngine(1, 1)) as service:
        found = checked(service, artifacts["classes"])
        assert checked(service, other).problems == ()
    assert found.problems[0] == "it serves another artifact"
    assert any("probabilities" in problem for problem in found.problems[1:])
    assert found.artifact == artifacts["classes"]


class Swapping(FakeEngine):
    """Says to serve an artifact and answers otherwise."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__()
        self._row = row

    async def answer(self, slot: str, questions: Any) -> Answers:
        return Answers([self._row for _ in questions], 1e-3, 1, 0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"label": "neither", "confidence": 0.5}, "3 of 3 answers differ; 0 is the most"),
        ({"label": "neither", "confidence": None}, "probabilities differ by up to inf"),
    ],
)
def test_answers_that_are_not_the_artifacts_are_caught(
    row: Mapping[str, Any], said: str, artifacts: dict[str, Path]
) -> None:
    with running([read_version(artifacts["classes"])], Swapping(row)) as service:
        found = checked(service, artifacts["classes"])
    assert any(said in problem for problem in found.problems)
    assert found.changed_texts == ("good film", "a bad one", "今天天气很好")


def test_texts_that_the_service_refuses_are_counted_and_the_others_compared(
    service: Running, artifacts: dict[str, Path]
) -> None:
    found = checked(service, artifacts["classes"], examples=[*TEXTS, Example("long", "word " * 10_000)])
    assert found.unanswered == {"text_too_long": 1}
    assert found.problems == ("1 of 4 texts are not answered: text_too_long (1)",)
    assert found.changed == 0


def test_which_of_several_models_is_meant_must_be_clear(
    service: Running, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    other = _changed(artifacts["classes"], tmp_path / "other")
    with pytest.raises(TunesmithError, match="none of them is one of these artifacts"):
        checked(service, other)
    assert "it serves another artifact" in checked(service, other, model="classes").problems
    with pytest.raises(TunesmithError, match="no such model"):
        checked(service, other, model="nobody")


def test_pictures_are_not_asked(service: Running, artifacts: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="Pictures"):
        checked(service, artifacts["classes"], examples=[Example("1", "a", media={"image": "1.png"})])


def test_the_verb_starts_a_service_and_asks_it(
    artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("good film\nbad film\n", encoding="utf-8")
    command = ["parity", str(artifacts["classes"]), "--file", str(tmp_path / "texts.txt"), "--no-reload", "--json"]
    assert cli.guarded(lambda: cli.app([*command, "--http"], standalone_mode=False)) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["form"], one["changed"], one["problems"]) for one in told["served"]] == [("torch", 0, [])]
    assert told["sound"] is True


def test_the_verb_asks_a_running_service_and_fails_where_it_differs(
    artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("good film\nbad film\n", encoding="utf-8")
    (tmp_path / "key").write_text("ts_any", encoding="utf-8")
    (tmp_path / "key").chmod(0o600)
    command = ["parity", str(artifacts["classes"]), "--file", str(tmp_path / "texts.txt"), "--no-reload"]
    with running([read_version(artifacts["classes"])], Swapping({"label": "x", "confidence": 0.5})) as service:
        more = ["--url", f"http://127.0.0.1:{service.port}", "--key-file", str(tmp_path / "key")]
        code = cli.guarded(lambda: cli.app([*command, *more], standalone_mode=False))
    shown = capsys.readouterr().out
    assert code == 1
    assert "2 of 2 answers differ" in shown
    assert "off" in shown


def _changed(artifact: Path, folder: Path) -> Path:
    """The artifact with other weights in its head, and sums that fit."""
    shutil.copytree(artifact, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor + 0.5 * torch.ones(len(tensor)).cumsum(0) if name.endswith("bias") else tensor
         for name, tensor in weights.items()},
        folder / "model.safetensors",
    )  # fmt: skip
    seal(folder)
    return folder
