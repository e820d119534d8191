import lzma
import os
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import classification_report

from tests.scoring.makers import span_answers
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import LabelError
from tunesmith.scoring.entities import (
    count_words,
    entity_table,
    measure_entities,
    spans_to_tags,
    word_ranges,
    word_table,
)
from tunesmith.scoring.tags import measure_tags, tags_to_spans

DATA = Path(os.environ.get("TUNESMITH_DATA", Path(__file__).parents[3] / "shared" / "data"))


def words_of(text):
    return [text[start:end] for start, end in word_ranges(text)]


def values(measures):
    return {measure.name: measure.value() for measure in measures}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna's U.S. trip, 3.5%", ["Anna", "'", "s", "U", ".", "S", ".", "trip", ",", "3", ".", "5", "%"]),
        ("我用iPhone15。", ["我", "用", "iPhone15", "。"]),
        ("서울 カナ ㄅ𠀀", ["서", "울", "カ", "ナ", "ㄅ", "𠀀"]),
        ("cafe\u0301 हिन्दी عَرَب", ["cafe\u0301", "हिन्दी", "عَرَب"]),
        ("a_b\u3000c\xa0d\n", ["a", "_", "b", "c", "d"]),
        (" \t", []),
    ],
)
def test_words_are_runs_of_letters_and_single_characters_of_chinese(text, words):
    assert words_of(text) == words


def test_every_character_but_blanks_is_in_exactly_one_word():
    text = "".join(map(chr, range(0x20, 0xD7FF))) + "🙂👩\u200d💻"
    assert "".join(words_of(text)) == "".join(text.split())


def test_a_span_marks_the_words_that_it_touches():
    words = [(0, 2), (3, 5), (6, 8), (9, 11)]
    assert spans_to_tags([Span(4, 7, "A"), Span(9, 11, "A")], words) == ["O", "B-A", "I-A", "B-A"]


def test_of_overlapping_spans_the_earlier_keeps_its_words():
    words = [(0, 1), (2, 3), (4, 5)]
    assert spans_to_tags([Span(2, 5, "B"), Span(0, 3, "A")], words) == ["B-A", "I-A", "B-B"]
    assert spans_to_tags([Span(0, 5, "A"), Span(2, 3, "B")], words) == ["B-A", "I-A", "I-A"]


def test_tags_and_spans_of_words_turn_into_each_other():
    for example in span_answers(200)[0]:
        spans = [
            Span(example.words[start][0], example.words[end - 1][1], kind)
            for start, end, kind in tags_to_spans(spans_to_tags(example.label, example.words), "strict", "IOB2")
        ]
        assert tuple(spans) == example.label


def test_entity_scores_equal_those_of_the_tags():
    examples, predictions, labels = span_answers(300)
    gold = [spans_to_tags(e.label, e.words) for e in examples]
    found = [spans_to_tags(p.label, e.words) for e, p in zip(examples, predictions, strict=True)]
    expected = measure_tags(gold, found)
    result = values(measure_entities(examples, predictions, labels))
    assert {name: result[name] for name in ("precision", "recall", "f1", "macro_f1")} == pytest.approx(
        {name: expected[name] for name in ("precision", "recall", "f1", "macro_f1")}
    )
    right = np.mean([a == b for one, other in zip(gold, found, strict=True) for a, b in zip(one, other, strict=True)])
    assert result["word_accuracy"] == pytest.approx(right)


def test_an_entity_needs_both_borders_and_the_type():
    right = (Span(0, 8, "LOC"),)
    example = Example("a", "New York City", right)
    for wrong in (Span(0, 8, "ORG"), Span(0, 13, "LOC"), Span(4, 8, "LOC")):
        assert values(measure_entities([example], [Prediction("a", (wrong,), 1.0)], ["LOC"]))["f1"] == 0
    assert values(measure_entities([example], [Prediction("a", right, 1.0)], ["LOC"]))["f1"] == 1


def test_the_entity_table_ends_in_the_averages():
    examples, predictions, labels = span_answers(100)
    rows = {row.label: row for row in entity_table(examples, predictions, labels)}
    assert list(rows) == [*labels, "micro avg", "macro avg", "weighted avg"]
    result = values(measure_entities(examples, predictions, labels))
    assert (rows["micro avg"].precision, rows["micro avg"].recall) == (result["precision"], result["recall"])
    assert rows["macro avg"].f1 == result["macro_f1"]
    assert rows["micro avg"].support == sum(len(example.label) for example in examples)


def test_the_word_table_equals_the_report_of_sklearn():
    examples, predictions, _ = span_answers(200)
    gold = [tag for e in examples for tag in spans_to_tags(e.label, e.words)]
    found = [tag for e, p in zip(examples, predictions, strict=True) for tag in spans_to_tags(p.label, e.words)]
    rows = word_table(examples, predictions)
    assert [row.label for row in rows] == [f"{p}-{k}" for k in "abcd" for p in "BI"] + [
        "O",
        "micro avg",
        "macro avg",
        "weighted avg",
    ]
    report = classification_report(gold, found, output_dict=True)
    for row in rows:
        if row.label == "micro avg":
            assert (row.precision, row.recall, row.f1) == pytest.approx((report["accuracy"],) * 3)
            assert row.support == count_words(examples) == 2000
        else:
            expected = report[row.label]
            assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(
                (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
            )


def test_text_without_given_words_is_scored_by_its_own():
    example = Example("a", "张三在Rome", (Span(0, 2, "PER"), Span(3, 7, "LOC")))
    rows = {row.label: row.support for row in word_table([example], [Prediction("a", (), 1.0)])}
    assert rows == {"B-LOC": 1, "B-PER": 1, "I-PER": 1, "O": 1, "micro avg": 4, "macro avg": 4, "weighted avg": 4}


def test_a_class_is_no_list_of_spans():
    with pytest.raises(LabelError, match="not a list of spans"):
        measure_entities([Example("a", "text", "good")], [Prediction("a", (), 1.0)], [])


@pytest.mark.real_data
def test_the_conll_test_split_has_46435_words_and_5648_entities():
    path = DATA / "conll2003" / "eng.testb.xz"
    if not path.exists():
        pytest.skip("the CoNLL-2003 data are not here")
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    columns = [line.split() if not line.startswith("-DOCSTART-") else [] for line in lines]
    sentences = [list(group) for filled, group in groupby(columns, key=bool) if filled]
    examples = []
    for number, sentence in enumerate(sentences):
        ends = np.cumsum([len(row[0]) + 1 for row in sentence]) - 1
        words = tuple((int(end) - len(row[0]), int(end)) for row, end in zip(sentence, ends, strict=True))
        found = tags_to_spans([row[-1] for row in sentence], "strict", "IOB1")
        spans = tuple(Span(words[start][0], words[end - 1][1], kind) for start, end, kind in found)
        examples.append(Example(str(number), " ".join(row[0] for row in sentence), spans, words))
    predictions = [Prediction(example.id, example.label or (), 1.0) for example in examples]
    rows = {row.label: row for row in word_table(examples, predictions)}
    assert rows["micro avg"].support == count_words(examples) == 46_435
    assert entity_table(examples, predictions, ["LOC", "MISC", "ORG", "PER"])[-1].support == 5_648
    assert rows["B-LOC"].support == 1_668
