"""Files of items: their forms, and what of them is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.data.items import described, read_items
from tunesmith.data.records import Example
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

FORMS = {
    "i.csv": "title,movie_id,genres\nToy Story,1,Animation|Comedy\nFace|Off,2,\n",
    "i.tsv": "item_id\ttitle\tgenres\n1\tToy Story\tAnimation|Comedy\n2\tFace|Off\t\n",
    "i.jsonl": '{"id": 1, "title": "Toy Story", "genres": ["Animation", "Comedy"]}\n{"id": 2.0, "title": "Face|Off"}\n',
    "i.json": json.dumps(
        [{"id": "1", "name": "Toy Story", "genre": "Animation, Comedy"}, {"id": 2, "name": "Face|Off"}]
    ),
    "movies.dat": "1::Toy Story::Animation|Comedy\n\n2::Face|Off::\n",
}


def items_of(folder: Path, name: str, content: str) -> tuple[dict[str, Example], dict[str, int]]:
    (folder / name).write_text(content, encoding="utf-8")
    tally = Tally()
    items = read_items(str(folder / name), "utf-8", tally)
    return items, {finding.code: finding.count for finding in tally.findings()}


@pytest.mark.parametrize("name", FORMS)
def test_an_item_reads_its_title_and_its_details(name: str, tmp_path: Path) -> None:
    items, _ = items_of(tmp_path, name, FORMS[name])
    assert {item: example.text for item, example in items.items()} == {
        "1": "Toy Story. Animation, Comedy",
        "2": "Face|Off",
    }
    assert [example.attributes["title"] for example in items.values()] == ["Toy Story", "Face|Off"]


def test_parquet_files_of_items_are_read(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"item_id": [1.0, 2.0], "title": ["Toy Story", "Heat"], "year": [1995, 1995]})
    parquet.write_table(table, tmp_path / "i.parquet")
    items = read_items(str(tmp_path / "i.parquet"), "utf-8", Tally())
    assert {item: example.text for item, example in items.items()} == {"1": "Toy Story", "2": "Heat"}


def test_genres_of_movielens_are_named_by_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "u.genre").write_text("unknown|0\nAction|1\nDrama|2\n", encoding="utf-8")
    items, _ = items_of(tmp_path, "u.item", "1|Heat (1995)|1995||http://x|0|1|1\n2|None|||http://y|1|0|0\n")
    assert [example.text for example in items.values()] == ["Heat (1995). Action, Drama", "None"]


def test_what_is_no_item_is_left_out_and_counted(tmp_path: Path) -> None:
    items, counts = items_of(tmp_path, "i.csv", "id,title\n1,first\n1,second\n,nameless\n3,\n3,late\n")
    assert {item: example.text for item, example in items.items()} == {"1": "first", "3": "late"}
    assert counts == {"item_columns": 1, "duplicate_items": 1, "items_without_id": 1, "items_without_text": 1}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("u.item", "1|Heat|1995||x|0|1\nbroken\n", "Line 2 has 1 fields between bars"),
        ("i.csv", "id,price\n1,2\n", "No column is named title"),
        ("i.csv", "title,price\nHeat,2\n", "No column is named item"),
        ("i.csv", "id,title\n1,\n", "There is no item in it"),
    ],
)
def test_a_file_that_holds_no_items_says_why(name: str, content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        items_of(tmp_path, name, content)


def test_a_history_is_described_by_its_newest_titles() -> None:
    items = {item: Example(item, f"{item}. more", attributes={"title": f"T{item}"}) for item in "1234"}
    assert described(("9", "1"), items) == "9 > T1"
    assert described(tuple("1234"), items) == "... > T2 > T3 > T4"
