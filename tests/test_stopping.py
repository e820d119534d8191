"""Whether labelling may end: rounds are kept, a model counts once, and the verb says the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import call
from tunesmith import cli
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError, RecipeError
from tunesmith.stopping import judge_round, read_rounds, rules_of, units_of

POOL = [Example(str(number), f"a {word} day in week {number}") for number, word in enumerate(["good", "bad"] * 8)]


def test_a_model_that_is_asked_twice_counts_once(tmp_path: Path, finished_run: Path) -> None:
    state = tmp_path / "rounds.jsonl"
    for _ in range(2):
        standing = judge_round(finished_run / "artifact", POOL, [POOL[:3], POOL[3:5]], state, rules_of(()))
    assert standing.rounds == len(read_rounds(state)) == 1
    assert (standing.texts, standing.words) == (5, 30), "what judges is paid for, too"
    assert 0 < standing.uncertainty <= 1
    assert not standing.is_reached


def test_agreeing_rounds_are_said_to_be_enough(tmp_path: Path, finished_run: Path) -> None:
    state = tmp_path / "rounds.jsonl"
    judge_round(finished_run / "artifact", POOL, [POOL[:3]], state, rules_of(()))
    row = json.loads(state.read_text(encoding="utf-8"))
    state.write_text("".join(json.dumps({**row, "model": name}) + "\n" for name in "abc"), encoding="utf-8")
    standing = judge_round(finished_run / "artifact", POOL, [POOL[:3]], state, rules_of(("stable",)))
    assert standing.is_reached
    assert "kappa 1.0000" in standing.advised["stable"].said


def test_spans_are_compared_word_by_word() -> None:
    example = Example("a", "Anna went to 北京")
    found = units_of(example, Prediction("a", (Span(0, 4, "PER"), Span(13, 15, "LOC")), 0.9))
    assert found == ("PER", "", "", "LOC", "LOC")
    assert units_of(example, Prediction("a", "good", 0.9)) == ("good",)


def test_what_is_wrong_is_said(tmp_path: Path, finished_run: Path) -> None:
    with pytest.raises(RecipeError, match="no setting"):
        rules_of(("budget:texts",))
    with pytest.raises(RecipeError, match="Unknown name"):
        rules_of(("never",))
    with pytest.raises(DataError, match="labelled already"):
        judge_round(finished_run / "artifact", POOL, [POOL], tmp_path / "rounds.jsonl", rules_of(()))
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"text": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="none of rounds"):
        read_rounds(strange)


def test_the_verb_says_its_numbers_and_leaves_the_decision(
    tmp_path: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, known = tmp_path / "pool.csv", tmp_path / "known.csv"
    pool.write_text("text\n" + "\n".join(one.text for one in POOL) + "\n", encoding="utf-8")
    known.write_text("text,label\n" + "\n".join(f"{one.text},good" for one in POOL[:4]) + "\n", encoding="utf-8")
    given = ["active", "stop", str(finished_run / "artifact"), str(pool), "--labelled", str(known)]
    said = call(
        capsys, *given, "--rounds", str(tmp_path / "rounds.jsonl"), "--stop", "budget:texts=4", "--stop", "sure"
    )
    assert "reached  budget: 4 of 4 texts" in said
    assert "You decide." in said
    assert cli.guarded(lambda: cli.app([*given, "--rounds", str(pool), "--stop", "x"], standalone_mode=False)) == 2
