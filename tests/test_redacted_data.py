"""A recipe whose texts are redacted: all splits alike, spans with their words, and the artifact says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tests.builders import write_recipe
from tunesmith import pipeline
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Finding, Prediction, Span, Turn
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import MANIFEST, file_hash, read_description
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import Candidate, examples_to_judge
from tunesmith.preparation import prepare
from tunesmith.privacy import ACTIONS, Redactor, standard
from tunesmith.redacted_data import Seen, load_data, redaction_of, without_personal_data
from tunesmith.tasks import SequenceClassification, TokenClassification

REDACTOR = Redactor(standard())
MOBILE, EMAIL = "13812345678", "anna@mail.example.com"


def masked(example: Example, kind: str = "spans") -> tuple[Example, Seen]:
    (done,), seen = without_personal_data([example], REDACTOR, kind)
    return done, seen


def words_of(example: Example) -> list[str]:
    assert example.words is not None
    return [example.text[start:end] for start, end in example.words]


def spans_of(example: Example) -> list[tuple[str, str]]:
    assert isinstance(example.label, tuple)
    return [(example.text[one.start : one.end], one.label) for one in example.label if isinstance(one, Span)]


def labelled(text: str, *spans: tuple[str, str], words: Sequence[str] = ()) -> Example:
    places: list[tuple[int, int]] = []
    for word in words:
        start = text.index(word, places[-1][1] if places else 0)
        places.append((start, start + len(word)))
    label = tuple(sorted(Span(text.index(part), text.index(part) + len(part), name) for part, name in spans))
    return Example("1", text, label, words=tuple(places) or None)


def test_spans_behind_a_value_move_with_their_words_in_english_and_chinese() -> None:
    text = f"{EMAIL} belongs to Anna Bell of Leeds"
    done, seen = masked(labelled(text, ("Anna Bell", "PER"), ("Leeds", "LOC")))
    assert done.text == "<EMAIL> belongs to Anna Bell of Leeds"
    assert spans_of(done) == [("Anna Bell", "PER"), ("Leeds", "LOC")]
    assert (seen.masked, seen.holding, seen.joined) == (0, 0, 0)
    done, seen = masked(labelled(f"电话{MOBILE}，请联系张三，地点北京。", ("张三", "PER"), ("北京", "LOC")))
    assert done.text == "电话<MOBILE>，请联系张三，地点北京。"
    assert spans_of(done) == [("张三", "PER"), ("北京", "LOC")]
    assert dict(seen.counts) == {"MOBILE": 1}


def test_a_value_that_is_a_span_or_lies_in_one_is_counted_and_said() -> None:
    text = f"Write to {EMAIL} or 热线 {MOBILE} 转 2"
    done, seen = masked(labelled(text, (EMAIL, "MAIL"), (f"热线 {MOBILE} 转 2", "TEL")))
    assert spans_of(done) == [("<EMAIL>", "MAIL"), ("热线 <MOBILE> 转 2", "TEL")]
    assert (seen.masked, seen.holding) == (1, 1)
    codes = {finding.code: finding for finding in seen.findings("train", "mask")}
    assert codes["redacted_spans"].severity == "warning"
    assert "1 labelled spans are nothing but a replaced value" in codes["redacted_spans"].message


def test_of_two_spans_that_one_value_reaches_into_the_longer_stays() -> None:
    user, host = EMAIL.split("@")
    done, seen = masked(labelled(f"to {EMAIL} now", (user, "PER"), (host, "ORG")))
    assert spans_of(done) == [("<EMAIL>", "ORG")]
    assert (seen.joined, seen.joined_at) == (1, ["1: PER in <EMAIL>"])
    assert "redacted_spans_joined" in {finding.code for finding in seen.findings("test", "mask")}
    done, seen = masked(replace(labelled(f"to {EMAIL} now", (user, "PER"), (host, "ORG"))), "answers")
    assert seen.joined == 0, "each of several answers is right"


def test_words_that_one_value_reaches_into_become_one_and_spans_end_with_words() -> None:
    text = "call 138 1234 5678 in Rome now"
    example = labelled(text, ("Rome", "LOC"), ("1234", "NUM"), words=text.split())
    done, _ = masked(example)
    assert words_of(done) == ["call", "<MOBILE>", "in", "Rome", "now"]
    assert spans_of(done) == [("<MOBILE>", "NUM"), ("Rome", "LOC")]
    text = f"mail:{EMAIL},ok then"
    done, _ = masked(labelled(text, (EMAIL, "MAIL"), words=text.split()))
    assert words_of(done) == ["mail:<EMAIL>,ok", "then"]
    assert spans_of(done) == [("mail:<EMAIL>,ok", "MAIL")]


def test_all_that_is_written_in_an_example_is_looked_at() -> None:
    turns = (Turn("system", f"Ask {EMAIL}"), Turn("user", f"Call {MOBILE}"))
    example = Example(
        "1",
        f"Call {MOBILE}",
        f"I wrote to {EMAIL}",
        second=EMAIL,
        turns=turns,
        rejected=MOBILE,
        attributes={"a": EMAIL},
    )
    done, seen = masked(example, "text")
    assert MOBILE not in repr(done)
    assert EMAIL not in repr(done)
    assert done.turns[-1].text == done.text
    assert seen.counts == {"EMAIL": 4, "MOBILE": 2}
    kept, _ = masked(replace(example, label=EMAIL), "class")
    assert kept.label == EMAIL, "a class is no text"


def test_examples_without_values_stay_as_they_are() -> None:
    example = labelled("Anna went to Rome", ("Rome", "LOC"))
    done, seen = masked(example)
    assert done is example
    assert (seen.texts, seen.changed) == (1, 0)


@pytest.fixture
def rows(place: Path) -> dict[str, object]:
    """Files of three splits with values in each."""
    given: dict[str, object] = {}
    for split, size in (("train", 24), ("validation", 12), ("test", 12)):
        lines = [
            {
                "text": f"{'good' if n % 2 else 'bad'} film {n}, {split}{n}@mail.example.com",
                "label": ("bad", "good")[n % 2],
            }
            for n in range(size)
        ]
        path = place / f"{split}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        given[split] = str(path)
    return given


def test_a_run_learns_and_is_judged_without_personal_data_and_its_artifact_says_so(
    place: Path, rows: dict[str, object]
) -> None:
    own = place / "own.yaml"
    own.write_text("recognisers: [{name: pattern, kind: FILM, pattern: 'film [0-9]+'}]\nactions: {FILM: partial}\n")
    data = {**rows, "redact": "mask", "redact_by": str(own), "accept": ["unknown_tokens"]}
    result = pipeline.run(Experiment.from_yaml(write_recipe(place, data=data)), place / "run", quiet=True)
    told = read_description(result.artifact)["redacted"]
    sha256 = file_hash(own)
    assert told == {
        "action": "mask",
        "actions": {"FILM": "partial"},
        "kinds": [],
        "recognisers_sha256": sha256,
        "names_sha256": [],
    }
    said = {finding.message for finding in result.report.findings if finding.code == "redacted"}
    assert len(said) == 3
    assert any("train: 48 values of personal data in 24 of 24 texts" in one for one in said)
    for file in (place / "run").rglob("*"):
        if file.is_file() and file.suffix in {".json", ".jsonl", ".html", ".yaml"}:
            assert "mail.example.com" not in file.read_text(encoding="utf-8"), file
    candidate = Candidate.load(result.artifact)
    assert candidate.learnt() is not None, "the data is not read as it was for the run"
    _, again = examples_to_judge(candidate, str(rows["test"]), ())
    assert "<EMAIL>" in again[0].text


def test_copies_that_differ_in_a_value_alone_are_found(place: Path, rows: dict[str, object]) -> None:
    for split in ("train", "test"):
        path = Path(str(rows[split]))
        line = json.dumps({"text": f"a good day {split}@mail.example.com", "label": "good"}) + "\n"
        path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")
    codes = [{one.code for one in found(place, rows, redact)} for redact in ("", "mask")]
    assert codes[1] - codes[0] >= {"leakage", "redacted"}


def found(place: Path, rows: dict[str, object], redact: str) -> Sequence[Finding]:
    return prepare(Experiment.from_yaml(write_recipe(place, data={**rows, "redact": redact}))).findings


def test_texts_without_labels_are_redacted_too_and_pseudonyms_are_the_same_each_time(
    place: Path, rows: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place))
    more = place / "more.txt"
    more.write_text("write to train0@mail.example.com\n", encoding="utf-8")
    data = Data(**rows, unlabelled=str(more), redact="pseudonymise", redact_kinds=("EMAIL",))  # type: ignore[arg-type]
    one, other = (load_data(data, SequenceClassification(), 1).splits for _ in range(2))
    assert [example.text for example in one.train] == [example.text for example in other.train]
    token = one.train[0].text.rpartition(" ")[2]
    assert token.startswith("<EMAIL:")
    assert one.unlabelled[0].text == f"write to {token}"
    assert redaction_of(data)["kinds"] == ["EMAIL"]


class Tagger:
    """Tags a name where it stands."""

    task = TokenClassification(labels=("PER",))

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        places = [example.text.find("Anna") for example in examples]
        return [
            Prediction(one.id, (Span(at, at + 4, "PER"),) if at >= 0 else (), 0.9)
            for one, at in zip(examples, places, strict=True)
        ]


def test_names_are_found_by_a_tagger_that_the_recipe_names(
    place: Path, rows: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(str(rows["train"]))
    path.write_text(path.read_text() + json.dumps({"text": "Anna likes it", "label": "good"}) + "\n")
    (place / "tagger").mkdir()
    (place / "tagger" / MANIFEST).write_text("{}")
    monkeypatch.setattr(Predictor, "load", lambda folder: Tagger())
    data = Data(**rows, redact="mask", redact_names=(str(place / "tagger"),))  # type: ignore[arg-type]
    train = load_data(data, SequenceClassification(), 1).splits.train
    assert train[-1].text == "<PERSON> likes it"
    assert redaction_of(data)["names_sha256"] == [file_hash(place / "tagger" / MANIFEST)]
    Tagger.task = SequenceClassification(labels=("PER",))  # type: ignore[assignment]
    with pytest.raises(RecipeError, match="does not tag names"):
        load_data(data, SequenceClassification(), 1)
    with pytest.raises(RecipeError, match="not what becomes of it"):
        Data(**rows, redact_names=("tagger",))  # type: ignore[arg-type]


def test_a_refusal_names_the_row_and_no_value(rows: dict[str, object]) -> None:
    with pytest.raises(DataError) as caught:
        load_data(Data(**rows, redact="refuse"), SequenceClassification(), 1)  # type: ignore[arg-type]
    assert "train.jsonl:1" in str(caught.value)
    assert "mail.example.com" not in str(caught.value)


def test_the_actions_of_a_recipe_are_those_that_there_are() -> None:
    assert set(get_args(get_type_hints(Data)["redact"])) == {"", *ACTIONS}
