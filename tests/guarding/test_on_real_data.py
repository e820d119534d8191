"""Guards that need no model, on real texts in small; and what a service's front must not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.guarding import Language, PromptInjection, Verdict
from tunesmith.guarding.fitting import Material, Seen
from tunesmith.guarding.saved import MANIFEST, fingerprint_of
from tunesmith.guarding.verdicts import NOTHING
from tunesmith.inference import artifact as artifacts

ATTACKS = Path(__file__).parents[2] / "benchmarks" / "prompt_injections.jsonl"


def refused(guard: Language | PromptInjection, texts: list[str]) -> float:
    """The share of texts that a guard refuses."""
    found = [guard.before(Example("", one), NOTHING) for one in texts]
    return sum(isinstance(one, Verdict) for one in found) / len(found)


@pytest.mark.real_data
def test_english_is_told_from_german_and_chinese() -> None:
    splits = Data(name="sst2").load("class", seed=1).splits
    guard = Language().fitted(Material(Seen(splits.train[:2000]), Seen(splits.validation)))
    pairs = Data(name="multi30k-en-de").load("text", seed=1).splits.test[:300]
    chinese = Data(name="chnsenticorp").load("class", seed=1).splits.test[:300]
    assert refused(guard, [one.text for one in splits.test[:600]]) < 0.03
    assert refused(guard, [one.text for one in pairs]) < 0.08
    assert refused(guard, [str(one.label) for one in pairs]) > 0.95
    assert refused(guard, [one.text for one in chinese]) > 0.99


@pytest.mark.real_data
def test_plain_instructions_are_seldom_taken_for_attacks() -> None:
    splits = Data(name="instruction-1100").load("text", seed=1, inputs=("turns",)).splits
    texts = [one.text for part in splits.named().values() for one in part]
    assert len(texts) > 1000
    assert refused(PromptInjection(), texts) < 0.005


def test_most_attacks_are_seen_and_no_benign_instruction_is() -> None:
    rows = [json.loads(line) for line in ATTACKS.read_text(encoding="utf-8").splitlines()]
    texts = {label: [row["text"] for row in rows if row["label"] == label] for label in ("attack", "benign")}
    assert min(len(part) for part in texts.values()) >= 60
    assert refused(PromptInjection(), texts["attack"]) > 0.7
    assert refused(PromptInjection(), texts["benign"]) == 0


def test_guards_are_asked_without_torch(finished_run: Path) -> None:
    code = "import sys, tunesmith.guarding.guards, tunesmith.guarding.saved; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    folder = finished_run / "artifact"
    assert fingerprint_of(folder) == artifacts.file_hash(folder / artifacts.MANIFEST)
    assert MANIFEST == artifacts.MANIFEST
