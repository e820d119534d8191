"""Odd tables: a row that another swallows is shouted about, and what is not text is never made into text."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.records import Finding
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError, RecipeError


def write(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content, encoding="utf-8", newline="")
    return str(folder / name)


def findings(path: str, **settings: object) -> dict[str, Finding]:
    reading = read(Source(path, label_kind="class", **settings))  # type: ignore[arg-type]
    return {finding.code: finding for finding in reading.findings}


def parquet(folder: Path, **columns: object) -> str:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return str(folder / "a.parquet")


def test_a_quoted_field_whose_lines_look_like_rows_is_warned_of(tmp_path: Path) -> None:
    found = findings(write(tmp_path, "a.csv", 'text,label\n"oh no,x\nmiddle,y\nthe end",x\nlast,y\n'))
    assert found["rows_in_a_field"].severity == "warning"
    assert found["rows_in_a_field"].examples == ("lines 2 to 4",)
    assert "rows_in_a_field" not in findings(write(tmp_path, "b.csv", 'text,label\n"dear\ncustomer",x\n'))
    (text,) = read(Source(write(tmp_path, "c.csv", 'text\n"dear\ncustomer"\n'))).examples
    assert text.text == "dear\ncustomer"


@pytest.mark.parametrize("mark", ['"', "\n", "\r", "||"])
def test_a_separator_that_can_part_no_columns_is_refused(mark: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be one character"):
        findings(write(tmp_path, "a.csv", "text,label\na,x\n"), separator=mark)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_nested_beyond_reason_is_an_error_of_the_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not valid JSON"):
        findings(write(tmp_path, name, "[" * 100_000))


def test_a_header_for_rows_with_names_of_their_own_is_said_to_be_unused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({"text": "a", "label": "x"}) + "\n" + json.dumps(["b", "y"]))
    assert findings(path, header=("text", "label"))["header_unused"].count == 1


def test_names_that_come_twice_in_the_header_are_refused() -> None:
    with pytest.raises(RecipeError, match="'text' twice"):
        Data(train="a.csv", header=("text", "text"))


def test_columns_may_begin_after_the_first_row(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "x", "id": "7", "who": "Anna", "src": "web"}]
    path = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = read(Source(path, label_kind="class", group="who", keep=("src",))).examples
    assert (first.group, first.attributes) == ("", {"src": ""})
    assert (second.id, second.group, second.attributes) == ("7", "Anna", {"src": "web"})


def test_keys_behind_a_file_that_has_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no keys"):
        findings(write(tmp_path, "a.csv", "text,label\na,x\n") + "!train")


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    arrays = [pyarrow.array(["a"]), pyarrow.array(["b"]), pyarrow.array(["x"])]
    table = pyarrow.Table.from_arrays(arrays, names=["text", "text", "label"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="Two columns are named 'text'"):
        findings(str(tmp_path / "a.parquet"))


def test_bytes_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'text' holds bytes, not a text"):
        findings(parquet(tmp_path, text=[b"abc"], label=["x"]))


def test_a_parquet_column_that_nobody_asked_for_is_not_read(tmp_path: Path) -> None:
    odd = pyarrow.array([1_577_836_800_000_000_001], pyarrow.timestamp("ns"))
    assert findings(parquet(tmp_path, text=["a"], label=["x"], time=odd))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        findings(parquet(tmp_path, text=["a"], label=["x"], time=odd), keep=("time",))


def test_parquet_columns_of_every_kind_are_kept_as_text(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        text=pyarrow.array(["a"]).dictionary_encode(),
        label=pyarrow.array(["x"]).dictionary_encode(),
        time=[datetime(2020, 1, 2)],  # noqa: DTZ001 - as files hold them
        nested=[{"b": 1}],
        id=[5],
    )
    (example,) = read(Source(path, label_kind="class", keep=("time", "nested"))).examples
    assert (example.id, example.text, example.label) == ("5", "a", "x")
    assert example.attributes == {"time": "2020-01-02 00:00:00", "nested": "{'b': 1}"}


def test_parquet_text_that_is_no_unicode_is_an_error_of_the_file(tmp_path: Path) -> None:
    spoiled = pyarrow.StringArray.from_buffers(
        1, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")
    )
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        findings(parquet(tmp_path, text=spoiled, label=["x"]))


def test_a_parquet_file_in_an_archive_must_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="archive") as error:
        findings(write(tmp_path, "a.parquet.gz", "anything"))
    assert "Unpack" in error.value.to_do
