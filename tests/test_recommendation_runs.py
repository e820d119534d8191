"""Recommendation from files to answers: a run, its artifact, and what the command line says to a new user."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.builders import write_recipe
from tunesmith import cli, pipeline
from tunesmith.experiment import Experiment

WORDS = ("day", "work", "film", "paris", "rome", "london", "week", "bank")


def write_ratings(folder: Path, users: int = 40) -> dict[str, object]:
    """Items of two kinds and users who take one kind only, as the recipe's `data`."""
    titles = [f"{kind} {word}" for kind in ("good", "bad") for word in WORDS]
    (folder / "items.csv").write_text(
        "id,title,genres\n" + "".join(f"i{n},{title},blue\n" for n, title in enumerate(titles)), encoding="utf-8"
    )
    draw, lines = random.Random(0), ["user,item,time"]
    for user in range(users):
        own = draw.sample(range(8), 6)
        lines += [f"u{user},i{item + 8 * (user % 2)},{1000 + place}" for place, item in enumerate(own)]
    draw.shuffle(rows := lines[1:])
    (folder / "r.csv").write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    parts = {part: f"{folder / 'r.csv'}!{part}" for part in ("train", "validation", "test")}
    return {**parts, "format": "ratings", "items": str(folder / "items.csv")}


@pytest.fixture(scope="module")
def recommending(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """The folder of a run over ratings."""
    folder = tmp_path_factory.mktemp("ratings")
    (folder / "model").symlink_to(tiny_model_folder)
    recipe = write_recipe(
        folder,
        task={"name": "recommendation", "size": 16, "layers": 1, "answers": 4},
        data=write_ratings(folder),
        method="head_only",
        training={"epochs": 20, "learning_rate": 0.01},
    )
    return pipeline.run(Experiment.from_yaml(recipe), folder / "run", quiet=True).folder


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code of a verb, and what it said on both outputs."""
    capsys.readouterr()
    code = cli.guarded(lambda: cli.app(list(arguments), standalone_mode=False))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_run_ranks_all_items_beside_the_simple_rankers(recommending: Path) -> None:
    metrics = json.loads((recommending / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert {"ndcg@10", "hr@10", "mrr", "ndcg@10_popularity", "ndcg@10_over_item_knn"} <= metrics.keys()
    # Three of eight items of the kind are left; popularity also offers the eight of the other kind.
    assert metrics["hr@5"]["value"] > 0.9
    assert metrics["mrr"]["value"] > 1 / 4
    rows = [json.loads(line) for line in (recommending / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        assert set(row["texts"]) == set(row["scores"])
        assert set(row["ranks"]) == {"model", "popularity", "item_knn"}
        assert row["ranks"]["model"] > 4 or list(row["scores"])[row["ranks"]["model"] - 1] == row["gold"]
    assert "good day. blue" in (recommending / "report.html").read_text(encoding="utf-8")


def test_a_new_user_gets_ids_and_texts_in_their_order(recommending: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = called(capsys, "predict", str(recommending / "artifact"), "--text", "i8, i9,i10", "--text", "i1")
    assert code == 0
    first, *lines = said.splitlines()[:5]
    assert first == "i8 bad day. blue > i9 bad work. blue > i10 bad film. blue"
    answers = [line.split() for line in lines]
    assert [answer[0] for answer in answers] == ["1.", "2.", "3.", "4."]
    assert all(answer[1] in ("i11", "i12", "i13", "i14", "i15") and answer[2] == "bad" for answer in answers)
    chances = [float(answer[-1].strip("()")) for answer in answers]
    assert chances == sorted(chances, reverse=True)
    assert said.splitlines()[5] == "i1 good work. blue"


def test_a_file_of_histories_is_answered_with_ids_and_texts(
    recommending: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = str(recommending / "artifact")
    (tmp_path / "new.csv").write_text("user,history\nanna,i8;i9\nbell,\nrome,i1\n", encoding="utf-8")
    code, said, warned = called(
        capsys, "predict", artifact, "--file", str(tmp_path / "new.csv"), "--set", "data.label_separator=;"
    )  # fmt: skip
    assert code == 0
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["id"] for row in rows] == ["anna", "rome"]
    assert rows[0]["label"] == next(iter(rows[0]["scores"]))
    assert rows[0]["texts"][rows[0]["label"]].startswith("bad")
    assert "1 rows without history were left out" in warned
    (tmp_path / "judged.jsonl").write_text('{"history": ["i8", "i9"], "label": "i11"}\n', encoding="utf-8")
    code, said, _ = called(capsys, "evaluate", artifact, "--data", str(tmp_path / "judged.jsonl"), "--json")
    assert json.loads(said)["metrics"]["hr@10"]["value"] == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("i8,i99", "Unknown item 'i99'"), (",", "There is no history"), ("", "There is no history")]
)
def test_a_history_that_says_nothing_is_refused(
    text: str, expected: str, recommending: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = called(capsys, "predict", str(recommending / "artifact"), "--text", text)
    assert (code, expected in said) == (2, True)
