"""Labels as they stand in files: each value is read as what it is, or refused; none is guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.data.annotations import batch_rows
from tunesmith.data.dataset import Data
from tunesmith.data.labels import read_label
from tunesmith.data.records import Example, Label, Prediction, Span
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError, LabelError
from tunesmith.evaluation.results import example_row


def label_of(value: object, kind: str, text: str = "abcd") -> Label:
    return read_label(value, kind, text, "|", "a.jsonl:1")


@pytest.mark.parametrize(
    ("value", "label"),
    [(True, "true"), (False, "false"), (1, "1"), (1.0, "1"), (0.5, "0.5"), ("1.0", "1.0"), (["x"], "x"), (" x ", "x")],
)
def test_one_class_is_read_from_values_of_every_kind(value: object, label: str) -> None:
    assert label_of(value, "class") == label


@pytest.mark.parametrize("value", [[], [""], [" "], [None], ["x", "y"], {"x": 1}, b"x"])
def test_what_is_not_one_class_is_refused(value: object) -> None:
    with pytest.raises(LabelError, match="is not one class"):
        label_of(value, "class")


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("x|y", ("x", "y")),
        ("", ()),
        (None, ()),
        (float("nan"), ()),
        ("NaN", ()),
        (1.0, ("1",)),
        (["y", "x"], ("x", "y")),
    ],
)
def test_several_classes_are_read_from_values_of_every_kind(value: object, label: tuple[str, ...]) -> None:
    assert label_of(value, "classes") == label


@pytest.mark.parametrize("value", [{"x": 1}, [["x"], {"y": 1}], [None]])
def test_what_is_no_set_of_classes_is_refused(value: object) -> None:
    with pytest.raises(LabelError):
        label_of(value, "classes")


def test_a_number_beyond_all_floats_is_refused() -> None:
    with pytest.raises(LabelError, match="is not a number"):
        label_of(10**400, "number")


@pytest.mark.parametrize(
    "spans",
    [
        [{"start": False, "end": True, "label": "X"}],
        [{"start": 0, "end": 1, "label": " "}],
        {"": {"ab": [[0, 1]]}},
        {"X": {"a": [[False, False]]}},
    ],
)
def test_a_span_without_a_type_or_with_truth_values_for_places_is_refused(spans: object) -> None:
    with pytest.raises(LabelError):
        label_of(spans, "spans")


def examples(folder: Path, name: str, content: str, kind: str, **settings: object) -> list[Example]:
    (folder / name).write_text(content, encoding="utf-8")
    return list(read(Source(str(folder / name), label_kind=kind, **settings)).examples)  # type: ignore[arg-type]


def row(words: object, tags: object) -> str:
    return json.dumps({"tokens": words, "ner_tags": tags})


@pytest.mark.parametrize(
    ("words", "tags", "said"),
    [
        ("a b", ["O"], "not a list"),
        (["a"], ["O", "O"], "one tag per word"),
        (["a", None], ["O", "O"], "Word 2 of 2 is empty"),
        (["a", ["b"]], ["O", "O"], "Word 2 of 2 is no text"),
        (["a", "b"], ["O", None], "Word 2 of 2 has no tag"),
        (["a"], [True], "numbers without names"),
    ],
)
def test_words_and_tags_that_do_not_fit_are_refused(words: object, tags: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=said):
        examples(tmp_path, "a.jsonl", row(words, tags), "spans")


def test_rows_without_words_are_left_out_as_texts_are(tmp_path: Path) -> None:
    for kind in ("spans", ""):
        rows = row([], []) + "\n" + row(["Anna"], ["B-PER"])
        found = examples(tmp_path, "a.jsonl", rows, kind, text="tokens")
        assert [example.text for example in found] == ["Anna"]


def test_given_words_are_written_and_read_again_as_they_are(tmp_path: Path) -> None:
    conll = "do O\nn't O\ngo B-PER\n\n在 O\n罗马 B-LOC\n, O\nUSA B-LOC\n\n"
    before = examples(tmp_path, "a.conll", conll, "spans")
    rows = "\n".join(json.dumps(example_row(example, "spans")) for example in before)
    after = examples(tmp_path, "a.jsonl", rows, "spans")
    assert [(e.text, e.words, e.label) for e in after] == [(e.text, e.words, e.label) for e in before]
    asked = [
        json.dumps(row) for row in batch_rows(before, [Prediction(e.id, e.label or (), 0.5) for e in before], "spans")
    ]
    assert [e.words for e in examples(tmp_path, "b.jsonl", "\n".join(asked), "spans")] == [e.words for e in before]
    assert [e.words for e in examples(tmp_path, "c.jsonl", "\n".join(asked), "")] == [e.words for e in before]
    plain = json.dumps({"text": "a b", "spans": []})
    assert [e.words is None for e in examples(tmp_path, "d.jsonl", f"{rows}\n{plain}", "spans")] == [False, False, True]


@pytest.mark.parametrize("ranges", [5, [5], [[0, 1, 2]], [[0, 9]], [[-1, 2]], [[2, 2]], [[2, 4], [0, 3]], [["a", "b"]]])
def test_places_of_words_that_are_none_are_refused(ranges: object, tmp_path: Path) -> None:
    row = json.dumps({"text": "it's", "spans": [], "word_ranges": ranges})
    with pytest.raises(LabelError, match="The places of words are"):
        examples(tmp_path, "a.jsonl", row, "spans")


def test_words_that_are_none_are_refused_without_tags_too(tmp_path: Path) -> None:
    for words in (5, "a b"):
        with pytest.raises(LabelError, match="not a list"):
            examples(tmp_path, "a.jsonl", json.dumps({"tokens": words}), "", text="tokens")


def test_a_tag_without_a_type_means_the_same_in_every_form(tmp_path: Path) -> None:
    assert examples(tmp_path, "a.jsonl", row(["Anna"], ["B"]), "spans")[0].label == (Span(0, 4, "entity"),)
    assert examples(tmp_path, "a.conll", "Anna B\n", "spans")[0].label == (Span(0, 4, "entity"),)


FASTTEXT = "__label__a __label__b good film\n__label__c\tbad film\n"


def test_fasttext_lines_may_have_several_labels_and_no_label_is_left_in_the_text(tmp_path: Path) -> None:
    several = examples(tmp_path, "a.txt", FASTTEXT, "classes")
    assert [(example.text, example.label) for example in several] == [("good film", ("a", "b")), ("bad film", ("c",))]
    assert [example.text for example in examples(tmp_path, "a.txt", FASTTEXT, "")] == ["good film", "bad film"]
    with pytest.raises(LabelError, match="is not one class"):
        examples(tmp_path, "a.txt", FASTTEXT, "class")


def test_blanks_around_labels_are_counted_in_lines_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\t x\nb\tx\n", encoding="utf-8")
    found = read(Source(str(tmp_path / "a.txt"), label_kind="class")).findings
    assert [finding.count for finding in found if finding.code == "label_blanks"] == [1]


def test_ids_made_distinct_stay_distinct(tmp_path: Path) -> None:
    rows = [{"id": name, "text": "a", "label": "x"} for name in ("q", "q", "q#2")]
    found = examples(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)), "class")
    assert len({example.id for example in found}) == 3


def test_blank_groups_are_no_group(tmp_path: Path) -> None:
    found = examples(tmp_path, "a.csv", "text,label,who\na,x, \nb,x,NaN\nc,x,7\n", "class", group="who")
    assert [example.group for example in found] == ["", "", "7"]


def test_a_setting_that_no_format_of_the_recipe_uses_is_refused_and_one_that_some_use_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("review;label\na;x\nb;y\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(json.dumps({"review": "c", "label": "x"}), encoding="utf-8")
    paths = {"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.jsonl")}
    splits = Data(**paths, separator=";", text="review", validation_share=0).load("class", seed=1).splits  # type: ignore[arg-type]
    assert (len(splits.train), len(splits.test)) == (2, 1)
    with pytest.raises(DataError, match="'label_first' has no meaning"):
        Data(**paths, label_first=True, text="review", validation_share=0).load("class", seed=1)  # type: ignore[arg-type]


def test_labels_with_levels_are_cut_to_the_first_where_asked(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("DESC:manner How ?\nHUM Who ?\n:odd What ?\n", encoding="utf-8")
    given = Source(str(file), "lines", separator=" ", label_first=True, label_kind="class")
    assert [one.label for one in read(given).examples] == ["DESC:manner", "HUM", ":odd"]
    cut = read(replace(given, level_separator=":"))
    assert [one.label for one in cut.examples] == ["DESC", "HUM", ":odd"], "nothing before the mark is no level"
    assert next(one for one in cut.findings if one.code == "levels").message.startswith("2 labels were cut")


def test_several_labels_at_their_first_level_are_a_set(tmp_path: Path) -> None:
    file = tmp_path / "news.csv"
    file.write_text("text,label\nx,sport/golf|arts|sport/chess\n", encoding="utf-8")
    (example,) = read(Source(str(file), label_kind="classes", level_separator="/")).examples
    assert example.label == ("arts", "sport")


def test_levels_of_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("text,label\nx,1.5\n", encoding="utf-8")
    with pytest.raises(DataError, match="Only labels that are classes have levels"):
        read(Source(str(file), label_kind="number", level_separator="."))
