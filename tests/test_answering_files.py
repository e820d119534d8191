"""A file of texts is answered in its order, with flat memory, and gone on with exactly where a process was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_bad_input import edited_json
from tunesmith import answering_files, cli
from tunesmith.answering_files import Asked, answer_file, asked_source, windows
from tunesmith.data.records import Example
from tunesmith.errors import ArtifactError, DataError, ResourceError
from tunesmith.inference.predictor import CHUNK, Predictor
from tunesmith.kept_answers import beside, part_of

WORDS = ("good", "bad", "film", "day", "work", "the", "big", "city", "好", "天气")

# The window is made small, and the process says when it has kept a window and waits to be killed.
CHILD = """
import sys, time
from pathlib import Path
import torch
from tunesmith import answering_files, kept_answers
from tunesmith.inference.predictor import Predictor
answering_files.CHUNK = 16
torch.set_num_threads(1)
add = kept_answers.Kept.add
def slow(kept, rows):
    add(kept, rows)
    if kept.rows >= 48:
        kept._file.write(b'{"id": "half a row')
        kept._file.flush()
        print("kept", flush=True)
        time.sleep(600)
kept_answers.Kept.add = slow
artifact, file, out = map(Path, sys.argv[1:])
predictor = Predictor.load(artifact, device="cpu")
asked = answering_files.Asked(artifact, answering_files.asked_source(file, (), predictor.task.inputs))
answering_files.answer_file(predictor, asked, out, quiet=True)
"""


def texts_of(folder: Path, count: int) -> Path:
    lines = (" ".join(WORDS[(row + step) % len(WORDS)] for step in range(row % 9 + 1)) for row in range(count))
    file = folder / "texts.csv"
    file.write_text("text\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def asked_of(artifact: Path, file: Path, passes: int = 0) -> tuple[Predictor, Asked]:
    predictor = Predictor.load(artifact, device="cpu")
    return predictor, Asked(artifact, asked_source(file, (), predictor.task.inputs), passes=passes)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_files, "CHUNK", 16)


def stopped_after(monkeypatch: pytest.MonkeyPatch, calls: int, error: BaseException) -> None:
    """Let the predictor answer so many windows, and fail."""
    answered = Predictor.predict
    left = [calls]

    def failing(self: Predictor, examples: list[Example]) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return answered(self, examples)

    monkeypatch.setattr(Predictor, "predict", failing)


@pytest.mark.slow
def test_a_killed_process_is_gone_on_with_to_the_same_bytes(
    finished_run: Path, tmp_path: Path, small_windows: None
) -> None:
    artifact, file, out = finished_run / "artifact", texts_of(tmp_path, 100), tmp_path / "answers.jsonl"
    command = [sys.executable, "-c", CHILD, str(artifact), str(file), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "kept\n"
        child.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert part_of(out).read_bytes().endswith(b"half a row")
    predictor, asked = asked_of(artifact, file)
    assert answer_file(predictor, asked, out, quiet=True)[0] == 100
    whole = tmp_path / "whole.jsonl"
    answer_file(predictor, asked, whole, quiet=True)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "texts.csv", "whole.jsonl"]


@pytest.mark.parametrize("passes", [0, 2])
def test_a_stopped_command_is_gone_on_with_to_the_same_bytes(
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_windows: None,
    passes: int,
) -> None:
    artifact, file = str(finished_run / "artifact"), texts_of(tmp_path, 60)

    def ask(out: Path) -> int:
        told = ["predict", artifact, "--file", str(file), "--out", str(out), "--passes", str(passes)]
        return cli.guarded(lambda: cli.app(told, standalone_mode=False))

    out = tmp_path / "answers.jsonl"
    with monkeypatch.context() as patch:
        stopped_after(patch, 2, KeyboardInterrupt())
        assert ask(out) == 130
    said = capsys.readouterr().err
    assert "32 answers are kept in answers.jsonl.part; the same command goes on after them." in said
    assert not out.exists()
    assert json.loads(beside(out).read_text(encoding="utf-8"))["rows"] == 32
    with monkeypatch.context() as patch:
        stopped_after(patch, 2, AssertionError("the kept answers were asked again"))
        assert ask(out) == 0
    printed = capsys.readouterr()
    assert "Going on after the 32 answers that answers.jsonl.part holds." in printed.err
    assert "Wrote 60 rows" in printed.out
    assert ask(tmp_path / "whole.jsonl") == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == file.read_text(encoding="utf-8").splitlines()[1:]
    assert all(("uncertainty" in row) == bool(passes) for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "texts.csv", "whole.jsonl"]


def begun(run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[Path, Path]:
    """Answers to a file, stopped by an error after two windows."""
    file, out = texts_of(folder, 60), folder / "answers.jsonl"
    predictor, asked = asked_of(run / "artifact", file)
    with monkeypatch.context() as patch:
        stopped_after(patch, 2, error)
        with pytest.raises(type(error)):
            answer_file(predictor, asked, out, quiet=True)
    return file, out


def changed_text(file: Path, out: Path) -> dict[str, int]:
    file.write_text(file.read_text(encoding="utf-8").replace("film", "city", 1), encoding="utf-8")
    return {}


def further_text(file: Path, out: Path) -> dict[str, int]:
    with file.open("a", encoding="utf-8") as opened:
        opened.write("one more\n")
    return {}


def row_that_is_wrong(file: Path, out: Path) -> dict[str, int]:
    with file.open("a", encoding="utf-8") as opened:
        opened.write("one, more\n")
    return {}


def other_artifact(file: Path, out: Path) -> dict[str, int]:
    told = json.loads(beside(out).read_text(encoding="utf-8"))
    edited_json(beside(out), asked={**told["asked"], "artifact": "0" * 64})
    return {}


def other_threads(file: Path, out: Path) -> dict[str, int]:
    told = json.loads(beside(out).read_text(encoding="utf-8"))
    edited_json(beside(out), asked={**told["asked"], "number of threads (OMP_NUM_THREADS)": 77})
    return {}


def other_passes(file: Path, out: Path) -> dict[str, int]:
    return {"passes": 3}


def cut_answers(file: Path, out: Path) -> dict[str, int]:
    os.truncate(part_of(out), part_of(out).stat().st_size - 1)
    return {}


def changed_answers(file: Path, out: Path) -> dict[str, int]:
    content = part_of(out).read_bytes()
    part_of(out).write_bytes(content.replace(b"good", b"evil", 1))
    return {}


def damaged_note(file: Path, out: Path) -> dict[str, int]:
    beside(out).write_text("{", encoding="utf-8")
    return {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_text, "another file of texts"),
        (further_text, "another file of texts"),
        (other_artifact, "another artifact"),
        (other_passes, "another number of passes"),
        (other_threads, "another number of threads (OMP_NUM_THREADS)"),
        (cut_answers, "was changed or cut"),
        (changed_answers, "was changed or cut"),
        (damaged_note, "cannot be read"),
    ],
)
def test_kept_answers_are_not_mixed_with_others(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_windows: None, change, said: str
) -> None:
    file, out = begun(finished_run, tmp_path, monkeypatch, KeyboardInterrupt())
    more = change(file, out)
    predictor, asked = asked_of(finished_run / "artifact", file, **more)
    before = part_of(out).read_bytes()
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        answer_file(predictor, asked, out, quiet=True)
    assert "remove answers.jsonl.part and answers.jsonl.part.json to begin anew" in caught.value.to_do
    assert part_of(out).read_bytes() == before
    beside(out).unlink()
    part_of(out).unlink()
    assert answer_file(predictor, asked, out, quiet=True)[0] in (60, 61)


def test_what_a_full_disk_a_model_or_a_damaged_picture_stops_is_kept(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_windows: None
) -> None:
    damaged = DataError("The picture cannot be read.")
    for error in (ResourceError("The disk is full."), ArtifactError("The graph cannot be asked."), damaged):
        _, out = begun(finished_run, tmp_path, monkeypatch, error)
        assert json.loads(beside(out).read_text(encoding="utf-8"))["rows"] == 32
        part_of(out).unlink()
        beside(out).unlink()


@pytest.mark.parametrize("change", ["changed_text", "row_that_is_wrong"])
def test_a_file_that_changes_while_it_is_answered_has_no_answers(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_windows: None, change: str
) -> None:
    file, out = texts_of(tmp_path, 60), tmp_path / "answers.jsonl"
    predictor, asked = asked_of(finished_run / "artifact", file)
    read = answering_files.decides

    def changing(*given):
        {"changed_text": changed_text, "row_that_is_wrong": row_that_is_wrong}[change](file, out)
        return read(*given)

    monkeypatch.setattr(answering_files, "decides", changing)
    with pytest.raises(DataError, match="The file was changed"):
        answer_file(predictor, asked, out, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.csv"]


def test_windows_end_where_the_texts_say() -> None:
    short = [Example(str(number), "x") for number in range(CHUNK + 1)]
    assert [len(window) for window in windows(iter(short), writes=False)] == [CHUNK, 1]
    assert [len(window) for window in windows(iter(short[:100]), writes=True)] == [64, 36]
    long = [Example(str(number), "x" * (answering_files.WINDOW_CHARACTERS // 2)) for number in range(3)]
    assert [len(window) for window in windows(iter(long), writes=False)] == [2, 1]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(finished_run: Path, tmp_path: Path) -> None:
    """Three times the texts need no more memory: each process says the most that it had."""
    program = CHILD.replace("answering_files.CHUNK = 16", "").replace("kept_answers.Kept.add = slow", "")
    program += "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    most = []
    for count in (10_000, 30_000):
        file, out = texts_of(tmp_path, count), tmp_path / f"{count}.jsonl"
        command = [sys.executable, "-c", program, str(finished_run / "artifact"), str(file), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        most.append(int(done.stdout))
    assert most[1] < most[0] + 16
