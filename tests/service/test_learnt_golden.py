"""Golden examples that a version learnt from are left out for both, counted, and refused where too few remain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.service.golden_stage import PLANTED, SIZE, golden_rows, right, staged, wrong
from tunesmith.errors import ArtifactError
from tunesmith.evaluation.non_inferiority import Terms
from tunesmith.inference.artifact import file_hash, seal
from tunesmith.inference.learnt_golden import LEARNT, Receipt, note
from tunesmith.service.golden import read_golden
from tunesmith.service.versions import read_version

LEARNT_PLACES = range(40)


def noted(versions: Path, place: Path, learnt: Mapping[str, Sequence[int]], examples: int = SIZE) -> Path:
    """A copy of the versions, of which these have noted what they learnt from the golden examples."""
    file = place / "golden.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in golden_rows()), encoding="utf-8")
    root = place / "root"
    shutil.copytree(versions, root)
    for name, places in learnt.items():
        note(root / "classes" / name, Receipt(file_hash(file), examples, tuple(places)))
    return root


def by_heart(number: int) -> str:
    """Right where it learnt the example, and worse by 1 in 10 elsewhere."""
    return right(number) if number in LEARNT_PLACES or number % 10 != 3 else wrong(number)


def test_what_either_learnt_is_left_out_for_both_and_counted(versions: Path, tmp_path: Path) -> None:
    root = noted(versions, tmp_path, {"first": range(30, 45), "second": LEARNT_PLACES})
    with staged(root, tmp_path) as stage:
        stage.answers[stage.first] = lambda number: wrong(number) if number in LEARNT_PLACES else right(number)
        done = stage.promote()
        assert (done.status, done.body["roles"]["champion"]) == (200, stage.second)
        figures = done.body["figures"]
        assert (figures["old"], figures["new"], figures["n"]) == (1.0, 1.0, SIZE - 45)
        assert (figures["old_learnt"], figures["new_learnt"]) == (15, 40)
        after = stage.audit()[-1]["after"]
        assert (after["n"], after["old_learnt"], after["new_learnt"]) == (SIZE - 45, 15, 40)
        golden = [text for batch in stage.engine.batches for text in batch if text.startswith(PLANTED)]
        assert len(golden) == 2 * (SIZE - 45)
        assert not {f"{PLANTED} {number}" for number in range(45)} & set(golden)


def test_an_answer_by_heart_hides_nothing(versions: Path, tmp_path: Path) -> None:
    root = noted(versions, tmp_path, {"second": LEARNT_PLACES})
    with staged(root, tmp_path) as stage:
        stage.answers[stage.second] = by_heart
        refused = stage.admin("canary", version=stage.second, share=0.1)
        assert (refused.body["code"], refused.body["figures"]["new"]) == ("inferior", 0.9)
        assert (refused.body["figures"]["old_learnt"], refused.body["figures"]["new_learnt"]) == ("unknown", 40)


def test_what_is_not_noted_is_judged_as_before_and_said_to_be_unknown(versions: Path, tmp_path: Path) -> None:
    root = noted(versions, tmp_path, {"second": LEARNT_PLACES}, examples=SIZE + 1)
    with staged(root, tmp_path) as stage:
        figures = stage.promote().body["figures"]
        assert (figures["n"], figures["old_learnt"], figures["new_learnt"]) == (SIZE, "unknown", "unknown")


def test_where_too_few_are_new_nobody_is_asked(versions: Path, tmp_path: Path) -> None:
    root = noted(versions, tmp_path, {"first": range(30), "second": range(20, 80)})
    with staged(root, tmp_path) as stage:
        for verb, more in (("promote", {}), ("canary", {"share": 0.1})):
            refused = stage.admin(verb, version=stage.second, **more)
            assert (refused.status, refused.body["code"]) == (409, "golden_learnt")
            for told in ("learnt from 30", "from 60", "320 are new", "349 are needed"):
                assert told in refused.body["detail"]
            line = stage.audit()[-1]
            assert (line["what"], line["after"]["new_learnt"]) == (f"model.{verb}.refused", 60)
            assert "look" not in line["after"]
        assert not [batch for batch in stage.engine.batches if batch[0].startswith(PLANTED)]
        assert stage.promote(force=True).status == 200


def test_what_is_known_of_the_first_version_is_told_at_start(versions: Path, tmp_path: Path) -> None:
    root = noted(versions, tmp_path, {"second": LEARNT_PLACES, "third": ()})
    told = []
    for name in ("first", "second", "third"):
        version = read_version(root / "classes" / name, name="classes")
        told.append((version.id, read_golden(tmp_path / "golden.jsonl", version, Terms()).notes))
    (first, unknown), (second, some), (_, none) = told
    assert unknown == (
        f"Whether version {first} learnt from them is not known; 'tunesmith golden' notes it in artifacts.",
    )
    assert some == (f"Version {second} learnt from 40 of them, which are left out.",)
    assert none == ()


@pytest.mark.parametrize(
    "told",
    [
        {"a": 3},
        {"a": {"examples": 4, "learnt": [4]}},
        {"a": {"examples": 4, "learnt": [-1]}},
        {"a": {"examples": True, "learnt": []}},
        {"a": {"examples": 4, "learnt": "all"}},
    ],
)
def test_a_note_that_says_nothing_is_refused(versions: Path, tmp_path: Path, told: object) -> None:
    place = tmp_path / "version"
    shutil.copytree(versions / "classes" / "first", place)
    (place / LEARNT).write_text(json.dumps(told), encoding="utf-8")
    seal(place)
    with pytest.raises(ArtifactError, match="which golden examples"):
        read_version(place)
