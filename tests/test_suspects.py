"""Suspects: planted wrong labels come first, by models of other folds or by one that is given."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.builders import without_its_last_line, write_examples, write_recipe
from tests.test_cli import call
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.label_console import show_suspects
from tunesmith.suspects import Suspects, suspects_by_folds, suspects_by_model, with_copies_together

OTHER = {"good": "bad", "bad": "good"}


def with_wrong_labels(path: Path, rows: list[int]) -> list[str]:
    """Turn some labels of a CSV file round; their texts."""
    lines = path.read_text(encoding="utf-8").splitlines()
    texts = []
    for row in rows:
        text, label = lines[row].rsplit(",", 1)
        lines[row] = f"{text},{OTHER[label]}"
        texts.append(text)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return texts


def test_folds_find_planted_labels_and_go_on_where_they_were(place: Path) -> None:
    files = write_examples(place)
    # texts this short are near copies of none, so that each is in a fold of its own
    things = ("film", "day", "people", "work")
    rows = [f"{('good', 'bad')[n % 2]} {things[n // 2 % 4]} {n},{('good', 'bad')[n % 2]}" for n in range(48)]
    Path(files["train"]).write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    wrong = with_wrong_labels(Path(files["train"]), [3, 8, 14])
    recipe = write_recipe(place, data=files, training={"epochs": 15, "learning_rate": 0.01})
    experiment = Experiment.from_yaml(recipe, ["augmenters=[swap_words]"])
    found = suspects_by_folds(experiment, place / "folds", 2, quiet=True)
    judged = [found.examples[doubt.place] for doubt in found.doubts]
    assert sorted(example.id for example in judged) == sorted({example.id for example in judged})
    first = [example.text for example in judged[:6]]
    assert set(wrong) <= set(first)
    assert len(found.examples) == 48, "copies are learnt from and not judged"
    report = json.loads((place / "folds" / "fold-1" / "metrics.json").read_text(encoding="utf-8"))
    assert set(report) == {"test"}
    assert "examples were made" in (place / "folds" / "fold-1" / "report.html").read_text(encoding="utf-8")
    made = {path: path.stat().st_mtime_ns for path in (place / "folds").rglob("model.safetensors")}
    assert len(made) == 2
    again = suspects_by_folds(experiment, place / "folds", 2, quiet=True)
    assert again.doubts == found.doubts


def test_a_given_model_judges_what_it_did_not_learn_from(
    place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(place))
    given = ["suspects", recipe, "--by", str(finished_run / "artifact"), "--split", "test"]

    def rows() -> dict[str, dict[str, object]]:
        call(capsys, *given, "--out", str(place / "doubts.jsonl"))
        lines = (place / "doubts.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["doubt"] for line in lines] == sorted(
            (json.loads(line)["doubt"] for line in lines), reverse=True
        )
        return {row["text"]: row for row in map(json.loads, lines)}

    before = rows()
    (wrong,) = with_wrong_labels(place / "test.csv", [5])
    after = rows()
    assert after[wrong]["label"] == OTHER[str(before[wrong]["label"])]
    assert float(str(after[wrong]["doubt"])) == pytest.approx(1 - float(str(before[wrong]["doubt"])), abs=1e-5)
    assert "examples were judged" in call(capsys, *given)
    counted = json.loads(call(capsys, *given, "--json"))
    assert (counted["judged"], counted["left_out"]) == (16, 0)
    with pytest.raises(DataError, match="no examples in valdation"):
        suspects_by_model(Experiment.from_yaml(recipe), "valdation", finished_run / "artifact")


def test_a_model_whose_data_changed_may_know_the_labels_and_is_refused(place: Path, finished_run: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place))
    with without_its_last_line(finished_run.parent / "train.csv"), pytest.raises(DataError, match="is not known"):
        suspects_by_model(experiment, "test", finished_run / "artifact")


def test_spans_are_doubted_by_the_tags_that_are_given(place: Path) -> None:
    recipe = write_recipe(
        place,
        task={"name": "token_classification"},
        data={"train": str(write_tagged(place / "train.conll", 24)), "validation": "none", "test": "none"},
        training={"epochs": 8, "learning_rate": 0.01},
    )
    found = suspects_by_folds(Experiment.from_yaml(recipe), place / "folds", 2, quiet=True)
    assert (len(found.examples), found.unknown) == (24, 1), "the type of one example is known to no judge of it"
    first = found.examples[found.doubts[0].place]
    assert (first.text, first.label) == ("Bell ran day5", ()), "its name is not labelled"
    assert found.doubts[0].reason == "not labelled: 'Bell' as PER"
    assert 0.5 < found.doubts[0].score <= 1


def write_tagged(path: Path, size: int) -> Path:
    """Sentences that begin with a name; that of the sixth is not tagged, and one more has a type of its own."""
    rows = [
        f"{('Anna', 'Bell')[n % 2]} {'O' if n == 5 else 'B-PER'}\n{('went', 'ran')[n % 2]} O\nday{n} O"
        for n in range(size)
    ]
    path.write_text("\n\n".join([*rows, "Rome B-LOC\nday99 O"]) + "\n", encoding="utf-8")
    return path


def test_near_copies_share_a_fold_unless_all_texts_are_of_one_form() -> None:
    long = "a rather long sentence about the weather in the north of the country, which is cold"
    texts = ["something else", long, f"{long}!", "another short text", f"{long} .", long]
    given = [Example(str(number), text, "a") for number, text in enumerate(texts)]
    groups = [example.group for example in with_copies_together(given, 4)]
    assert len({groups[place] for place in (1, 2, 4, 5)}) == 1
    assert groups[1] != ""
    assert groups[0] == groups[3] == ""
    forms = [Example(str(number), f"{long} {number:02}", "a") for number in range(40)]
    sizes = Counter(example.group or example.id for example in with_copies_together(forms, 10))
    assert max(sizes.values()) <= 10


def test_a_class_of_one_example_is_no_suspect_but_counted(place: Path) -> None:
    files = write_examples(place)
    with Path(files["train"]).open("a", encoding="utf-8") as file:
        file.write("an odd thing indeed,strange\n")
    recipe = write_recipe(place, data=files, training={"epochs": 1})
    found = suspects_by_folds(Experiment.from_yaml(recipe), place / "folds", 2, quiet=True)
    assert (len(found.examples), found.unknown) == (48, 1)
    assert "strange" not in [example.label for example in found.examples]


def test_labels_that_cannot_be_judged_and_single_folds_are_refused(place: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place))
    with pytest.raises(RecipeError, match="at least two folds"):
        suspects_by_folds(experiment, place / "folds", 1)
    (place / "raw.txt").write_text("one\ntwo\n", encoding="utf-8")
    task = {"name": "masked_language_modeling"}
    raw = Experiment.from_yaml(write_recipe(place, task=task, data={"train": str(place / "raw.txt")}))
    with pytest.raises(RecipeError, match="one class or spans"):
        suspects_by_folds(raw, place / "folds", 2)


@pytest.mark.parametrize(("noise", "is_told"), [(None, False), (0.1, False), (0.479, True)])
def test_a_share_of_wrong_labels_that_is_rarely_true_is_told(
    noise: float | None, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Suspects((), (), "class", noise)
    show_suspects(found, as_json=False)
    assert ("models that learnt too little" in " ".join(capsys.readouterr().out.split())) is is_told
    show_suspects(found, as_json=True)
    assert bool(json.loads(capsys.readouterr().out)["warning"]) is is_told
