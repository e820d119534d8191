"""Reading files: every form gives the same examples, and what is wrong is said with its row."""

from __future__ import annotations

import gzip
import json
import lzma
import sys
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pyarrow
import pyarrow.parquet
import pytest

from tunesmith.data.hub import read_hub
from tunesmith.data.records import Example, Span
from tunesmith.data.source import Source
from tunesmith.data.sources import iterate, read, usable
from tunesmith.data.stored import StoredExamples, keep
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, LabelError, ResourceError

ROWS = [("good film", "good"), ("差评，不好看", "bad"), ('he said "no", twice', "bad")]


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def csv_text(separator: str = ",") -> str:
    quoted = [f'"{text.replace(chr(34), chr(34) * 2)}"{separator}{label}' for text, label in ROWS]
    return "\n".join([f"text{separator}label", *quoted]) + "\n"


def forms(folder: Path) -> dict[str, str]:
    """The same three rows in every form, as paths."""
    objects = [{"text": text, "label": label} for text, label in ROWS]
    jsonl = "\n".join(json.dumps(row, ensure_ascii=False) for row in objects)
    paths = {
        "csv": write(folder, "a.csv", csv_text()),
        "tsv": write(folder, "a.tsv", csv_text("\t")),
        "semicolons": write(folder, "b.csv", csv_text(";")),
        "crlf": write(folder, "c.csv", csv_text().replace("\n", "\r\n")),
        "bom": write(folder, "d.csv", b"\xef\xbb\xbf" + csv_text().encode()),
        "empty lines": write(folder, "e.csv", csv_text().replace("good\n", "good\n\n\n")),
        "jsonl": write(folder, "a.jsonl", jsonl),
        "jsonl in .json": write(folder, "lines.json", jsonl),
        "json": write(folder, "a.json", json.dumps(objects)),
        "json, two keys": write(folder, "k.json", json.dumps({"a": objects[:2], "b": objects[2:]})) + "!a+b",
        "lines": write(folder, "a.txt", "".join(f"{text}\t{label}\n" for text, label in ROWS)),
        "fasttext": write(folder, "f.txt", "".join(f"__label__{label} {text}\n" for text, label in ROWS)),
        "xz": write(folder, "x.csv.xz", lzma.compress(csv_text().encode())),
        "gz": write(folder, "x.jsonl.gz", gzip.compress(jsonl.encode())),
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), folder / "a.parquet")
    with zipfile.ZipFile(folder / "one.zip", "w") as archive:
        archive.writestr("inner.csv", csv_text())
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        archive.writestr("readme.txt", "no")
        archive.writestr("in/b.jsonl", jsonl)
    return paths | {
        "parquet": str(folder / "a.parquet"),
        "zip": str(folder / "one.zip"),
        "zip member": f"{folder / 'two.zip'}!in/b.jsonl",
    }


FORMS = [
    "csv", "tsv", "semicolons", "crlf", "bom", "empty lines", "jsonl", "jsonl in .json", "json", "json, two keys",
    "lines", "fasttext", "xz", "gz", "parquet", "zip", "zip member",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_examples(form: str, tmp_path: Path) -> None:
    reading = read(Source(forms(tmp_path)[form], label_kind="class"))
    assert [(example.text, example.label) for example in reading.examples] == ROWS
    assert len({example.id for example in reading.examples}) == 3


def test_gb18030_is_read_when_it_is_named_and_suggested_when_it_is_not(tmp_path: Path) -> None:
    path = write(tmp_path, "g.csv", csv_text().encode("gb18030"))
    assert read(Source(path, encoding="gb18030", label_kind="class")).examples[1].text == ROWS[1][0]
    with pytest.raises(DataError, match=r"Line 3 is not utf-8") as error:
        read(Source(path, label_kind="class"))
    assert "gb18030" in error.value.to_do
    assert error.value.where.endswith(":3")


def test_utf16_is_read_when_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "u.csv", csv_text().encode("utf-16"))
    assert read(Source(path, encoding="utf-16", label_kind="class")).examples[1].text == ROWS[1][0]
    with pytest.raises(DataError, match="UTF-16"):
        read(Source(path, label_kind="class"))


