"""Questions about passages: the forms of file, answers that are not where they should be, articles kept together."""

from __future__ import annotations

import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import data_folder
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Finding, Span
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError, LabelError

TEXT = "Anna went to Rome. Rome is big."


def asked(name: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    """A question in SQuAD's form."""
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"what of {name}?", "answers": given, **more}


def document(*questions: dict[str, Any], title: str = "Rome") -> dict[str, Any]:
    """A file of one passage."""
    return {"version": "1.1", "data": [{"title": title, "paragraphs": [{"context": TEXT, "qas": list(questions)}]}]}


def read_file(path: Path, content: object, **settings: Any) -> tuple[list[Example], dict[str, Finding]]:
    """Write a JSON file and read it as questions."""
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return read_questions(str(path), **settings)


def read_questions(path: str, **settings: Any) -> tuple[list[Example], dict[str, Finding]]:
    reading = read(Source(path, label_kind=settings.pop("kind", "answers"), inputs=("text", "second"), **settings))
    return list(reading.examples), {finding.code: finding for finding in reading.findings}


def answers(example: Example) -> list[str]:
    assert isinstance(example.label, tuple)
    return [example.text[span.start : span.end] for span in example.label if isinstance(span, Span)]


def test_squad_gives_passage_question_answers_and_article(tmp_path: Path) -> None:
    questions, found = read_file(tmp_path / "a.json", document(asked("q1", ("Rome", 19), ("Rome", 13), ("Rome", 13))))
    (question,) = questions
    assert (question.id, question.text, question.second, question.group) == ("q1", TEXT, "what of q1?", "Rome")
    assert question.label == (Span(19, 23, "answer"), Span(13, 17, "answer"), Span(13, 17, "answer"))
    assert not found


def test_squad2_has_questions_without_answer_and_no_plausible_ones(tmp_path: Path) -> None:
    impossible = asked("q2", is_impossible=True, plausible_answers=[{"text": "Rome", "answer_start": 13}])
    certain = asked("q1", ("Anna", 0), is_impossible=False)
    questions, found = read_file(tmp_path / "a.json", document(certain, impossible, asked("q3")))
    assert [question.label for question in questions] == [(Span(0, 4, "answer"),), (), ()]
    assert found["questions_without_answer"].count == 2


def test_the_flat_form_of_cmrc_is_read(tmp_path: Path) -> None:
    content = [
        {
            "context_id": "T1",
            "context_text": "张三在北京。",
            "title": "张三",
            "qas": [{"query_id": "T1_Q0", "query_text": "张三在哪里？", "answers": ["北京", "在北京"]}],
        }
    ]
    questions, _ = read_file(tmp_path / "a.json", content)
    assert questions[0].second == "张三在哪里？"
    assert questions[0].group == "张三"
    assert answers(questions[0]) == ["北京", "在北京"]


def test_an_offset_that_is_wrong_gives_the_nearest_place_and_is_counted(tmp_path: Path) -> None:
    questions, found = read_file(tmp_path / "a.json", document(asked("q1", ("Rome", 20)), asked("q2", ("Rome", 12))))
    assert [question.label for question in questions] == [(Span(19, 23, "answer"),), (Span(13, 17, "answer"),)]
    assert found["moved_answers"].count == 2
    assert "Rome: 20 -> 19" in found["moved_answers"].examples[0]


def test_answers_that_are_not_in_the_passage_are_left_out_and_counted(tmp_path: Path) -> None:
    content = document(asked("q1", ("Paris", -1), ("Rome", 13)), asked("q2", ("Paris", 3)))
    questions, found = read_file(tmp_path / "a.json", content)
    assert [question.id for question in questions] == ["q1"]
    assert answers(questions[0]) == ["Rome"]
    assert found["answers_not_in_text"].count == 2
    assert found["unplaced_questions"].count == 1


def test_articles_without_a_title_are_told_apart_by_their_passages(tmp_path: Path) -> None:
    one = document(asked("q1", ("Rome", 13)), asked("q2", ("Anna", 0)), title="")
    other = {"title": "", "paragraphs": [{"context": "Paris", "qas": [asked("q3", ("Paris", 0))]}]}
    questions, _ = read_file(tmp_path / "a.json", {"data": [*one["data"], other]})
    assert questions[0].group == questions[1].group != questions[2].group


def test_questions_in_archives_are_read(tmp_path: Path) -> None:
    text = json.dumps(document(asked("q1", ("Rome", 13))))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inside/one.json", text)
        archive.writestr("inside/two.json", text)
    (tmp_path / "b.json.xz").write_bytes(lzma.compress(text.encode()))
    for path in (f"{tmp_path}/a.zip!inside/two.json", f"{tmp_path}/b.json.xz"):
        assert answers(read_questions(path)[0][0]) == ["Rome"]


