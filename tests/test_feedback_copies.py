"""Rows that say the same of the same text: set aside together, and released together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.judged_feedback import Place, accept_more, asked, feedback_place, said


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path) -> Place:
    return feedback_place(tmp_path, tiny_model_folder)


def test_copies_of_what_is_set_aside_are_quarantined_with_it_and_do_not_come_back(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    flip = said("good", 99)
    ids = accept_more(place, *((f"c{n}", flip, "films", "attacker") for n in range(4)))
    assert place.export() == 0
    (row,) = [one for one in place.lines(".aside.jsonl") if one["text"] == flip]
    assert {row["id"], *row["copies"]} == set(ids)
    printed = capsys.readouterr().out
    assert "3 that say the same of the same texts are quarantined with them" in printed
    assert "say what another row says" not in printed, "none of them is written"
    place = replace(place, out=place.out.with_name("later.jsonl"))
    assert place.export("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["doubted"], told["copies_aside"]) == ([], 0)
    assert not set(ids) & {one["id"] for one in place.lines()}


@pytest.mark.parametrize("model", ["films", "another"])
def test_a_later_copy_of_what_a_person_released_does_not_take_it_out_again(
    model: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    flip = said("good", 99)
    (first,) = accept_more(place, ("c1", flip, "films", "attacker"))
    assert place.export() == 0
    assert first in {one["id"] for one in place.lines(".aside.jsonl")}
    assert asked("review", first, "--to", "accepted", "--state", place.state) == 0
    (second,) = accept_more(place, ("c2", flip, model, "key9"))
    capsys.readouterr()
    place = replace(place, out=place.out.with_name("later.jsonl"))
    assert place.export("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["doubted"], told["agreeing"]) == ([], 1)
    assert [one["id"] for one in place.lines() if one["text"] == flip] == [second]