def test_columns_are_announced_and_never_taken_by_position(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "intent,number,Query\nbuy,1,a watch\n")
    reading = read(Source(path, label_kind="class"))
    assert (reading.examples[0].text, reading.examples[0].label) == ("a watch", "buy")
    assert "text from 'Query', label from 'intent'" in reading.findings[0].message
    strange = write(tmp_path, "b.csv", "alpha,beta\nbuy,a watch\n")
    with pytest.raises(DataError, match="No column is named") as error:
        read(Source(strange, label_kind="class"))
    assert "alpha, beta" in error.value.to_do
    named = read(Source(strange, text="beta", label="alpha", label_kind="class")).examples[0]
    assert (named.text, named.label) == ("a watch", "buy")


def test_a_header_can_be_given_for_files_without_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", '3,"Title, one",body\n4,Two,more\n')
    reading = read(Source(path, header=("kind", "title", "body"), text="title", label="kind", label_kind="class"))
    assert [(e.text, e.label) for e in reading.examples] == [("Title, one", "3"), ("Two", "4")]


def test_blanks_around_labels_are_taken_off_and_counted(tmp_path: Path) -> None:
    reading = read(Source(write(tmp_path, "a.csv", "text,label\na, good\nb,good\n"), label_kind="class"))
    assert [example.label for example in reading.examples] == ["good", "good"]
    assert [(f.code, f.count) for f in reading.findings if f.severity == "warning"] == [("label_blanks", 1)]


def test_rows_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    reading = read(Source(write(tmp_path, "a.csv", "text,label\n  ,good\nb,good\n,bad\n"), label_kind="class"))
    assert [example.text for example in reading.examples] == ["b"]
    (finding,) = [finding for finding in reading.findings if finding.code == "empty_texts"]
    assert (finding.count, finding.examples) == (2, ("line 2", "line 4"))


def test_ids_that_come_again_are_told_apart_and_counted(tmp_path: Path) -> None:
    reading = read(Source(write(tmp_path, "a.csv", "id,text,label\n7,a,x\n7,b,x\n8,c,x\n"), label_kind="class"))
    assert [example.id for example in reading.examples] == ["7", "7#3", "8"]
    assert [f.count for f in reading.findings if f.code == "duplicate_ids"] == [1]


@pytest.mark.parametrize("value", ["", "NaN", " "])
def test_missing_labels_are_refused_with_their_rows(value: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", f"text,label\na,x\nb,{value}\nc,x\nd,{value}\n")
    with pytest.raises(DataError, match=r"2 rows have no label .*rows 3, 5"):
        read(Source(path, label_kind="class"))


def test_a_label_called_none_is_a_label(tmp_path: Path) -> None:
    assert (
        read(Source(write(tmp_path, "a.csv", "text,label\na,none\n"), label_kind="class")).examples[0].label == "none"
    )


def test_ragged_rows_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Line 3 has 3 fields; there are 2 columns"):
        read(Source(write(tmp_path, "a.csv", "text,label\na,x\nb,c,x\n"), label_kind="class"))


def test_numbers_and_sets_of_classes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,score,labels\na,0.5,x|y\nb,-1e3,\n")
    assert [e.label for e in read(Source(path, label_kind="number")).examples] == [0.5, -1000.0]
    assert [e.label for e in read(Source(path, label="labels", label_kind="classes")).examples] == [("x", "y"), ()]
    with pytest.raises(LabelError, match="not a number"):
        read(Source(path, label="labels", label_kind="number"))


def test_further_columns_are_kept_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label,shop,who\na,x,Leeds,7\n")
    (example,) = read(Source(path, keep=("shop",), group="who", label_kind="class")).examples
    assert (dict(example.attributes), example.group) == ({"shop": "Leeds"}, "7")


SPANS_WRITTEN = [
    {"text": "张三在北京", "spans": [{"start": 0, "end": 2, "label": "PER"}, {"start": 3, "end": 5, "label": "LOC"}]},
    {"text": "张三在北京", "label": [[0, 2, "PER"], [3, 5, "LOC"]]},
    {
        "text": "张三在北京",
        "entities": [
            {"start_offset": 3, "end_offset": 5, "type": "LOC"},
            {"start_offset": 0, "end_offset": 2, "type": "PER"},
        ],
    },
    {"text": "张三在北京", "label": {"PER": {"张三": [[0, 1]]}, "LOC": {"北京": [[3, 4]]}}},
    {"tokens": ["张", "三", "在", "北", "京"], "ner_tags": ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]},
]


