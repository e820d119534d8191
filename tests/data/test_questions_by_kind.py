"""TREC's questions: six kinds, the finer ones beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError


def test_kinds_are_labels_and_finer_ones_attributes(tmp_path: Path) -> None:
    (tmp_path / "trec.txt").write_text("NUM:dist How far is it ?\n\nHUM:ind Who ?\n", encoding="utf-8")
    found = read(Source(str(tmp_path / "trec.txt"), format="trec", label_kind="class")).examples
    assert [(one.text, one.label, one.attributes["fine"]) for one in found] == [
        ("How far is it ?", "NUM", "dist"),
        ("Who ?", "HUM", "ind"),
    ]


@pytest.mark.parametrize("line", ["NUM How far ?", "NUM:dist", ":dist How ?"])
def test_a_line_without_kinds_is_an_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "trec.txt").write_text(f"HUM:ind Who ?\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        list(read(Source(str(tmp_path / "trec.txt"), format="trec", label_kind="class")).examples)
    assert "trec.txt:2" in error.value.where


@pytest.mark.real_data
def test_the_data_set_has_the_published_sizes() -> None:
    splits = Data(name="trec", validation="none").load("class", 13).splits
    assert (len(splits.train), len(splits.test)) == (5452, 500)
    assert set(Counter(str(one.label) for one in splits.train)) == {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"}
