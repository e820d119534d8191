"""`compress --steps int8`, and the same in a recipe: an artifact that `predict` and `evaluate` take like any other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import write_recipe
from tunesmith import cli

TEXTS = ["good film", "bad film number 3", "一部好电影"]


def verb(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    found = cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))
    printed = capsys.readouterr()
    assert found == 0, printed.err
    return printed.out


@dataclass(frozen=True)
class Looked:
    """What an artifact says of the chain that made it, what it answers to a file, and how good it is by `evaluate`."""

    steps: list[tuple[str, bool]]
    size_over_original: float
    labels: list[str]
    accuracy: float
    expected: float


def looked(capsys: pytest.CaptureFixture[str], artifact: Path, place: Path) -> Looked:
    told = json.loads((artifact / "compression.json").read_text(encoding="utf-8"))
    texts, out = place / "texts.txt", place / "answers.jsonl"
    texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    verb(capsys, "predict", artifact, "--file", texts, "--out", out)
    judged = json.loads(verb(capsys, "evaluate", artifact, "--json"))
    return Looked(
        [(row["name"], row["stands"]) for row in told["rows"]],
        told["rows"][1]["size"] / told["rows"][0]["size"],
        [json.loads(line)["label"] for line in out.read_text(encoding="utf-8").splitlines()],
        judged["metrics"]["accuracy"]["value"],
        {one["name"]: one["a"] for one in told["tested"]}["accuracy"],
    )


def test_by_the_verb(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, steps = tmp_path / "small", ("--steps", "int8", "--set", "compression.floor=0.5")
    verb(capsys, "compress", finished_run / "artifact", *steps, "--out", out)
    found = looked(capsys, out, tmp_path)
    assert found.steps == [("original", True), ("int8", True)]
    assert found.size_over_original < 0.6
    assert len(found.labels) == len(TEXTS)
    assert set(found.labels) <= {"good", "bad"}
    assert found.accuracy == pytest.approx(found.expected)


@pytest.mark.slow
def test_in_a_recipe(tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").symlink_to(tiny_model_folder)
    recipe = write_recipe(tmp_path, compress=["int8"], compression={"floor": 0.5})
    verb(capsys, "run", recipe, "--out", tmp_path / "run")
    found = looked(capsys, tmp_path / "run" / "compressed", tmp_path)
    assert found.steps == [("original", True), ("int8", True)]
    assert len(found.labels) == len(TEXTS)
    assert found.accuracy == pytest.approx(found.expected)