@pytest.mark.parametrize("row", SPANS_WRITTEN, ids=["objects", "triples", "offsets", "cluener", "tags"])
def test_spans_are_read_in_every_usual_form(row: dict[str, object], tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps(row, ensure_ascii=False))
    (example,) = read(Source(path, label_kind="spans")).examples
    assert example.text == "张三在北京"
    assert example.label == (Span(0, 2, "PER"), Span(3, 5, "LOC"))


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([{"start": 0, "end": 9, "label": "X"}], "does not lie in the text"),
        ([{"start": 2, "end": 2, "label": "X"}], "does not lie in the text"),
        ([{"start": 0, "end": 2, "label": "X", "text": "abc"}], "The last character seems to be included"),
        ([{"start": 0, "label": "X"}], "A span has no 'end'"),
        ([["a", 2, "X"]], "whole numbers"),
        ("0-2 X", "not a list of spans"),
        ({"X": {"abc": [[0, "b"]]}}, "not two whole numbers"),
        ({"X": {"abc": [[0]]}}, "not two whole numbers"),
        ({"X": {"abc": 3}}, "not two whole numbers"),
    ],
)
def test_wrong_spans_are_refused_with_their_row(spans: object, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "fine", "spans": []}\n' + json.dumps({"text": "abcd", "spans": spans}))
    with pytest.raises(LabelError, match=said) as error:
        read(Source(path, label_kind="spans"))
    assert error.value.where.endswith(":2")


def test_iterating_needs_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "first\n\nsecond\n")
    assert [example.text for example in iterate(Source(path), Tally())] == ["first", "second"]


