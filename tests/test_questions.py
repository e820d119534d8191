"""Questions about passages from the recipe to the page: training, judging and answering, with the answers' words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import write_recipe
from tunesmith import cli, pipeline
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.evaluation.page import LONGEST, in_words, segments
from tunesmith.evaluation.report import badness, mistake_of, units_of
from tunesmith.evaluation.results import answer_of, prediction_row
from tunesmith.experiment import Experiment
from tunesmith.tasks import QuestionAnswering

PEOPLE = ["Anna", "Bell", "Rome"]


def write_squad(path: Path, articles: int = 12) -> Path:
    """Questions about short passages, every fourth without an answer."""
    written = []
    for number in range(articles):
        who, where = PEOPLE[number % 3], PEOPLE[(number + 1) % 3]
        text = f"{who} went to {where} in week {number}. The day was good."
        asked = [("who went", who), ("went to what", where), ("what week", str(number)), ("who was bad", "")]
        questions = [
            {
                "id": f"{number}-{place}",
                "question": f"{words} {number}?",
                "answers": [{"text": answer, "answer_start": text.index(answer)}] if answer else [],
                "is_impossible": not answer,
            }
            for place, (words, answer) in enumerate(asked)
        ]
        written.append({"title": f"t{number}", "paragraphs": [{"context": text, "qas": questions}]})
    path.write_text(json.dumps({"data": written}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def answered_run(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """The folder of a run over questions."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "model").symlink_to(tiny_model_folder)
    data = {"train": str(write_squad(folder / "train.json")), "test_share": 0.25, "validation_share": 0.25}
    recipe = write_recipe(folder, task={"name": "question_answering", "stride": 8}, data=data)
    return pipeline.run(Experiment.from_yaml(recipe), folder / "run", quiet=True).folder


