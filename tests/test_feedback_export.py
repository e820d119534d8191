"""`feedback export --against`: both files or none, quarantined once they are there, and nobody's judgement undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from tests.builders import TASK_CASES
from tests.judged_feedback import Place, asked, feedback_place
from tests.service.running import saved
from tunesmith import cli_remembered
from tunesmith.access.audit import AuditLog
from tunesmith.doubted_feedback import sifted
from tunesmith.errors import ResourceError
from tunesmith.remembered import reviewing
from tunesmith.remembered.database import Database
from tunesmith.remembered.erasing import forget_key
from tunesmith.remembered.reviewing import Which, found, review


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path) -> Place:
    return feedback_place(tmp_path, tiny_model_folder)


def test_what_is_set_aside_is_shown_quarantined_and_taken_in_by_review(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.export() == 0
    said = capsys.readouterr().out
    aside, kept = place.lines(".aside.jsonl"), place.lines()
    assert {one["key"] for one in aside} == {"attacker"}
    assert len(aside) >= 6
    assert len(kept) + len(aside) == 40
    assert f"Wrote {len(kept)} rows" in said
    assert f"{len(aside)} set aside and quarantined, {len(aside)} since trusted neighbours do" in said
    assert all("trusted neighbours" in one["reason"] for one in aside)
    assert asked("list", "--status", "quarantined", "--json", "--limit", 0, "--state", place.state) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["counts"]["quarantined"] == len(aside)
    steps = listed["feedback"][0]["provenance"]["reviews"]
    assert [step["to"] for step in steps] == ["accepted", "quarantined"]
    assert "trusted neighbours" in steps[-1]["why"]
    (line,) = AuditLog(place.state).records()
    assert (line["what"], line["before"], line["after"]) == (
        "feedback.set_aside",
        {"accepted": len(aside)},
        {"quarantined": len(aside)},
    )
    chosen = aside[0]["id"]
    assert asked("review", chosen, "--to", "accepted", "--by", "ann", "--state", place.state) == 0
    capsys.readouterr()
    place = replace(place, out=place.out.with_name("later.jsonl"))
    assert place.export("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["set_aside"], told["written"], told["doubted"]) == ({}, len(kept) + 1, [])
    assert told["by_status"]["quarantined"] == len(aside) - 1
    assert chosen in {one["id"] for one in place.lines()}


def test_what_is_set_aside_is_counted_as_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.export("--aside", place.out.with_name("doubted.jsonl"), "--json", "--key", "attacker") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["set_aside"] == {"neighbours": len(told["doubted"])}
    assert told["written"] == told["corrected"] == 8 - len(told["doubted"])
    assert {one["key"] for one in told["doubted"]} == {"attacker"}
    assert told["aside"].endswith("doubted.jsonl")
    assert not place.out.with_suffix(".aside.jsonl").exists()


WRONG = {
    "no trusted examples": (["--against", "{artifact}"], "Give both"),
    "no artifact": (["--trusted", "{trusted}"], "Give both"),
    "aside of nothing": (["--aside", "{trusted}"], "Give both"),
    "aside over the rest": (["--against", "{artifact}", "--trusted", "{trusted}", "--aside", "{out}"], "two files"),
    "no such artifact": (["--against", "{out}", "--trusted", "{trusted}"], "There is no such folder"),
    "no such file": (["--against", "{artifact}", "--trusted", "{out}"], "feedback.jsonl"),
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_mistakes_are_explained_and_change_nothing(
    given: tuple[list[str], str], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [one.format(artifact=place.artifact, trusted=place.trusted, out=place.out) for one in given[0]]
    before = place.trusted.read_bytes()
    assert asked("export", "--out", place.out, "--state", place.state, *more) == 2
    assert given[1] in " ".join(capsys.readouterr().err.split())
    assert not place.out.exists()
    assert place.trusted.read_bytes() == before


@pytest.mark.parametrize("name", ["feedback.jsonl", "feedback.aside.jsonl"])
def test_files_that_are_there_are_kept_and_nothing_is_quarantined(
    name: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    there = place.out.with_name(name)
    there.write_text("mine")
    assert place.export() == 2
    assert "exists already" in capsys.readouterr().err
    see_untouched(place, capsys)
    assert there.read_text() == "mine"


def test_what_cannot_be_written_aside_is_written_nowhere_and_stays_accepted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.export("--aside", place.out.with_name("no") / "aside.jsonl") == 2
    assert "Make the folder" in capsys.readouterr().err
    see_untouched(place, capsys)
    assert not place.out.exists()


def see_untouched(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("list", "--json", "--state", place.state) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["accepted"], counts["quarantined"]) == (40, 0)
    assert not AuditLog(place.state).path.exists()


def test_labels_that_are_no_class_are_refused(
    place: Place, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spans = saved(place.artifact.with_name("spans"), "spans", tiny_model_folder, *TASK_CASES["tokens"])
    assert asked("export", "--out", place.out, "--state", place.state, "--against", spans, "--trusted", spans) == 2
    assert "Only labels that are one class" in capsys.readouterr().err


class Full:
    """A file that finds the disk full when its buffer is written, as it is closed at the latest."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.writelines = file.writelines

    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def __enter__(self) -> Full:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        if kind is None:
            self.flush()