def test_stored_examples_come_back_as_they_were() -> None:
    examples = [
        Example("1", "text", "label", None, "group", "file:1", {"a": "b"}),
        Example("2", "Anna 北京", (Span(0, 4, "PER"),), ((0, 4), (5, 7))),
        Example("3", "n", 0.1),
        Example("4", "s", ("a", "b")),
        Example("5", "none", ()),
    ]
    stored = keep(examples, in_memory=2)
    assert isinstance(stored, StoredExamples)
    assert list(stored) == examples
    assert stored[-1] == examples[-1]
    assert list(stored[1:4:2]) == examples[1:4:2]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (5_000, 20_000):
        path = tmp_path / f"{rows}.csv"
        path.write_text("text,label\n" + "".join(f"row {n} {'word ' * 40},x\n" for n in range(rows)), encoding="utf-8")
        tracemalloc.start()
        examples = keep(iterate(Source(str(path), label_kind="class"), Tally()), in_memory=1_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(examples) == rows
    # Eight bytes per row remain: where it begins.
    assert peaks[1] - peaks[0] < 15_000 * 40


@pytest.mark.slow
def test_a_million_rows_are_read_with_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "million.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(f"row {n} {'some words ' * 8},{'yes' if n % 3 else 'no'}\n" for n in range(1_000_000))
    tracemalloc.start()
    examples = read(Source(str(path), label_kind="class")).examples
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(examples) == 1_000_000
    assert examples[999_999].text.startswith("row 999999 ")
    # The first hundred thousand are held for a moment; a tenth of the file.
    assert peak < 120e6 < path.stat().st_size * 1.5


def found(path: str, **settings: object) -> tuple[list[tuple[str, object]], dict[str, tuple[int, str]]]:
    """Texts and labels of a file, and the count and first example of each finding."""
    reading = read(Source(path, label_kind="class", **settings))  # type: ignore[arg-type]
    findings = {finding.code: (finding.count, "".join(finding.examples[:1])) for finding in reading.findings}
    return [(example.text, example.label) for example in reading.examples], findings


def test_quotes_that_do_not_close_swallow_no_row_of_a_tsv_file(tmp_path: Path) -> None:
    rows = ['"oh no', "fine", 'he said "no"', 'closed "here"', '"whole"', '"a" and "b"', '"last']
    path = write(tmp_path, "a.tsv", "text\tlabel\n" + "".join(f"{text}\tx\n" for text in rows))
    read_rows, findings = found(path)
    assert [text for text, _ in read_rows] == [row if row != '"whole"' else "whole" for row in rows]
    assert findings["stray_quotes"][0] >= 3


def test_a_quote_that_closes_in_a_later_field_of_a_tsv_file_is_part_of_the_text(tmp_path: Path) -> None:
    line = 'he said no\t"the first\tand the last"\tx\n'
    path = write(tmp_path, "a.tsv", "text\tsecond\tmore\tlabel\n" + line)
    read_rows, findings = found(path, text="second")
    assert read_rows == [('"the first', "x")]
    assert findings["stray_quotes"][0] == 1
    path = write(tmp_path, "b.tsv", 'text\tlabel\n"one\tfield"\tx\n')
    assert found(path)[0] == [("one\tfield", "x")]


def test_where_fields_are_not_quoted_a_quote_is_text(tmp_path: Path) -> None:
    texts = ['"whole"', '"oh no', 'he said ""no""', '"a" and "b"', "“好”", '"last']
    for name, mark in (("a.tsv", "\t"), ("a.csv", ",")):
        path = write(tmp_path, name, f"text{mark}label\n" + "".join(f"{text}{mark}x\n" for text in texts))
        read_rows, findings = found(path, quoted=False)
        assert [text for text, _ in read_rows] == texts
        assert "stray_quotes" not in findings
    with pytest.raises(DataError, match="'quoted' has no meaning for a file of format jsonl"):
        found(write(tmp_path, "a.jsonl", '{"text": "a", "label": "x"}\n'), quoted=False)


def test_a_quoted_field_over_several_lines_is_one_field_and_counted(tmp_path: Path) -> None:
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        path = write(tmp_path, name, f'text{mark}label\nbefore{mark}x\n"dear\ncustomer"{mark}y\nafter{mark}x\n')
        read_rows, findings = found(path)
        assert read_rows == [("before", "x"), ("dear\ncustomer", "y"), ("after", "x")]
        assert findings["fields_over_lines"] == (1, "lines 3 to 4")


def test_halves_of_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    line = '{"text": "smile \\ud83d and \\ud83d\\ude00", "label": "x"}'
    for name, content in (("a.jsonl", line), ("a.json", f"[{line}]")):
        read_rows, findings = found(write(tmp_path, name, content))
        assert read_rows == [("smile \ufffd and \U0001f600", "x")]
        assert findings["halved_characters"][0] == 1


def test_null_and_missing_values_of_other_columns_are_empty(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": "x", "who": "Anna", "src": "web"}', '{"text": "b", "label": "x", "who": null}']
    path = write(tmp_path, "a.jsonl", "\n".join([*lines, '{"text": "c", "label": "x", "id": null}']))
    examples = read(Source(path, group="who", keep=("src",), label_kind="class")).examples
    assert [example.group for example in examples] == ["Anna", "", ""]
    assert [example.attributes["src"] for example in examples] == ["web", "", ""]


@pytest.mark.parametrize("setting", [{"text": "t"}, {"keep": ("a",)}, {"group": "g"}, {"header": ("a", "b")}])
@pytest.mark.parametrize(("name", "content"), [("a.conll", "Anna B-PER\nmet O\n"), ("a.txt", "Anna met\tx\n")])
def test_a_setting_that_the_format_has_no_use_for_is_refused(
    name: str, content: str, setting: dict[str, object], tmp_path: Path
) -> None:
    source = Source(write(tmp_path, name, content), label_kind="spans" if name == "a.conll" else "class", **setting)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no meaning for a file of format"):
        read(source)
    assert len(read(usable(source)).examples) == 1


@pytest.mark.parametrize("value", [["a", "b"], {"a": 1}])
def test_a_text_that_is_none_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a text"):
        found(write(tmp_path, "a.jsonl", json.dumps({"text": value, "label": "x"})))


def test_a_nan_is_no_text(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["a", None], "label": ["x", "y"], "id": [1.0, float("nan")]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    reading = read(Source(str(tmp_path / "a.parquet"), label_kind="class"))
    assert [example.text for example in reading.examples] == ["a"]
    assert any(finding.code == "empty_texts" for finding in reading.findings)


def test_hidden_labels_of_the_hub_are_missing_not_the_last_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Names:
        names = ("bad", "good")

    class Rows(list[dict[str, object]]):
        features: ClassVar[dict[str, object]] = {"text": object(), "label": Names()}

    rows = Rows([{"text": "a", "label": 1}, {"text": "b", "label": -1}])
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_names, split: rows))
    assert [row["label"] for _, row in read_hub("hub:x/y!train")] == ["good", None]


def test_a_full_disk_for_stored_examples_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(ResourceError, match="No space left"):
        keep((Example(str(number), "a") for number in range(5)), in_memory=3)
