"""AG's news in both of its forms: the same texts, the same topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError


def test_both_forms_give_the_same_texts_and_topics(tmp_path: Path) -> None:
    (tmp_path / "original.csv").write_text('"1","War, again","Far away."\n"4","Chip","It\\ is small."\n', "utf-8")
    (tmp_path / "short.csv").write_text('"War, again Far away.",0\nChip It\\ is small.,3\n', "utf-8")
    for name, message in (("original", "by number: 1 to 4"), ("short", "topics 0 to 3")):
        reading = read(Source(str(tmp_path / f"{name}.csv"), format="ag_news", label_kind="class"))
        assert [(e.text, e.label) for e in reading.examples] == [
            ("War, again Far away.", "World"),
            ("Chip It\\ is small.", "Sci/Tech"),
        ]
        assert message in reading.findings[0].message
    texts = read(Source(str(tmp_path / "short.csv"), format="ag_news"))
    assert [example.label for example in texts.examples] == [None, None]


def test_a_file_in_another_encoding_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "news.csv").write_text('"1","战争","远方"\n', "gb18030")
    with pytest.raises(DataError, match="not utf-8 text"):
        read(Source(str(tmp_path / "news.csv"), format="ag_news", label_kind="class"))