def test_a_question_without_text_is_left_out_and_counted(tmp_path: Path) -> None:
    questions, found = read_file(tmp_path / "a.json", document({**asked("q1"), "question": " "}, asked("q2")))
    assert [question.id for question in questions] == ["q2"]
    assert found["empty_texts"].count == 1


def test_equal_ids_become_different(tmp_path: Path) -> None:
    questions, found = read_file(tmp_path / "a.json", document(asked("q1"), asked("q1")))
    assert len({question.id for question in questions}) == 2
    assert found["duplicate_ids"].count == 1


def test_without_labels_answers_are_not_looked_at(tmp_path: Path) -> None:
    questions, found = read_file(tmp_path / "a.json", document({"id": "q1", "question": "what?"}), kind="")
    assert questions[0].label is None
    assert not found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": {"a": 1}}, "articles in 'data'"),
        ([{"title": "x"}], "passages in 'paragraphs'"),
        ([{"title": "x", "paragraphs": [{"context": "x"}]}], "questions in 'qas'"),
        ([{"title": "x", "paragraphs": [{"qas": [asked("q")]}]}], "no 'context'"),
        ([{"title": "x", "paragraphs": [{"context": "x", "qas": [{"id": "q", "answers": []}]}]}], "no 'question'"),
    ],
)
def test_a_file_of_another_form_is_explained(content: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_file(tmp_path / "a.json", content, format="squad")


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"id": "q", "question": "what?"}, "no 'answers'"),
        ({"id": "q", "question": "what?", "answers": [3]}, "is not an answer"),
        ({"id": "q", "question": "what?", "answers": [{"text": "Rome", "answer_start": "13"}]}, "is not an answer"),
        ({"id": "q", "question": "what?", "answers": {"text": ["Rome"], "answer_start": []}}, "is not an answer"),
    ],
)
def test_answers_of_another_form_are_explained(question: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=said):
        read_file(tmp_path / "a.json", document(question))


def test_a_task_without_questions_refuses_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document(asked("q1"))), encoding="utf-8")
    with pytest.raises(DataError, match="questions about passages"):
        read(Source(str(tmp_path / "a.json"), format="squad", label_kind="class"))


def test_rows_with_context_question_and_answers_are_read(tmp_path: Path) -> None:
    rows = [
        {
            "id": "a",
            "title": "x",
            "context": TEXT,
            "question": "where?",
            "answers": {"text": ["Rome"], "answer_start": [19]},
        },
        {"id": "b", "title": "x", "context": TEXT, "question": "who?", "answers": ["Anna"]},
        {"id": "c", "title": "x", "context": TEXT, "question": "when?", "answers": []},
        {
            "id": "d",
            "title": "x",
            "context": TEXT,
            "question": "how?",
            "answers": {"text": ["Paris"], "answer_start": [0]},
        },
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    questions, found = read_questions(f"{tmp_path}/a.jsonl")
    assert [(question.id, question.second, answers(question)) for question in questions] == [
        ("a", "where?", ["Rome"]),
        ("b", "who?", ["Anna"]),
        ("c", "when?", []),
    ]
    assert questions[0].label == (Span(19, 23, "answer"),)
    assert len({question.group for question in questions}) == 1
    assert found["unplaced_questions"].count == 1


def test_csv_gives_answers_as_texts(tmp_path: Path) -> None:
    lines = ["context,question,answer", f'"{TEXT}",where?,Rome|Anna', f'"{TEXT}",who?,Anna']
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    questions, found = read_questions(f"{tmp_path}/a.csv")
    assert [answers(question) for question in questions] == [["Rome", "Anna"], ["Anna"]]
    assert found["answers_in_several_places"].count == 1


@pytest.mark.real_data
def test_squad_splits_by_article() -> None:
    splits = Data(name="squad", test_share=0.2).load("answers", 13, ("text", "second")).splits.named()
    assert sum(len(part) for part in splits.values()) == 10_570
    articles = {name: {question.group for question in part} for name, part in splits.items()}
    assert sum(len(groups) for groups in articles.values()) == len(set().union(*articles.values())) == 48
    assert len(articles["test"]) == 10


@pytest.mark.real_data
def test_answers_of_cmrc_that_are_not_where_they_should_be_are_counted() -> None:
    folder = data_folder() / "cmrc2018"
    questions, found = read_questions(str(folder / "cmrc2018_dev.json.xz"))
    assert len(questions) == 3_219
    assert (found["answers_not_in_text"].count, found["moved_answers"].count) == (193, 7)
    questions, found = read_questions(str(folder / "cmrc2018_trial.json.xz"))
    assert len(questions) == 1_000
    assert (found["empty_texts"].count, found["moved_answers"].count) == (2, 5)
