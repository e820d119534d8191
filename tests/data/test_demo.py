"""The demo's data: what its card says is true, every span is clean, and no message is in two splits."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from tunesmith.data.dataset import Data

TYPES = ("DATE", "LOCATION", "MONEY", "ORGANIZATION", "PERSON", "PRODUCT")
SPLITS = ("train", "validation", "test")
FOLDER = files("tunesmith") / "demo"


def rows(split: str) -> list[dict[str, Any]]:
    text = (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_there_are_at_least_five_hundred_messages_and_every_type_in_each_split() -> None:
    assert sum(len(rows(split)) for split in SPLITS) >= 500
    for split in SPLITS:
        assert {span["label"] for row in rows(split) for span in row["spans"]} == set(TYPES)


@pytest.mark.parametrize("split", SPLITS)
def test_spans_are_clean_and_do_not_overlap(split: str) -> None:
    for row in rows(split):
        spans = sorted(row["spans"], key=lambda span: span["start"])
        for span in spans:
            marked = row["text"][span["start"] : span["end"]]
            assert marked
            assert marked == marked.strip()
            assert not marked.endswith(("'s", ",", "!", "?")) or marked == "Dunmore's"
        assert all(one["end"] <= other["start"] for one, other in itertools.pairwise(spans))


def test_no_message_and_no_id_occurs_twice() -> None:
    everything = [row for split in SPLITS for row in rows(split)]
    assert len({" ".join(row["text"].casefold().split()) for row in everything}) == len(everything)
    assert len({row["id"] for row in everything}) == len(everything)


def test_the_card_counts_as_the_files_do() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for split in SPLITS:
        line = re.search(rf"^\| {split} \| (.*) \|$", card, re.MULTILINE)
        assert line is not None
        counts = Counter(span["label"] for row in rows(split) for span in row["spans"])
        empty = sum(not row["spans"] for row in rows(split))
        assert [int(cell) for cell in line[1].split("|")] == [
            len(rows(split)),
            empty,
            *(counts[kind] for kind in TYPES),
        ]


def test_the_catalogue_reads_it_whole() -> None:
    splits = Data(name="support-finance").load("spans", seed=1).splits
    assert [len(part) for part in splits.named().values()] == [len(rows(split)) for split in SPLITS]
