"""Two files, line by line: texts and what they become."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError


def pair(folder: Path, one: str, other: str) -> str:
    (folder / "train.en").write_text(one, encoding="utf-8")
    with gzip.open(folder / "train.zh.gz", "wt", encoding="utf-8") as file:
        file.write(other)
    return f"{folder / 'train.en'}|train.zh.gz"


def test_lines_of_two_files_are_pairs(tmp_path: Path) -> None:
    path = pair(tmp_path, "good day\nbye\n", "你好\n再见\n")
    for source in (Source(path, label_kind="text"), Source(path, "parallel", label_kind="text")):
        examples = read(source).examples
        assert [(e.text, e.label) for e in examples] == [("good day", "你好"), ("bye", "再见")]
        assert examples[1].origin == f"{tmp_path / 'train.en'}:2"


def test_the_second_file_may_lie_elsewhere(tmp_path: Path) -> None:
    pair(tmp_path, "a\n", "甲\n")
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "b.txt"
    other.write_text("乙\n", encoding="utf-8")
    (example,) = read(Source(f"{tmp_path / 'train.en'}|{other}", label_kind="text")).examples
    assert example.label == "乙"


def test_blank_lines_go_together_and_are_counted(tmp_path: Path) -> None:
    reading = read(Source(pair(tmp_path, "a\n\nc\nd\n", "甲\n乙\n \n丁"), label_kind="text"))
    assert [(e.text, e.label) for e in reading.examples] == [("a", "甲"), ("d", "丁")]
    (finding,) = reading.findings
    assert (finding.code, finding.count, finding.examples) == ("empty_pairs", 2, ("line 2", "line 3"))


def test_files_of_unequal_length_are_an_error_that_counts_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="have 3 and 2 lines"):
        read(Source(pair(tmp_path, "a\nb\nc\n", "甲\n乙\n"), label_kind="text"))
    with pytest.raises(DataError, match="have 1 and 2 lines"):
        read(Source(pair(tmp_path, "a\n", "甲\n乙\n"), label_kind="text"))


def test_a_lone_file_has_texts_alone(tmp_path: Path) -> None:
    pair(tmp_path, "a\nb\n", "甲\n乙\n")
    assert [e.text for e in read(Source(str(tmp_path / "train.en"), "parallel")).examples] == ["a", "b"]
    with pytest.raises(DataError, match="only one is named"):
        read(Source(str(tmp_path / "train.en"), "parallel", label_kind="text"))


def test_a_second_file_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    pair(tmp_path, "a\n", "甲\n")
    with pytest.raises(DataError, match=r"does not exist.*train\.zh\.gz"):
        read(Source(f"{tmp_path / 'train.en'}|train.zh", label_kind="text"))


def test_classes_do_not_stand_in_parallel_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no other labels"):
        read(Source(pair(tmp_path, "a\n", "甲\n"), label_kind="class"))


def test_settings_of_tables_have_no_meaning(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'separator' has no meaning"):
        read(Source(pair(tmp_path, "a\n", "甲\n"), label_kind="text", separator=","))


@pytest.mark.real_data
def test_translations_are_counted_as_their_readme_counts() -> None:
    counts = {}
    for name in ("multi30k-en-de", "tatoeba-en-zh", "wmt-news-zh-en"):
        splits = Data(name=name, test_share=0, validation_share=0).load("text", seed=1).splits
        counts[name] = (len(splits.train), len(splits.validation), len(splits.test))
        assert all(isinstance(e.label, str) and e.label for part in splits.named().values() for e in part)
    assert counts == {
        "multi30k-en-de": (29_000, 1_014, 1_000),
        "tatoeba-en-zh": (21_007, 0, 0),
        "wmt-news-zh-en": (0, 2_002, 3_981),
    }
