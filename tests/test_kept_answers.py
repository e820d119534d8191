"""Answers that are kept beside their place until they are whole, and never written over what is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import pytest

from tests.test_answering_files import asked_of, begun, small_windows, texts_of
from tests.test_bad_input import files_below
from tunesmith import answering_files, cli
from tunesmith.answering_files import Asked, answer_file, asked_source
from tunesmith.errors import DataError, ResourceError
from tunesmith.inference.litert_program import LiteProgram
from tunesmith.inference.llama_cpp import LlamaCppNetwork
from tunesmith.inference.predictor import Predictor
from tunesmith.kept_answers import Kept, beside, kept_answers, part_of
from tunesmith.locking import hold
from tunesmith.versions import versions

__all__ = ["small_windows"]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command line says when it refuses."""
    capsys.readouterr()
    assert cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False)) == 2
    return " ".join(capsys.readouterr().err.split())


def same_name(file: Path) -> Path:
    return file


def link(file: Path) -> Path:
    (file.parent / "link.csv").symlink_to(file)
    return file.parent / "link.csv"


def hard_link(file: Path) -> Path:
    os.link(file, file.parent / "hard.csv")
    return file.parent / "hard.csv"


def name_of_the_note(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".part.json"))


@pytest.mark.parametrize("out_of", [same_name, link, hard_link, name_of_the_note])
def test_answers_are_not_written_over_the_texts(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out_of: Callable[[Path], Path]
) -> None:
    file = texts_of(tmp_path, 3)
    if out_of is name_of_the_note:
        file = file.rename(tmp_path / "texts.csv.part.json")
    out = out_of(file)
    before = files_below(tmp_path)
    said = refusal(capsys, "predict", finished_run / "artifact", "--file", file, "--out", out)
    assert "would be written over the texts" in said
    assert files_below(tmp_path) == before


def test_answers_are_not_written_over_another_file(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = texts_of(tmp_path, 3), tmp_path / "mine.jsonl"
    out.write_text("mine", encoding="utf-8")
    predictor, asked = asked_of(finished_run / "artifact", file)
    with pytest.raises(ResourceError, match="Something is there already"):
        answer_file(predictor, asked, out, quiet=True)
    monkeypatch.setattr(Predictor, "load", None)  # it is refused before anything is loaded
    said = refusal(capsys, "predict", finished_run / "artifact", "--file", file, "--out", out)
    assert "Something is there already" in said
    assert "Choose another --out" in said
    assert sorted(files_below(tmp_path)) == ["mine.jsonl", "texts.csv"]
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_note_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    beside(out).write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"), kept_answers(out, {}):
        pass
    assert files_below(tmp_path) == {beside(out).name: b'{"mine": 1}'}


def test_a_place_for_answers_without_a_file_is_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, "predict", finished_run / "artifact", "--text", "good", "--out", tmp_path / "y.jsonl")
    assert "Only answers to a file are written to --out" in said
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_no_folder_and_is_refused_since_it_cannot_be_read_twice(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    said = refusal(capsys, "predict", finished_run / "artifact", "--file", tmp_path / "pipe")
    assert "cannot be read twice" in said
    assert "Write it to a file first" in said
    assert "This is a folder" not in said


def test_a_damaged_picture_late_in_the_file_keeps_the_answers_before_it(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_windows: None
) -> None:
    file, out = begun(finished_run, tmp_path, monkeypatch, DataError("The picture is damaged."))
    predictor, asked = asked_of(finished_run / "artifact", file)
    assert answer_file(predictor, asked, out, quiet=True)[0] == 60
    whole = tmp_path / "whole.jsonl"
    answer_file(predictor, asked, whole, quiet=True)
    assert out.read_bytes() == whole.read_bytes()


def test_answers_of_a_graph_are_not_gone_on_with_by_another_version_of_its_runtime(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_windows: None
) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    run = tmp_path / "run"
    shutil.copytree(finished_run / "artifact", run / "artifact")
    told = ["export", str(run / "artifact"), "--form", "onnx"]
    assert cli.guarded(lambda: cli.app(told, standalone_mode=False)) == 0
    predictor = Predictor.load(run / "artifact", backend="onnx")
    asked = Asked(run / "artifact", asked_source(texts_of(tmp_path, 3), (), predictor.task.inputs), backend="onnx")
    out = tmp_path / "answers.jsonl"
    with kept_answers(out, decided(predictor, asked)) as kept:
        kept.add([{"id": "1"}])
        changed = {"onnxruntime": "0.1"}
        monkeypatch.setattr("tunesmith.versions.version", lambda name: changed.get(name) or version(name))
        other = decided(predictor, asked)
        with part_of(out).open("rb") as file, pytest.raises(DataError, match="another set of versions"):
            Kept(out, other, file)
    assert Predictor.load(run / "artifact", backend="torch").runtimes == ()


def decided(predictor: Predictor, asked: Asked) -> dict[str, object]:
    return answering_files.decides(predictor, asked, "0" * 64, 3)


def test_each_runtime_is_known_by_its_module() -> None:
    assert (LiteProgram.runtime, LlamaCppNetwork.runtime) == ("ai_edge_litert", "llama_cpp")
    assert versions("pytest")["pytest"] == f"pytest {pytest.__version__}"
    assert versions("a_module_that_is_not_there")["a_module_that_is_not_there"] == ""


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_process_that_opened_the_answers_just_before_another_ended_does_not_append_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_well: bool
) -> None:
    out = tmp_path / "answers.jsonl"
    first = kept_answers(out, {"a": 1})
    kept = first.__enter__()
    if ends_well:
        kept.add([{"id": "first"}])

    def late(file: IO[Any], path: Path, busy: ResourceError) -> None:
        first.__exit__(None, None, None) if ends_well else first.__exit__(*stop)
        hold(file, path, busy)

    stop = (KeyboardInterrupt, KeyboardInterrupt(), None)
    monkeypatch.setattr("tunesmith.kept_answers.hold", late)
    with pytest.raises((ResourceError, KeyboardInterrupt)), kept_answers(out, {"a": 1}) as second:
        second.add([{"id": "second"}])
    expected = {"answers.jsonl": b'{"id": "first"}\n'} if ends_well else {}
    assert files_below(tmp_path) == expected


def test_a_strange_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    part_of(out).write_text("my own notes", encoding="utf-8")
    with pytest.raises(ResourceError, match="nothing says whose answers"), kept_answers(out, {}):
        pass
    assert part_of(out).read_text(encoding="utf-8") == "my own notes"


def test_a_kill_when_the_last_answer_was_just_in_place_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    with kept_answers(out, {"a": 1}) as kept:
        kept.add([{"id": "1"}])
        told = beside(out).read_text(encoding="utf-8")
    beside(out).write_text(told, encoding="utf-8")
    with pytest.raises(ResourceError, match="Something is there already"), kept_answers(out, {"a": 1}):
        pass
    out.unlink()
    with kept_answers(out, {"a": 2}) as kept:
        assert kept.began == 0
        kept.add([{"id": "2"}])
    assert out.read_text(encoding="utf-8") == '{"id": "2"}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


def test_two_processes_do_not_write_the_same_answers(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    with kept_answers(out, {"a": 1}) as kept:
        with pytest.raises(ResourceError, match="Another process"), kept_answers(out, {"a": 1}):
            pass
        kept.add([{"id": "1"}])
    assert out.read_text(encoding="utf-8") == '{"id": "1"}\n'
