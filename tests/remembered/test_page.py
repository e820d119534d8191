"""The page on feedback is true: its example runs, its codes are all there are, its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from tunesmith.remembered.erasing import TOLD_DAYS
from tunesmith.remembered.recording import LONGEST_COMMENT, LONGEST_RIGHT
from tunesmith.remembered.records import Caps, Policy
from tunesmith.remembered.refusals import REFUSALS

PAGE = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block, names)
    assert names["receipt"].status == "new"
    assert (tmp_path / "answers.db").stat().st_size


def test_the_codes_and_numbers_are_those_of_the_code():
    codes = PAGE.partition("## Codes")[2].partition("## ")[0]
    told = {
        code for row in re.findall(r"^\| (`[^|]*`) \|", codes, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    assert told == set(REFUSALS)
    assert all(set(said) == {"en", "zh"} for said in REFUSALS.values())
    caps, policy = Caps(), Policy()
    for number in (caps.per_key_and_day, caps.per_day, policy.waiting, LONGEST_COMMENT, LONGEST_RIGHT):
        assert f"{number:,}" in PAGE
    assert f"kept for {policy.keep_days:.0f} days, those with feedback for {policy.keep_feedback_days:.0f}" in PAGE
    assert f"for {TOLD_DAYS} days more" in PAGE
    assert f"in {policy.timeout_seconds:.0f} s" in PAGE
