"""The loop of active learning: a batch out with the model's answers, and the corrected answers back in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.test_cli import call
from tunesmith import cli
from tunesmith.asking import add_answers, chances_of, drawn_chances, next_batch
from tunesmith.data.annotations import answered_rows, batch_rows, label_studio_tasks
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.vectors import vectors_of
from tunesmith.selection import QUERY_STRATEGIES, Pool

TEXTS = [f"a {word} film on day {number}" for number, word in enumerate(["good", "bad", "red", "happy"] * 4)]


@pytest.fixture(scope="session")
def predictor(finished_run: Path) -> Predictor:
    return Predictor.load(finished_run / "artifact", device="cpu")


def examples(texts: list[str]) -> list[Example]:
    return [Example(str(number), text) for number, text in enumerate(texts)]


@pytest.mark.parametrize("name", QUERY_STRATEGIES)
def test_every_strategy_chooses_among_new_texts_alone(name: str, predictor: Predictor) -> None:
    labelled = examples(TEXTS[:4])
    asked = next_batch(predictor, examples([*TEXTS, TEXTS[-1]]), labelled, QUERY_STRATEGIES[name](), size=5, seed=1)
    texts = [example.text for example in asked.examples]
    assert len(set(texts)) == 5
    assert not set(texts) & set(TEXTS[:4])
    assert asked.known == 5, "four that are labelled, and one that stands twice"
    assert [one.label for one in asked.predictions] == [one.label for one in predictor.predict(asked.examples)]


def test_chances_vectors_and_draws_are_what_they_are_called(predictor: Predictor) -> None:
    texts = examples(TEXTS)
    chances = chances_of(predictor, texts)
    assert chances.sum(axis=1) == pytest.approx(np.ones(16))
    assert [predictor.task.labels[best] for best in chances.argmax(axis=1)] == [
        one.label for one in predictor.predict(texts)
    ]
    vectors = vectors_of(predictor, texts)
    assert vectors.shape[0] == 16
    assert vectors[3] == pytest.approx(vectors_of(predictor, texts[3:4])[0], abs=1e-5)
    draws = drawn_chances(predictor, texts, seed=0)
    assert draws == pytest.approx(drawn_chances(predictor, texts, seed=0), abs=1e-6)
    assert np.ptp(draws, axis=0).max() > 1e-4, "dropout makes them differ"
    assert chances_of(predictor, texts) == pytest.approx(chances, abs=1e-6), "and leaves the model as it was"


@dataclass(frozen=True)
class Answering:
    """A predictor whose answers are given."""

    kind: str
    answers: tuple[Prediction, ...]

    @property
    def task(self) -> SimpleNamespace:
        return SimpleNamespace(label_kind=self.kind, labels=("a", "b"))

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        return [self.answers[int(example.id)] for example in examples]


UNSURE_FIRST = {
    # a span that is sure hides a word of 0.2; a lone span of 0.5 is a text of sure words but one
    "spans": (
        Prediction("0", (), 0.99, word_confidence={"least": 0.99, "mean": 0.99}),
        Prediction("1", (Span(0, 1, "a"),), 0.5, span_scores=(0.5,), word_confidence={"least": 0.5, "mean": 0.9}),
        Prediction("2", (Span(0, 1, "a"),), 0.9, span_scores=(0.9,), word_confidence={"least": 0.2, "mean": 0.7}),
    ),
    # the product over many labels is low although each is sure
    "classes": (
        Prediction("0", (), 0.5, {str(number): 0.07 for number in range(10)}),
        Prediction("1", ("0",), 0.7, {"0": 0.7, "1": 0.001}),
        Prediction("2", (), 0.3, {"0": 0.49, "1": 0.4}),
    ),
    "answers": (
        Prediction("0", (), 0.9, {"x": 0.9, "y": 0.1}),
        Prediction("1", (), 0.5, {"x": 0.5, "y": 0.5}),
        Prediction("2", (), 0.2, {str(number): 0.2 for number in range(5)}),
    ),
}


@pytest.mark.parametrize("kind", UNSURE_FIRST)
@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy"])
def test_the_least_sure_text_is_asked_first_whatever_the_labels(kind: str, name: str) -> None:
    texts = examples(["x", "y", "z"])
    chances = chances_of(Answering(kind, UNSURE_FIRST[kind]), texts)  # type: ignore[arg-type]
    assert chances.sum(axis=1) == pytest.approx(np.ones(3))
    chosen = QUERY_STRATEGIES[name]().choose(Pool(3, chances), 3, np.random.default_rng(0))
    assert chosen == [2, 1, 0]


def test_a_text_without_words_is_asked_last() -> None:
    answers = (Prediction("0", (), math.nan), Prediction("1", (), 0.99, word_confidence={"least": 0.99, "mean": 0.99}))
    chances = chances_of(Answering("spans", answers), examples(["", "y"]))  # type: ignore[arg-type]
    assert QUERY_STRATEGIES["entropy"]().choose(Pool(2, chances), 2, np.random.default_rng(0)) == [1, 0]


def test_a_pool_without_new_texts_is_an_error(predictor: Predictor) -> None:
    with pytest.raises(DataError, match="labelled already"):
        next_batch(predictor, examples(TEXTS), examples(TEXTS), QUERY_STRATEGIES["random"](), size=2, seed=0)


def test_from_a_batch_to_training_rows(tmp_path: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pool.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), encoding="utf-8")
    batch, train = tmp_path / "batch.jsonl", tmp_path / "train.jsonl"
    given = [str(finished_run / "artifact"), str(tmp_path / "pool.jsonl"), "--size", "3", "--out", str(batch)]
    assert "Wrote 3 texts" in call(capsys, "active", "next", *given, "--strategy", "entropy")
    rows = [json.loads(line) for line in batch.read_text(encoding="utf-8").splitlines()]
    assert all(row["suggested"] is True for row in rows)
    arguments = ["active", "add", str(batch), "--to", str(train)]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    assert "No row is answered" in capsys.readouterr().err
    assert not train.exists()
    answered = [{**rows[0], "label": "good", "suggested": False}, rows[1], {"text": rows[2]["text"], "label": "bad"}]
    batch.write_text("\n".join(json.dumps(row) for row in answered), encoding="utf-8")
    added = call(capsys, *arguments)
    assert "Added 2 answered texts" in added
    assert "Labels: bad 1, good 1" in added
    assert "2 were left out" in call(capsys, *arguments)
    read = Data(train=str(train), validation="none", test="none").load("class", 0).splits.train
    assert [(example.text, example.label) for example in read] == [(rows[0]["text"], "good"), (rows[2]["text"], "bad")]
    before = batch.read_bytes()
    asked = ["active", "next", *given, "--labelled", str(train), "--strategy", "random"]
    assert cli.guarded(lambda: cli.app(asked, standalone_mode=False)) == 2
    assert "may hold answers" in capsys.readouterr().err
    assert batch.read_bytes() == before
    batch.unlink()
    again = call(capsys, *asked)
    assert "2 texts are labelled already" in again
    judges = tmp_path / "validation.jsonl"
    judges.write_text(json.dumps({"text": rows[1]["text"]}), encoding="utf-8")
    batch.unlink()
    both = ["--labelled", str(train), "--labelled", str(judges), "--strategy", "random"]
    assert "3 texts are labelled already" in call(capsys, "active", "next", *given, *both)


def test_label_studio_gets_predictions_and_gives_annotations_back(tmp_path: Path) -> None:
    text = "李娜 is in Rome"
    spans = (Span(0, 2, "person"), Span(9, 13, "place"))
    (task,) = label_studio_tasks([Example("7", text)], [Prediction("7", spans, 0.5, span_scores=(0.9, 0.5))], "spans")
    json.dumps(task)
    results = task["predictions"][0]["result"]  # type: ignore[index]
    assert [one["value"]["text"] for one in results] == ["李娜", "Rome"]
    exported = [
        {**task, "annotations": [{"result": results, "updated_at": "2026-01-01"}]},
        {"data": {"text": "skipped"}, "annotations": [{"result": [], "was_cancelled": True}]},
        {
            "data": {"text": "a day"},
            "annotations": [
                {"result": [{"type": "choices", "value": {"choices": ["old"]}}], "updated_at": "2026-01-01"},
                {"result": [{"type": "choices", "value": {"choices": ["new"]}}], "updated_at": "2026-02-01"},
            ],
        },
    ]
    (tmp_path / "export.json").write_text(json.dumps(exported), encoding="utf-8")
    assert list(answered_rows(tmp_path / "export.json")) == [
        {
            "id": "7",
            "text": text,
            "spans": [{"start": 0, "end": 2, "label": "person"}, {"start": 9, "end": 13, "label": "place"}],
        },
        {"text": "a day", "label": "new"},
    ]
    (row,) = batch_rows([Example("7", text)], [Prediction("7", spans, 0.5)], "spans")
    assert row["spans"] == [{"start": 0, "end": 2, "label": "person"}, {"start": 9, "end": 13, "label": "place"}]


def test_questions_come_back_with_their_answers(tmp_path: Path) -> None:
    text = "Rome is in 意大利"
    asked = Example("7", text, second="where?")
    answer = Prediction("7", (Span(11, 14, "answer"),), 0.5, {"意大利": 0.5}, (0.5,))
    wanted = {"id": "7", "text": text, "question": "where?", "answers": [{"text": "意大利", "answer_start": 11}]}
    (row,) = batch_rows([asked], [answer], "answers")
    batch, train = tmp_path / "batch.jsonl", tmp_path / "train.jsonl"
    batch.write_text(json.dumps({**row, "suggested": False}), encoding="utf-8")
    assert list(answered_rows(batch)) == [wanted]
    (task,) = label_studio_tasks([asked], [answer], "answers")
    exported = [{**task, "annotations": [{"result": task["predictions"][0]["result"]}]}]  # type: ignore[index]
    (tmp_path / "export.json").write_text(json.dumps(exported), encoding="utf-8")
    assert list(answered_rows(tmp_path / "export.json")) == [wanted]
    assert add_answers(batch, train).rows == 1
    data = Data(train=str(train), validation="none", test="none")
    (example,) = data.load("answers", 0, ("text", "second")).splits.train
    assert (example.second, example.label) == ("where?", answer.label)
    batch.write_text(json.dumps({**row, "question": "what?", "answers": [], "suggested": False}), encoding="utf-8")
    assert add_answers(batch, train).rows == 1, "another question of the same passage"


@pytest.mark.parametrize(
    ("known", "given", "said"),
    [
        ({"label": "good"}, {"label": "godo"}, "Did you mean 'good'"),
        ({"label": ["good"]}, {"label": ["good", "Bad"]}, "the label 'Bad'"),
        (
            {"spans": [{"start": 0, "end": 1, "label": "person"}]},
            {"spans": [{"start": 0, "end": 1, "label": "persn"}]},
            "Did you mean 'person'",
        ),
    ],
)
def test_a_label_that_nothing_has_so_far_is_refused(
    known: dict[str, Any], given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    batch, train = tmp_path / "batch.jsonl", tmp_path / "train.jsonl"
    train.write_text(json.dumps({"text": "first", **known}) + "\n", encoding="utf-8")
    before = train.read_bytes()
    batch.write_text(json.dumps({"id": "7", "text": "second", **given}), encoding="utf-8")
    with pytest.raises(DataError, match=said) as refused:
        add_answers(batch, train)
    assert refused.value.where.endswith("text 7")
    assert train.read_bytes() == before
    assert sum(add_answers(batch, train, new_labels=True).labels.values()) >= 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("{broken", "not JSON"), ('[{"id": 1}]', "no data.text"), ('{"label": "a"}', "has no text")],
)
def test_answers_of_another_form_are_explained(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "answers").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(answered_rows(tmp_path / "answers"))


@pytest.mark.parametrize(
    ("kind", "row"), [("spans", {"spans": []}), ("classes", {"label": []}), ("class", None), (None, None)]
)
def test_an_annotation_without_a_result_means_what_the_kind_of_label_says(
    kind: str | None, row: dict[str, object] | None, tmp_path: Path
) -> None:
    data = {"text": "a day"} | ({"label_kind": kind} if kind else {})
    exported = [{"data": data, "annotations": [{"result": []}]}]
    (tmp_path / "export.json").write_text(json.dumps(exported), encoding="utf-8")
    assert list(answered_rows(tmp_path / "export.json")) == ([] if row is None else [{"text": "a day", **row}])
    if kind in ("spans", "classes"):
        (batch,) = batch_rows([Example("7", "a day")], [Prediction("7", (), 0.5)], kind)
        assert {name: batch[name] for name in row or {}} == row
