"""Rows with histories: what is read of them, and that no user is on both sides of a split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tunesmith.data.checks import check
from tunesmith.data.dataset import Data
from tunesmith.data.encoding_checks import check_histories
from tunesmith.data.records import Example, Splits
from tunesmith.data.source import Source
from tunesmith.data.sources import Reading, read
from tunesmith.errors import DataError, LabelError


def rows(folder: Path, *values: Mapping[str, object], **settings: object) -> Reading:
    (folder / "h.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return read(Source(str(folder / "h.jsonl"), inputs=("history",), **{"label_kind": "item", **settings}))  # type: ignore[arg-type]


def counts(reading: Reading) -> dict[str, int]:
    return {finding.code: finding.count for finding in reading.findings}


@pytest.mark.parametrize("history", [["1", "2"], [1, 2], [1.0, " 2 "], "1|2", " 1 | 2 |"])
def test_a_history_is_a_list_or_a_text_of_ids(history: object, tmp_path: Path) -> None:
    (example,) = rows(tmp_path, {"history": history, "label": 3}).examples
    assert (example.history, example.label) == (("1", "2"), "3")


def test_the_separator_of_ids_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("items,next\n7 8,9\n", encoding="utf-8")
    source = Source(str(tmp_path / "h.csv"), label_kind="item", inputs=("history",), label_separator=" ")
    (example,) = read(source).examples
    assert (example.history, example.label) == (("7", "8"), "9")


@pytest.mark.parametrize("history", [5, {"a": 1}, [["1"]], [None], [True], [""]])
def test_what_is_no_history_is_refused_with_its_row(history: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no list of item ids") as caught:
        rows(tmp_path, {"history": ["1"], "label": "2"}, {"history": history, "label": "2"})
    assert str(caught.value.where).endswith("h.jsonl:2")


def test_rows_without_history_and_labels_to_leave_out_are_counted(tmp_path: Path) -> None:
    given: list[dict[str, object]] = [
        {"history": ["1"], "label": "2"},
        {"history": [], "label": "2"},
        {"history": None, "label": "2"},
    ]
    reading = rows(tmp_path, *given, {"history": ["1"], "label": "-"}, leave_out=("-",))
    assert len(reading.examples) == 1
    assert (counts(reading)["empty_histories"], counts(reading)["left_out"]) == (2, 1)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    row = {"history": ["1"], "label": "2"}
    with pytest.raises(DataError, match="No column is named history"):
        rows(tmp_path, {"viewed": ["1"], "label": "2"})
    with pytest.raises(DataError, match="No column is named label"):
        rows(tmp_path, {"history": ["1"]})
    for setting in ("text", "label", "id", "group"):
        with pytest.raises(DataError, match="There is no column 'gone'"):
            rows(tmp_path, row, **{setting: "gone"})
    with pytest.raises(LabelError):
        rows(tmp_path, {"history": ["1"], "label": None})


def test_without_labels_only_histories_are_asked_for(tmp_path: Path) -> None:
    (example,) = rows(tmp_path, {"history": ["1"]}, label_kind="").examples
    assert (example.history, example.label) == (("1",), None)


def test_rows_of_one_user_are_told_apart_and_stay_together(tmp_path: Path) -> None:
    given = [
        {"user": user, "history": [f"{n}" for n in range(end)], "label": f"{end}", "day": end}
        for user in range(20)
        for end in (1, 2, 3)
    ]
    reading = rows(tmp_path, *given, keep=("day",))
    assert len({example.id for example in reading.examples}) == 60
    assert counts(reading)["duplicate_ids"] == 40
    assert reading.examples[2].attributes == {"day": "3"}
    (tmp_path / "items.csv").write_text("id,title\n" + "".join(f"{n},film\n" for n in range(9)), encoding="utf-8")
    data = Data(train=str(tmp_path / "h.jsonl"), items=str(tmp_path / "items.csv"))
    splits = data.load("item", 1, ("history",)).splits.named()
    users = {name: {example.group for example in examples} for name, examples in splits.items()}
    assert all(users.values())
    assert sum(len(found) for found in users.values()) == 20
    named = rows(tmp_path, {"user": "u", "shop": "s", "history": ["1"], "label": "2"}, group="shop")
    assert named.examples[0].group == "s"


def test_a_label_that_training_has_of_the_same_user_is_leakage() -> None:
    train = [
        Example("1", "a", "5", group="u", history=("1", "2", "3")),
        Example("2", "b", "6", group="v", history=("1",)),
    ]
    test = [
        Example("3", "c", "3", group="u", history=("1", "2")),
        Example("4", "d", "5", group="u", history=("7",)),
        Example("5", "e", "5", group="v", history=("7",)),
        Example("6", "f", "5", history=("8",)),
    ]
    found = {finding.code: finding.count for finding in check(Splits(train, (), test), label_kind="item")}
    assert found["leakage_of_users"] == 2
    assert "leakage_of_users" not in {finding.code for finding in check(Splits(train, (), test[2:]), label_kind="item")}


def test_what_is_not_read_of_histories_and_cannot_be_answered_is_counted() -> None:
    examples = [Example(str(n), "x", "9", history=("1", "2", "3")) for n in range(4)]
    examples.append(Example("again", "x", "2", history=("1", "2", "3")))
    found = {finding.code: finding for finding in check_histories(examples, [0, 2, 0, 1, 0], split="test")}
    assert found["cut_histories"].count == 3
    assert len(found["cut_histories"].examples) == 2
    assert found["repeated_targets"].count == 1
    assert {finding.code for finding in check_histories(examples[:1], [0], split="test")} == {"lengths"}
