"""Judging: on the same test examples as before, fairly between two models, and with nothing passed over in silence."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import pytest
import yaml

from tests.builders import write_examples, write_recipe
from tunesmith import pipeline
from tunesmith.data.dataset import Data
from tunesmith.errors import ArtifactError, DataError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import examples_of_file, judge_artifact
from tunesmith.tasks import SequenceClassification


def rows_of(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()[1:]


def small_run(place: Path, name: str, **changes: object) -> Path:
    """The artifact of a run of one epoch."""
    recipe = write_recipe(place, **{"training": {"epochs": 1}, **changes})
    return pipeline.run(Experiment.from_yaml(recipe), place / name, quiet=True).artifact


def test_a_model_compared_on_its_own_test_split_was_seen_by_no_one(place: Path, finished_run: Path) -> None:
    judged = judge_artifact(finished_run / "artifact", "", finished_run / "artifact")
    assert (judged.split.size, judged.compared, judged.notes) == (16, 16, ())


def test_what_the_other_model_learnt_from_is_left_out_and_counted(place: Path, finished_run: Path) -> None:
    files = write_examples(place)
    ours = small_run(place, "ours", data=files)
    learnt = rows_of(files["test"])[:6]
    with Path(files["train"]).open("a", encoding="utf-8") as file:
        file.write("\n".join(learnt) + "\n")
    theirs = small_run(place, "theirs", data=files)
    shutil.copy(files["train"], place / "with_leak.csv")
    clean = write_examples(place)  # ours is judged with its own files as they were
    recipe = yaml.safe_load((theirs / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["data"]["train"] == clean["train"]
    judged = judge_artifact(ours, "", theirs)
    assert "Whether" in judged.notes[0], "the other's training file is not what it was"
    assert judged.compared == 16
    shutil.copy(place / "with_leak.csv", clean["train"])
    judged = judge_artifact(theirs, "", ours)
    assert judged.compared == 10
    assert f"{theirs} was trained on or chosen by 6 of the 16 texts." in judged.notes


def test_a_file_that_the_model_learnt_from_is_said_to_flatter(place: Path) -> None:
    files = write_examples(place)
    artifact = small_run(place, "run", data=files)
    judged = judge_artifact(artifact, files["train"], None)
    assert judged.notes == (f"{artifact} was trained on or chosen by 48 of the 48 texts.",)
    with pytest.raises(DataError, match="nothing fair to compare"):
        judge_artifact(artifact, files["train"], artifact)


def test_a_test_file_that_changed_since_is_not_taken_for_the_old_one(place: Path) -> None:
    files = write_examples(place)
    artifact = small_run(place, "run", data=files)
    with Path(files["test"]).open("a", encoding="utf-8") as file:
        file.write("one more good film,good\n")
    with pytest.raises(DataError, match="not those that the artifact was judged on"):
        judge_artifact(artifact, "", None)
    assert judge_artifact(artifact, files["test"], None).split.size == 17


def test_a_known_data_set_is_judged_by_its_test_split(
    place: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "imdb-counterfactual" / "new"
    folder.mkdir(parents=True)
    rows = ["Sentiment\tText", *("\t".join(reversed(row.split(","))) for row in rows_of(write_examples(place)["test"]))]
    (folder / "test.tsv.xz").write_bytes(lzma.compress("\n".join(rows).encode()))
    monkeypatch.setenv("TUNESMITH_DATA", str(place))
    judged = judge_artifact(finished_run / "artifact", "imdb-revised", None)
    assert (judged.split.name, judged.split.size) == ("imdb-revised", 16)
    (place / "alpaca-5000").mkdir()
    with pytest.raises(DataError, match="neither a test nor a validation split"):
        judge_artifact(finished_run / "artifact", "alpaca-5000", None)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("gold.jsonl", '{"text": "价格是多少？", "label": "NUM"}\n{"text": "谁？", "label": "HUM"}\n'),
        ("gold.csv", "text,label\n价格是多少？,NUM\n谁？,HUM\n"),
        # As TREC is written:
        *((name, "NUM:money What is the price ?\nHUM:ind Who ?\n") for name in ("gold.test", "gold.label", "gold")),
    ],
)
def test_a_file_is_read_by_its_suffix_though_the_recipe_names_a_data_set_of_another_form_that_is_not_here(
    name: str, written: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(place / "nowhere"))
    path = place / name
    path.write_text(written, encoding="utf-8")
    found = examples_of_file(Data(name="trec"), SequenceClassification(), str(path))
    assert [example.label for example in found] == ["NUM", "HUM"]
    assert found[1].text in {"谁？", "Who ?"}


def test_columns_of_the_data_set_that_the_recipe_names_are_not_looked_for_in_a_file_of_another_form(
    place: Path,
) -> None:
    path = place / "gold.jsonl"
    path.write_text('{"text": "你好", "label": "0"}\n', encoding="utf-8")
    (found,) = examples_of_file(Data(name="cold"), SequenceClassification(), str(path))
    assert (found.text, found.label) == ("你好", "0")


def test_a_format_that_is_set_goes_for_a_file_whose_suffix_says_nothing(place: Path) -> None:
    path = place / "gold.foo"
    path.write_text("text,label\na good film,good\n", encoding="utf-8")
    own = Data(train="train.jsonl")
    with pytest.raises(DataError, match="not clear"):
        examples_of_file(own, SequenceClassification(), str(path))
    (found,) = examples_of_file(own, SequenceClassification(), str(path), ["data.format=csv"])
    assert (found.text, found.label) == ("a good film", "good")


def test_labels_that_the_model_does_not_know_are_counted_and_never_right(place: Path, finished_run: Path) -> None:
    path = place / "more.csv"
    path.write_text("text,label\na good film,good\na so so film,middling\n", encoding="utf-8")
    judged = judge_artifact(finished_run / "artifact", str(path), None)
    assert judged.split.metrics["accuracy"].value <= 0.5
    assert "1 examples have labels that the model does not know ('middling')" in judged.notes[0]
    path.write_text("text,label\na good film,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="knows none of these labels: '1'"):
        judge_artifact(finished_run / "artifact", str(path), None)


def test_models_of_other_labels_are_not_compared(place: Path, finished_run: Path) -> None:
    path = place / "other.csv"
    path.write_text("text,label\n" + "good film,yes\nbad film,no\n" * 20, encoding="utf-8")
    other = small_run(place, "other", data={"train": str(path), "test_share": 0, "validation_share": 0})
    with pytest.raises(ArtifactError, match="different labels"):
        judge_artifact(finished_run / "artifact", "", other)


@pytest.mark.parametrize("task", ["sequence_classification", "token_classification"])
def test_accepted_foreign_labels_stay_in_the_test_and_count_as_wrong(task: str, place: Path) -> None:
    files = {split: str(place / f"{split}.jsonl") for split in ("train", "validation", "test")}
    for split, path in files.items():
        rows = []
        for number in range(24):
            word = ("Anna", "Rome")[number % 2]
            label = "NEW" if split != "train" and number < 4 else ("PER", "LOC")[number % 2]
            spans = [{"start": 0, "end": 4, "label": label}]
            found = {"label": label} if task == "sequence_classification" else {"spans": spans}
            rows.append(json.dumps({"text": f"{word} went in {split} {number}", **found}))
        Path(path).write_text("\n".join(rows), encoding="utf-8")
    data = {**files, "accept": ["unseen_labels"]}
    run = pipeline.run(Experiment.from_yaml(write_recipe(place, task=task, data=data)), place / "run", quiet=True)
    (test,) = [split for split in run.report.splits if split.name == "test"]
    assert test.size == 24
    assert "NEW" in {row.label for row in test.tables[0].rows}
    assert test.wrong >= 4
    assert Predictor.load(run.artifact).task.labels == ("LOC", "PER")
