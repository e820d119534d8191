"""`compress --steps int8`, and the same in a recipe: an artifact that `predict` and `evaluate` take like any other."""

from __future__ import annotations

import json
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


def looked_at(capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path) -> None:
    """See that an artifact in 8 bits was made by a chain, answers a file and is evaluated."""
    told = json.loads((artifact / "compression.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["stands"]) for row in told["rows"]] == [("original", True), ("int8", True)]
    assert told["rows"][1]["size"] < 0.6 * told["rows"][0]["size"]
    texts, out = tmp_path / "texts.txt", tmp_path / "answers.jsonl"
    texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    verb(capsys, "predict", artifact, "--file", texts, "--out", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len(TEXTS)
    assert all(row["label"] in {"good", "bad"} for row in rows)
    judged = verb(capsys, "evaluate", artifact, "--json")
    assert '"accuracy"' in judged


def test_by_the_verb(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small"
    verb(
        capsys,
        *("compress", finished_run / "artifact", "--steps", "int8", "--out", out, "--set", "compression.floor=0.5"),
    )
    looked_at(capsys, out, tmp_path)


@pytest.mark.slow
def test_in_a_recipe(tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").symlink_to(tiny_model_folder)
    recipe = write_recipe(tmp_path)
    recipe.write_text(
        recipe.read_text(encoding="utf-8") + "\ncompress: [int8]\ncompression: {floor: 0.5}\n", encoding="utf-8"
    )
    verb(capsys, "run", recipe, "--out", tmp_path / "run")
    looked_at(capsys, tmp_path / "run" / "compressed", tmp_path)
