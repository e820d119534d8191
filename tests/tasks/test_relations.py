"""Relations: both entities are always read, whatever the length, and direction counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from tests.builders import RELATIONS, build_model
from tunesmith.data.marks import unmarked
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError, LabelError, RecipeError
from tunesmith.scoring.relations import measure_relations
from tunesmith.tasks import RelationClassification
from tunesmith.tasks.relation_classification import kept_tokens

SEMEVAL = (
    '1\t"The <e1>child</e1> was put into the <e2>cradle</e2>."\r\nOther\r\nComment: none\r\n\r\n'
    '2\t"<e1>张三</e1>住在<e2>北京</e2>"\r\nat(e1,e2)\r\nComment:\r\n\r\n'
)


def read_file(folder: Path, text: str, name: str, **settings: object) -> list[Example]:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    source = Source(str(path), label_kind="class", inputs=("text", "marks"), **settings)  # type: ignore[arg-type]
    return list(read(source).examples)


def test_semeval_files_give_plain_texts_and_the_places_of_both_entities(tmp_path: Path) -> None:
    first, second = read_file(tmp_path, SEMEVAL, "a.txt", format="semeval")
    assert first.text == "The child was put into the cradle."
    assert [first.text[mark.start : mark.end] for mark in first.marks] == ["child", "cradle"]
    assert (second.label, second.text) == ("at(e1,e2)", "张三住在北京")
    assert [second.text[mark.start : mark.end] for mark in second.marks] == ["张三", "北京"]


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "<e1>Anna</e1> in <e2>Rome</e2>", "label": "at"}',
        '{"text": "[[ Anna ]] in << Rome >>", "label": "at"}',
        '{"text": "Anna in Rome", "e1": {"start": 0, "end": 4}, "e2": {"start": 8, "end": 12}, "label": "at"}',
        '{"text": "Anna in Rome", "e1": [0, 4], "e2": "Rome", "label": "at"}',
    ],
)
def test_rows_mark_entities_in_four_ways(row: str, tmp_path: Path) -> None:
    (example,) = read_file(tmp_path, row + "\n", "a.jsonl")
    assert example.text == "Anna in Rome"
    assert example.marks == (Span(0, 4, "e1"), Span(8, 12, "e2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Anna in <e2>Rome</e2>", "marks no entity e1"),
        ("<e1>Anna</e1> <e1>Bell</e1> in <e2>Rome</e2>", "entity e1 is not marked once"),
        ("</e1>Anna<e1> in <e2>Rome</e2>", "entity e1 is not marked once"),
    ],
)
def test_wrong_marks_are_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        unmarked(text, "row 3")


def test_both_entities_are_read_in_a_text_of_any_length(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, RelationClassification(labels=("at", "Other")), [], max_length=24)
    for apart in (0, 5, 60):
        text = " ".join(["day"] * 30 + ["Anna"] + ["good"] * apart + ["Rome"] + ["film"] * 30)
        first, second = text.index("Anna"), text.index("Rome")
        example = Example("x", text, "at", marks=(Span(first, first + 4, "e1"), Span(second, second + 4, "e2")))
        encoded = task.encode(example, encoder)
        piece = encoded.pieces[0]
        assert len(piece.input_ids) == 24
        assert encoded.changed == ("cut_context",)
        words = encoder.tokenizer.convert_ids_to_tokens(piece.input_ids.tolist())
        begin1, end1, begin2, end2 = piece.unit_positions
        assert words[begin1 : end1 + 1] == ["$", "anna", "$"]
        assert words[begin2 : end2 + 1] == ["#", "rome", "#"]


def test_what_is_kept_lies_nearest_to_the_entities() -> None:
    assert kept_tokens(10, [(4, 4), (5, 5)], 6) == [2, 3, 4, 5, 6, 7]
    assert kept_tokens(5, [(0, 0), (4, 4)], 8) == [0, 1, 2, 3, 4]
    assert {0, 19} <= set(kept_tokens(20, [(0, 0), (19, 19)], 6))
    # What stands between the entities goes before what stands around them, as long as it fits.
    assert kept_tokens(30, [(10, 10), (17, 17)], 10) == list(range(9, 19))
    assert kept_tokens(30, [(10, 10), (17, 17)], 6) == [9, 10, 11, 16, 17, 18]
    # Entities that are too long keep their ends.
    assert {0, 20, 22, 40} <= set(kept_tokens(50, [(0, 20), (22, 40)], 8))


def test_the_official_score_counts_a_wrong_direction_as_wrong() -> None:
    gold = ["A(e1,e2)", "A(e1,e2)", "A(e2,e1)", "B(e1,e2)", "Other", "Other"]
    given = ["A(e1,e2)", "A(e2,e1)", "A(e2,e1)", "Other", "B(e1,e2)", "Other"]
    examples = [Example(str(n), "x", label) for n, label in enumerate(gold)]
    answers = [Prediction(str(n), label, 1.0) for n, label in enumerate(given)]
    # A: 2 right of 3 given and 3 wanted; B: none right of 1 given and 1 wanted.
    found = {m.name: m.value() for m in measure_relations(examples, answers, tuple(sorted(set(gold))), "Other")}
    assert found["official_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (4 + 4))


def test_the_official_score_equals_the_scorers_steps_on_random_answers() -> None:
    generator = np.random.default_rng(5)
    labels = [f"{relation}({order})" for relation in "ABC" for order in ("e1,e2", "e2,e1")] + ["Other"]
    gold = [labels[place] for place in generator.integers(len(labels), size=200)]
    given = [one if generator.random() < 0.5 else labels[generator.integers(len(labels))] for one in gold]
    scores = []
    for relation in "ABC":  # the steps of semeval2010_task8_scorer: a wrong direction only adds to the answers given
        right = sum(one == other and one[0] == relation for one, other in zip(gold, given, strict=True))
        precision = right / sum(other.startswith(f"{relation}(") for other in given)
        recall = right / sum(one.startswith(f"{relation}(") for one in gold)
        scores.append(2 * precision * recall / (precision + recall))
    examples = [Example(str(n), "x", label) for n, label in enumerate(gold)]
    answers = [Prediction(str(n), label, 1.0) for n, label in enumerate(given)]
    measures = {m.name: m for m in measure_relations(examples, answers, tuple(labels), "Other")}
    assert measures["official_f1"].value() == pytest.approx(np.mean(scores))
    everyone = np.arange(len(gold))[None, :]
    for measure in measures.values():
        assert measure.resampled(everyone)[0] == pytest.approx(measure.value(), nan_ok=True)
    each = [
        2 * sum(a == b == label for a, b in zip(gold, given, strict=True)) / (gold.count(label) + given.count(label))
        for label in labels[:-1]
    ]
    assert measures["macro_f1_directed"].value() == pytest.approx(np.mean(each))


def test_which_class_is_no_relation_can_be_found_named_or_none(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    for given, expected in ((None, "Other"), ("", ""), ("at(e1,e2)", "at(e1,e2)")):
        task = RelationClassification(labels=("Other", "at(e1,e2)"), no_relation=given)
        assert task.prepared([], tiny_tokenizer).no_relation == expected


def test_a_sentence_without_a_relation_is_not_swallowed(tmp_path: Path) -> None:
    for text in (
        '1\t"<e1>a</e1> <e2>b</e2>"\n2\t"<e1>a</e1> <e2>b</e2>"\nOther\n',
        '1\t"<e1>a</e1> <e2>b</e2>"\nComment: x\n',
        '1\t"<e1>a</e1> <e2>b</e2>"\n',
    ):
        with pytest.raises(DataError, match="The sentence has no relation"):
            read_file(tmp_path, text, "a.txt", format="semeval")
        path = tmp_path / "a.txt"
        found = read(Source(str(path), format="semeval", inputs=("text", "marks"))).examples
        assert [example.text for example in found] == ["a b"] * text.count("<e1>")


def test_an_entity_given_by_its_text_stands_at_its_first_place_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('上航\t东航\t"合并\t东航与上航合并，东航停牌\n', encoding="utf-8")
    source = Source(
        str(path),
        label_kind="class",
        inputs=("text", "marks"),
        header=("e1", "e2", "label", "text"),
        quoted=False,
    )
    reading = read(source)
    assert reading.examples[0].marks == (Span(3, 5, "e1"), Span(0, 2, "e2"))
    assert {f.code: f.count for f in reading.findings}["repeated_entities"] == 1
    path.write_text("上航\t南航\t合并\t东航与上航合并\n", encoding="utf-8")
    with pytest.raises(DataError, match="entity e2 is '南航', which is no place"):
        read(source)


def test_a_token_over_a_border_is_parted_or_counted(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, RelationClassification(labels=("at",)), [])
    # "people" is one token, of which no part is in the vocabulary; "the" and "n" are.
    example = Example("x", "people in Rome", "at", marks=(Span(0, 3, "e1"), Span(10, 14, "e2")))
    assert task.encode(example, encoder).changed == ("widened_entity",)
    whole = Example("x", "people in Rome", "at", marks=(Span(0, 6, "e1"), Span(10, 14, "e2")))
    assert task.encode(whole, encoder).changed == ()


def test_nested_entities_have_signs_around_both(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, RelationClassification(labels=("at",)), [])
    example = Example("x", "new york bank", "at", marks=(Span(0, 8, "e1"), Span(0, 13, "e2")))
    piece = task.encode(example, encoder).pieces[0]
    words = encoder.tokenizer.convert_ids_to_tokens(piece.input_ids.tolist())
    begin1, end1, begin2, end2 = piece.unit_positions
    assert [word for word in words[begin1 : end1 + 1] if word not in "$#"] == ["new", "york"]
    assert [word for word in words[begin2 : end2 + 1] if word not in "$#"] == ["new", "york", "bank"]


def test_an_unknown_class_for_no_relation_names_the_nearest(tiny_model_folder: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'Other'"):
        build_model(tiny_model_folder, RelationClassification(no_relation="Othr"), RELATIONS)


def test_a_text_without_marks_is_refused(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, RelationClassification(), RELATIONS)
    with pytest.raises(LabelError, match="entity e1 is not marked"):
        task.encode(Example("x", "Anna in Rome", "Other"), encoder)
