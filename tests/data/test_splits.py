"""Splits: every example once, labels in proportion, groups and equal texts together, and the same for the same seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Label, Span
from tunesmith.data.splits import fingerprint, split, spread
from tunesmith.errors import DataError
from tunesmith.scoring.answers import number_of, spans_of

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def examples(labels: Sequence[Label]) -> list[Example]:
    return [Example(str(n), f"text number {n}", label) for n, label in enumerate(labels)]


def test_every_example_is_in_exactly_one_part_in_order() -> None:
    made = examples([f"class {n % 3}" for n in range(100)])
    parts = split(made, SHARES, seed=1)
    ids = [int(example.id) for part in parts.values() for example in part]
    assert sorted(ids) == list(range(100))
    assert all([int(e.id) for e in part] == sorted(int(e.id) for e in part) for part in parts.values())


def test_each_class_has_its_share_in_each_part() -> None:
    parts = split(examples(["common"] * 800 + ["rare"] * 20), SHARES, seed=1)
    assert {name: dict(Counter(str(e.label) for e in part)) for name, part in parts.items()} == {
        "train": {"common": 640, "rare": 16},
        "validation": {"common": 80, "rare": 2},
        "test": {"common": 80, "rare": 2},
    }


@pytest.mark.parametrize(("count", "size"), [(0, 4), (3, 4), (7, 4), (511, 256), (100, 16)])
def test_examples_are_spread_over_all(count: int, size: int) -> None:
    places = [int(example.id) for example in spread(examples(["class"] * count), size)]
    assert len(places) == min(count, size)
    assert all(0 < after - before <= max(1, -(-count // size)) for before, after in pairwise([*places, count]))


def test_a_class_of_one_goes_to_training() -> None:
    parts = split(examples(["common"] * 50 + ["single"]), SHARES, seed=4)
    assert "single" in {example.label for example in parts["train"]}


def test_sets_of_labels_have_their_share_of_each_label() -> None:
    labels: list[Label] = [("a",), ("a", "b"), ("b", "c"), ()] * 100
    parts = split(examples(labels), SHARES, seed=2)
    for label, total in (("a", 200), ("b", 200), ("c", 100)):
        for name, share in SHARES.items():
            count = sum(label in example.label for example in parts[name])  # type: ignore[operator]
            assert count == pytest.approx(total * share, abs=3)


def test_entity_types_have_their_share() -> None:
    labels: list[Label] = [(Span(0, 4, "PER"),), (Span(0, 4, "LOC"), Span(5, 8, "PER")), ()] * 60
    parts = split(examples(labels), SHARES, seed=2)
    assert sum(any(span.label == "LOC" for span in spans_of(e)) for e in parts["test"]) == 6


def test_numbers_are_spread_alike() -> None:
    parts = split(examples([float(n) for n in range(1000)]), SHARES, seed=3)
    mean = sum(number_of(e) for e in parts["test"]) / len(parts["test"])
    assert mean == pytest.approx(499.5, abs=25)


def test_few_numbers_are_held_out_too() -> None:
    parts = split(examples([float(n) for n in range(30)]), SHARES, seed=3)
    assert {name: len(part) for name, part in parts.items()} == {"train": 24, "validation": 3, "test": 3}


def test_groups_are_said_to_stay_whole_though_the_first_example_has_none(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": "xy"[n % 2], "who": n // 4 or None} for n in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    loaded = Data(train=str(tmp_path / "a.jsonl"), group="who").load("class", seed=1)
    assert "whole groups" in loaded.findings[-1].message


def test_groups_and_equal_texts_are_not_parted() -> None:
    made = [Example(str(n), f"text {n}", "ab"[n % 2], group=f"customer {n // 5}") for n in range(100)]
    made += [Example(f"x{n}", f"Same  TEXT {n % 20}" if n % 2 else f"same text {n % 20 + 1}", "a") for n in range(40)]
    parts = split(made, SHARES, seed=5)
    where: dict[str, set[str]] = {}
    for name, part in parts.items():
        for example in part:
            where.setdefault(example.group or " ".join(example.text.lower().split()), set()).add(name)
    assert all(len(names) == 1 for names in where.values())
    assert {name for names in where.values() for name in names} == set(SHARES)


def test_the_seed_decides() -> None:
    made = examples([f"class {n % 3}" for n in range(100)])
    prints = [fingerprint(split(made, SHARES, seed=seed)["test"]) for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


def test_a_fingerprint_notices_texts_labels_and_order() -> None:
    one = [Example("1", "a", "x"), Example("2", "b", "y")]
    others = [one[::-1], [one[0]], [Example("1", "a", "y"), one[1]], [Example("1", "A", "x"), one[1]]]
    assert fingerprint(one) == fingerprint([Example("other id", "a", "x"), one[1]])
    assert all(fingerprint(one) != fingerprint(other) for other in others)


def test_so_many_of_each_class_are_drawn_by_the_seed_and_those_with_fewer_are_said(tmp_path: Path) -> None:
    rows = [{"text": f"text number {n}", "label": "common" if n % 3 else "other"} for n in range(90)]
    rows += [{"text": f"rare text {n}", "label": "rare"} for n in range(3)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = Data(train=str(tmp_path / "train.jsonl"), per_class=8, validation="none", test_share=0.2)
    loaded, again, other = (data.load("class", seed) for seed in (1, 1, 2))
    counts = Counter(str(example.label) for example in loaded.splits.train)
    rare = counts.pop("rare")
    assert counts == {"common": 8, "other": 8}
    assert 0 < rare <= 3
    assert list(loaded.splits.train) == list(again.splits.train) != list(other.splits.train)
    assert (len(loaded.splits.validation), len(loaded.splits.test)) == (0, 19)
    assert not {e.id for e in loaded.splits.train} & {e.id for e in loaded.splits.test}
    findings = {finding.code: finding for finding in loaded.findings}
    assert findings["limited"].count == 16 + rare
    assert findings["classes_with_fewer"].examples == (f"rare: {rare}",)


def test_a_split_that_shall_not_be_is_neither_read_nor_held_out(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}) for n in range(20))
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")
    splits = Data(train=str(tmp_path / "t.jsonl"), validation="none", test="none").load("class", 1).splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 0, 0]


def test_groups_that_cannot_be_split_apart_are_named_where_nothing_is_left_to_hold_out(tmp_path: Path) -> None:
    rows = "".join(f"text {number},good,{'one' if number % 2 else 'two'}\n" for number in range(40))
    (tmp_path / "train.csv").write_text(f"text,label,document\n{rows}", encoding="utf-8")
    with pytest.raises(DataError, match=r"in 2 groups .* never split apart") as error:
        Data(train=str(tmp_path / "train.csv"), group="document").load("class", seed=1)
    assert "data.validation_share: 0" in error.value.to_do
