"""CoNLL columns: the scheme is recognised, the spans are the same in each, and joining words loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.conll import join_words
from tunesmith.data.records import Span
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError, LabelError
from tunesmith.scoring.answers import spans_of

WORDS = ["Anna", "Bell", "met", "Rome", "Paris", "today"]
SCHEMES = {
    "IOB1": ["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "O"],
    "IOB2": ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O"],
    "BIOES": ["B-PER", "E-PER", "O", "S-LOC", "S-LOC", "O"],
    "BMES": ["B-PER", "E-PER", "O", "S-LOC", "S-LOC", "O"],
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_is_recognised_and_means_the_same(scheme: str, tmp_path: Path) -> None:
    tags = SCHEMES[scheme]
    lines = [f"{word} X {tag}" for word, tag in zip(WORDS, tags, strict=True)]
    long = (
        ["a X B-ORG", "b X M-ORG" if scheme == "BMES" else "b X I-ORG", "c X E-ORG"]
        if scheme[0:2] in ("BI", "BM")
        else []
    )
    path = tmp_path / "a.conll"
    path.write_text("\n".join(["-DOCSTART- -X- O", "", *lines, "", *long, "", "end X O"]) + "\n", encoding="utf-8")
    reading = read(Source(str(path), label_kind="spans"))
    assert reading.examples[0].text == "Anna Bell met Rome Paris today"
    assert reading.examples[0].label == (Span(0, 9, "PER"), Span(14, 18, "LOC"), Span(19, 24, "LOC"))
    assert reading.examples[0].group == "document-1"
    assert f"The tags are read as {scheme}." in [finding.message for finding in reading.findings]
    assert not [finding for finding in reading.findings if finding.severity != "note"]


def test_tags_that_the_scheme_does_not_allow_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a B-PER\nb O\nc B-PER\nd O\ne I-PER\n", encoding="utf-8")
    reading = read(Source(str(path), label_kind="spans"))
    assert [(finding.code, finding.count) for finding in reading.findings if finding.severity == "warning"] == [
        ("odd_tags", 1)
    ]
    assert len(spans_of(reading.examples[0])) == 3


def test_chinese_characters_are_joined_without_blanks(tmp_path: Path) -> None:
    path = tmp_path / "a.bio"
    path.write_text("张\tB-PER\n三\tI-PER\n在\tO\nIBM\tB-ORG\n工\tO\n", encoding="utf-8")
    (example,) = read(Source(str(path), label_kind="spans")).examples
    assert example.text == "张三在 IBM 工"
    assert example.label == (Span(0, 2, "PER"), Span(4, 7, "ORG"))


@given(st.lists(st.text(alphabet="ab中文,", min_size=1, max_size=4), min_size=1, max_size=8))
def test_joining_keeps_every_word_in_its_place(words: list[str]) -> None:
    text, ranges = join_words(words)
    assert [text[start:end] for start, end in ranges] == words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["他", "说", "“", "好", "”", "。"], "他说“好”。"),
        (["阿", "·", "李", "——", "他"], "阿·李——他"),
        (["𠮷", "野", "家", "……", "好"], "𠮷野家……好"),
        (["他", "说", "“", "好", "”", "—", "—", "她"], "他说“好”——她"),
        (["“", "‘", "好", "’", "”"], "“‘好’”"),
        (["He", "said", "“", "yes", "”", "—", "Anna", "’s"], "He said “ yes ” — Anna ’s"),
        (["“", "‘", "Yes", "…", "’", "”"], "“ ‘ Yes … ’ ”"),
        (["他", "用", "“", "iPhone", "”", "—", "—", "她"], "他用“ iPhone ”——她"),
        (["买", "iPhone", "15", "了"], "买 iPhone 15 了"),
    ],
)
def test_no_blank_is_put_between_chinese_signs(words: list[str], text: str) -> None:
    assert join_words(words)[0] == text


def test_only_blanks_and_tabs_part_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("10\u00a0000 O\nAnna B-PER\n", encoding="utf-8")
    assert read(Source(str(path), label_kind="spans")).examples[0].text == "10\u00a0000 Anna"


def test_a_document_line_ends_the_sentence_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART-\nAnna B-PER\n-DOCSTART-\nmet O\n", encoding="utf-8")
    examples = read(Source(str(path), label_kind="spans")).examples
    assert [(example.text, example.group) for example in examples] == [("Anna", "document-1"), ("met", "document-2")]


def test_a_tag_without_its_word_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("张\tO\n\u3000\tO\n", encoding="utf-8")
    with pytest.raises(DataError, match="Line 2 has no word before its tag"):
        read(Source(str(path), label_kind="spans"))


def test_a_line_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a X O\nb X O\nc O\n", encoding="utf-8")
    with pytest.raises(DataError, match="Line 3 has 2 columns, the first line has 3"):
        read(Source(str(path), label_kind="spans"))


def test_a_tag_of_no_scheme_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a O\nb Q-PER\n", encoding="utf-8")
    with pytest.raises(LabelError, match="'Q-PER' is not a tag") as error:
        read(Source(str(path), label_kind="spans"))
    assert error.value.where.endswith(":2")