def test_a_run_measures_answers_and_keeps_articles_together(answered_run: Path) -> None:
    metrics = json.loads((answered_run / "metrics.json").read_text(encoding="utf-8"))
    for split in ("validation", "test"):
        assert set(metrics[split]) == {"f1", "exact_match", "answerable_f1", "unanswerable_accuracy", "ece"}
        assert 0 <= metrics[split]["f1"]["value"] <= 1
    rows = [json.loads(line) for line in (answered_run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 24
    articles = {split: {row["id"].partition("-")[0] for row in rows if row["split"] == split} for split in metrics}
    assert not articles["validation"] & articles["test"]
    for row in rows:
        assert row["second"].endswith("?")
        assert [row["text"][span["start"] : span["end"]] for span in row["label"]] == (
            [row["answer"]] if row["answer"] else []
        )
        assert all(span["text"] == row["text"][span["start"] : span["end"]] for span in row["gold"])


def test_the_page_shows_the_question_and_both_answers_in_words(answered_run: Path) -> None:
    page = (answered_run / "report.html").read_text(encoding="utf-8")
    assert "passages" in page
    assert "questions without an answer" in page
    assert "gold <b>" in page
    assert "answered <b>" in page


def test_a_question_on_the_command_line_is_answered(answered_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(answered_run / "artifact")
    arguments = ["predict", artifact, "--text", "Anna went to Rome.", "--second", "who went?", "--json"]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["answer"] in ("", *row["scores"])
    assert "".join("Anna went to Rome."[span["start"] : span["end"]] for span in row["label"]) == row["answer"]


@pytest.mark.parametrize(
    ("further", "said"),
    [([], "1 texts need 1 second texts"), (["--second", "a", "--second", "b"], "--second is given 2 times")],
)
def test_a_text_without_its_question_is_refused(
    further: list[str], said: str, answered_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(answered_run / "artifact"), "--text", "Anna", *further]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    assert said in capsys.readouterr().err


def test_a_second_text_that_the_task_does_not_read_is_refused(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(finished_run / "artifact"), "--text", "good", "--second", "what?"]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    assert "reads one text at a time" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["new.json", "new.jsonl"])
def test_files_of_questions_are_answered_and_judged(
    name: str, answered_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "new.json":
        file, count = write_squad(tmp_path / name, 2), 8
    else:
        file, count = tmp_path / name, 1
        row = {"context": "Anna went to Bell.", "question": "who went?", "answers": ["Anna"]}
        file.write_text(json.dumps(row), encoding="utf-8")
    artifact = str(answered_run / "artifact")
    asked = ["predict", artifact, "--file", str(file), "--out", str(tmp_path / "out.jsonl")]
    assert cli.guarded(lambda: cli.app(asked, standalone_mode=False)) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == count
    assert all("answer" in row for row in rows)
    capsys.readouterr()
    judged = ["evaluate", artifact, "--data", str(file), "--json"]
    assert cli.guarded(lambda: cli.app(judged, standalone_mode=False)) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == count


TEXT = "Anna went to Rome. " + "The day was good. " * 60 + "Bell stayed."


def rome_or_bell(answer: tuple[Span, ...], scores: dict[str, float]) -> tuple[Example, Prediction]:
    gold = (Span(0, 4, "answer"), Span(0, 4, "answer"), Span(0, 9, "answer"))
    example = Example("q", TEXT, gold, second="who went?")
    return example, Prediction("q", answer, max(scores.values()), scores, (0.7,) if answer else ())


def test_the_words_of_an_answer_are_told() -> None:
    bell = TEXT.index("Bell")
    example, wrong = rome_or_bell((Span(bell, bell + 4, "answer"),), {"Bell": 0.7, "Anna": 0.2, "": 0.1})
    assert answer_of(wrong) == "Bell"
    assert prediction_row(wrong)["answer"] == "Bell"
    assert answer_of(rome_or_bell((), {"": 0.8, "Anna": 0.2})[1]) == ""
    assert answer_of(Prediction("x", ("good",), 0.5, {"good": 0.5, "bad": 0.1})) is None
    assert answer_of(Prediction("x", (), 0.5, {"good": 0.2, "bad": 0.1})) is None
    assert answer_of(Prediction("x", (Span(0, 1, "PER"),), 0.5, {}, (0.5,))) is None
    assert in_words(example.label, TEXT) == "Anna / Anna went"  # type: ignore[arg-type]
    assert in_words((), TEXT) == "no answer"


def test_a_sure_wrong_answer_is_worse_than_an_unsure_one() -> None:
    example, sure = rome_or_bell((Span(13, 17, "answer"),), {"Rome": 0.9, "Anna": 0.1})
    _, unsure = rome_or_bell((Span(13, 17, "answer"),), {"Rome": 0.4, "Anna": 0.3, "Anna went": 0.2, "": 0.1})
    assert badness(example.label, sure, TEXT) == pytest.approx(0.8)  # type: ignore[arg-type]
    assert badness(example.label, unsure, TEXT) == pytest.approx(-0.1)  # type: ignore[arg-type]
    assert badness((), unsure, TEXT) == pytest.approx(0.3)


def test_a_mistake_keeps_the_question_and_a_long_passage_loses_its_middle() -> None:
    bell = TEXT.index("Bell")
    example, wrong = rome_or_bell((Span(bell, bell + 4, "answer"),), {"Bell": 0.7, "Anna": 0.3})
    mistake = mistake_of(example, wrong)
    assert mistake.second == "who went?"
    parts = segments(mistake)
    assert [(part.text, part.gold, part.answer) for part in parts if part.gold or part.answer] == [
        ("Anna", "answer", ""),
        (" went", "answer", ""),
        ("Bell", "", "answer"),
    ]
    assert all(len(part.text) < LONGEST + 10 for part in parts)
    assert any("[…]" in part.text for part in parts)


def test_passages_and_questions_without_answer_are_counted() -> None:
    example, _ = rome_or_bell((), {"": 1.0})
    task = QuestionAnswering(normalization="squad")
    assert units_of(task, [example, example]) == {"passages": 1}
    none = Example("n", "Rome", (), second="who?")
    assert units_of(task, [example, none]) == {"passages": 2, "questions without an answer": 1}
