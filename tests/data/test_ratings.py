"""Ratings as histories: each user's last item is asked in test, the one before in validation, earlier ones in train."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.errors import DataError

Rating = tuple[str, str, int]


def write_items(folder: Path, count: int = 40) -> str:
    (folder / "items.csv").write_text("id,title\n" + "".join(f"{n},film {n}\n" for n in range(count)), encoding="utf-8")
    return str(folder / "items.csv")


def drawn_ratings(users: int = 30, items: int = 40) -> list[Rating]:
    """What users took, with equal times and repeated items, in no order."""
    draw = random.Random(1)
    return [
        (f"u{user}", str(draw.randrange(items)), draw.randrange(1000, 1040))
        for _ in range(12)
        for user in range(users)
        if draw.random() < user / users
    ]


def parts_of(folder: Path, content: str, **settings: object) -> tuple[dict[str, list[Example]], dict[str, int]]:
    """The examples of each part, and what was counted while reading train."""
    (folder / "r.csv").write_text(content, encoding="utf-8")
    items = write_items(folder)
    readings = {
        part: read(Source(f"{folder / 'r.csv'}!{part}", "ratings", label_kind="item", items=items, **settings))  # type: ignore[arg-type]
        for part in ("train", "validation", "test")
    }
    parts = {part: list(reading.examples) for part, reading in readings.items()}
    return parts, {finding.code: finding.count for finding in readings["train"].findings}


def written(ratings: list[Rating]) -> str:
    return "user,item,rating,time\n" + "".join(f"{user},{item},3,{time}\n" for user, item, time in ratings)


def test_each_part_asks_for_the_item_that_follows_and_sees_nothing_later(tmp_path: Path) -> None:
    ratings = drawn_ratings()
    parts, counts = parts_of(tmp_path, written(ratings))
    expected, short, again = {}, 0, 0
    for user in dict.fromkeys(user for user, _, _ in ratings):
        own = sorted((time, place, item) for place, (who, item, time) in enumerate(ratings) if who == user)
        sequence = list(dict.fromkeys(item for _, _, item in own))
        again += len(own) - len(sequence)
        if len(sequence) < 4:
            short += 1
        else:
            expected[user] = sequence
    assert short
    assert again
    assert (counts["short_histories"], counts["repeated_items"]) == (short, again)
    for part, left in (("train", 2), ("validation", 1), ("test", 0)):
        found = {example.id: [*example.history, example.label] for example in parts[part]}
        assert found == {user: sequence[: len(sequence) - left] for user, sequence in expected.items()}


def test_a_target_is_cold_where_no_training_history_has_it(tmp_path: Path) -> None:
    rows = [("a", "1", 1), ("a", "2", 2), ("a", "3", 3), ("a", "4", 4)]
    rows += [("b", "2", 1), ("b", "1", 2), ("b", "9", 3), ("b", "3", 4), ("c", "9", 1), ("c", "4", 2)]
    parts, _ = parts_of(tmp_path, written([*rows, ("c", "1", 3), ("c", "2", 4)]))
    assert {e.id: e.attributes["target"] for e in parts["validation"]} == {"a": "cold", "b": "warm", "c": "warm"}
    assert {e.id: e.attributes["target"] for e in parts["test"]} == {"a": "warm", "b": "cold", "c": "warm"}
    assert not any(example.attributes for example in parts["train"])


SAME = [("u", str(item), 900 + item) for item in (3, 1, 4, 5)]


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("".join(f"{u}\t{i}\t5\t{t}\n" for u, i, t in SAME), {}),
        ("".join(f"{u}::{i}::5::{t}\n" for u, i, t in SAME), {}),
        ("".join(f"{u},{i},{t}\n" for u, i, t in SAME), {}),
        ("".join(f"{u} {i} {t}\n" for u, i, t in SAME), {"separator": " "}),
        ("Timestamp,movieId,userId\n" + "".join(f"{t}.0,{i},{u}\n\n" for u, i, t in SAME), {}),
        ("".join(f"{t};{i};{u}\n" for u, i, t in SAME), {"header": ("time", "item", "user")}),
        ("time;item;user\n" + "".join(f"{t};{i};{u}\n" for u, i, t in SAME), {"header": ("time", "item", "user")}),
    ],
)
def test_the_usual_forms_are_read_alike(content: str, settings: dict, tmp_path: Path) -> None:
    parts, _ = parts_of(tmp_path, content, **settings)
    (example,) = parts["test"]
    assert (example.id, example.history, example.label) == ("u", ("1", "3", "4"), "5")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user,item,time\nu,1,900\nu,2\n", "The line has 2 fields"),
        ("user,item,time\nu,,900\n", "no user or no item"),
        ("user,item,time\nu,1,2020-01-01\n", "is not a number"),
        ("user,item,time\nu,1,nan\n", "is not a number"),
        ("user,item,rating\nu,1,5\n", "No column is named time"),
        ("u 1 900\n", "Line 1 is one field"),
        ("u,1,2,3,4,900\n", "Line 1 has 6 fields"),
        ("user,item,time\nu,1,900\n", "No user has at least 4 items"),
    ],
)
def test_a_file_that_holds_no_ratings_says_why(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        parts_of(tmp_path, content)


def test_ratings_of_unknown_items_are_an_error_with_a_count(tmp_path: Path) -> None:
    parts, counts = parts_of(tmp_path, written([*SAME, ("u", "99", 1), ("u", "98", 2)]))
    assert counts["unknown_items"] == 2
    assert parts["test"][0].history == ("1", "3", "4")


def test_three_columns_without_names_that_hold_no_times_are_an_error(tmp_path: Path) -> None:
    content = "".join(f"u,{item},{grade}\n" for item, grade in ((3, 5), (1, 2), (4, 4), (5, 3)))
    assert parts_of(tmp_path, content)[1]["times_like_ratings"] == 1
    assert "times_like_ratings" not in parts_of(tmp_path, content, header=("user", "item", "time"))[1]


@pytest.mark.parametrize(("part", "said"), [("tset", "Did you mean 'test'"), ("", "is not said")])
def test_the_part_must_be_named(part: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(written(SAME), encoding="utf-8")
    path = f"{tmp_path / 'r.csv'}!{part}" if part else str(tmp_path / "r.csv")
    with pytest.raises(DataError, match=said):
        read(Source(path, "ratings", label_kind="item", items=write_items(tmp_path)))


@pytest.mark.real_data
def test_movielens_has_its_users_and_items() -> None:
    splits = Data(name="ml-100k").load("item", 1, ("history",)).splits
    assert [len(examples) for examples in splits.named().values()] == [943, 943, 943]
    assert len(splits.items) == 1682
    for one, other in (("train", "validation"), ("validation", "test")):
        for earlier, later in zip(splits.named()[one], splits.named()[other], strict=True):
            assert later.history == (*earlier.history, earlier.label)
            assert later.label not in later.history