@pytest.mark.parametrize("aside", ["a file", "/dev/full"])
def test_a_disk_that_is_full_when_a_file_is_closed_leaves_no_file_and_quarantines_nothing(
    aside: str, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = Path.open

    def opened(path: Path, *given: Any, **more: Any) -> Any:
        file = opens(path, *given, **more)
        return Full(file) if path.name.endswith(".aside.jsonl.draft") else file

    before = set(place.out.parent.iterdir())
    monkeypatch.setattr(Path, "open", opened)
    assert place.export(*(("--aside", aside) if aside.startswith("/") else ())) == 2
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    assert set(place.out.parent.iterdir()) == before
    see_untouched(place, capsys)
    assert place.export() == 0, "the same command works once there is space"


def test_where_quarantining_fails_both_files_go_again_and_the_same_command_works(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        assert len(place.lines()) + len(place.lines(".aside.jsonl")) == 40, "they are whole before anything is judged"
        raise ResourceError("the database went away")

    before = set(place.out.parent.iterdir())
    monkeypatch.setattr(reviewing, "review", refuse)
    assert place.export() == 2
    assert "went away" in capsys.readouterr().err
    monkeypatch.undo()
    assert set(place.out.parent.iterdir()) == before
    assert asked("list", "--status", "quarantined", "--json", "--state", place.state) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["quarantined"] == 0
    assert place.export() == 0


@pytest.mark.parametrize("name", ["feedback.jsonl", "feedback.aside.jsonl"])
def test_a_file_that_is_made_while_rows_are_judged_is_not_replaced(
    name: str, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, before = place.out.with_name(name), set(place.out.parent.iterdir())
    meanwhile(monkeypatch, lambda _: there.write_text("mine"))
    assert place.export() == 2
    assert "there already" in capsys.readouterr().err
    assert set(place.out.parent.iterdir()) == {*before, there}
    assert there.read_text() == "mine"
    see_untouched(place, capsys)


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[Database], object]) -> None:
    """Let something happen between the reading of rows and the writing of files."""

    def sift(*given: Any) -> Any:
        result = sifted(*given)
        act(databases[0])
        return result

    opened, databases = cli_remembered.opened, []

    def open_(*given: Any, **more: Any) -> Database:
        databases.append(opened(*given, **more))
        return databases[0]

    monkeypatch.setattr(cli_remembered, "opened", open_)
    monkeypatch.setattr("tunesmith.cli_remembered.sifted", sift)


def test_another_name_for_out_is_no_other_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.out.parent / "link.jsonl").symlink_to(place.out)
    for aside in (place.state / ".." / place.out.name, place.out.parent / "link.jsonl"):
        assert place.export("--aside", aside) == 2
        assert "Name two files" in capsys.readouterr().err
    assert not place.out.exists()
    see_untouched(place, capsys)


def test_what_a_person_judged_or_deleted_meanwhile_stays_so_and_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(database: Database) -> None:
        flips = [one.id for one in found(database, Which(key_id="attacker"))]
        review(database, flips, "rejected", "bob")
        forget_key(database, "key1", thorough=False)

    meanwhile(monkeypatch, judge)
    assert place.export("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["changed_meanwhile"] == len(told["doubted"]) >= 6
    assert asked("list", "--json", "--state", place.state) == 0
    assert (counts := json.loads(capsys.readouterr().out)["counts"])["rejected"] == 8
    assert counts["quarantined"] == 0
    assert not AuditLog(place.state).path.exists(), "nothing was set aside"


def test_rows_that_nobody_judged_meanwhile_are_quarantined_beside_those_that_were(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(database: Database) -> None:
        review(database, [next(found(database, Which(key_id="attacker"))).id], "rejected", "bob")

    meanwhile(monkeypatch, judge)
    assert place.export() == 0
    aside = len(place.lines(".aside.jsonl"))
    assert "1 of these were judged or deleted meanwhile" in capsys.readouterr().out
    (line,) = AuditLog(place.state).records()
    assert (line["before"], line["after"]) == ({"accepted": aside - 1}, {"quarantined": aside - 1})


@pytest.mark.parametrize(
    ("name", "aside"),
    [
        ("train.v1", "train.v1.aside.jsonl"),
        ("train.v2", "train.v2.aside.jsonl"),
        ("a.b.jsonl", "a.b.aside.jsonl"),
    ],
)
def test_what_is_set_aside_has_the_whole_name_of_the_rest(name: str, aside: str, place: Place) -> None:
    place = replace(place, out=place.out.with_name(name))
    assert place.export() == 0
    assert place.out.with_name(aside).is_file()


def test_a_pipe_takes_the_rows_and_needs_a_name_for_what_is_set_aside(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe, aside = place.out.with_name("pipe"), place.out.with_name("doubted.jsonl")
    os.mkfifo(pipe)
    assert replace(place, out=Path("/dev/null")).export() == 2
    assert "Name --aside" in capsys.readouterr().err
    see_untouched(place, capsys)
    place = replace(place, out=pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")), daemon=True)
    reader.start()
    assert place.export("--aside", aside) == 0
    reader.join(timeout=10)
    assert len(read[0].splitlines()) + len(aside.read_text(encoding="utf-8").splitlines()) == 40
    assert pipe.is_fifo()


@pytest.mark.parametrize("mode", ["w", "a"])
def test_standard_output_may_be_a_file_and_holds_rows_alone(mode: str, place: Place) -> None:
    file = place.out.with_name("rows.jsonl")
    file.write_text('{"mine": 1}\n')
    with file.open(mode) as shown:
        asked = [sys.executable, "-m", "tunesmith", "feedback", "export", "--out", "/dev/stdout"]
        done = subprocess.run([*asked, "--state", str(place.state)], stdout=shown, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 40 + (mode == "a")
    assert rows[0] == {"mine": 1} or mode == "w"
    assert "Wrote 40 rows" in done.stderr
