"""Where exports are written: links, the folder that one is in, two at once, and places where nothing can be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.inference.causal_artifacts import causal_artifact
from tests.test_bad_forms import asked
from tunesmith import exporting, forms_console
from tunesmith.access.manifest_signatures import make_keys
from tunesmith.errors import ResourceError
from tunesmith.exporting import export
from tunesmith.inference.artifact import SIGNATURE, verify
from tunesmith.inference.forms import add_form, forms_of
from tunesmith.inference.signed import sign_artifact
from tunesmith.inference.weight_only import hold_artifact

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture
def artifact(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run / "artifact", tmp_path / "artifact"))


def test_a_link_to_an_artifact_stays_one(artifact: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(artifact)
    assert export(link, "onnx").folder == link
    assert link.is_symlink()
    assert forms_of(artifact, verify(artifact)) == ("torch", "onnx")


def test_the_folder_that_one_is_in_can_be_exported(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artifact)
    export(Path(), "onnx")
    assert forms_of(artifact, verify(artifact)) == ("torch", "onnx")


def test_an_export_says_that_the_signature_is_gone(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_keys(tmp_path / "our.key")
    sign_artifact(artifact, tmp_path / "our.key")
    made = export(artifact, "onnx", tmp_path / "graph")
    assert (artifact / SIGNATURE).exists()
    assert not (tmp_path / "graph" / SIGNATURE).exists()
    forms_console.show_export(made, as_json=False)
    assert "Sign it anew" in " ".join(capsys.readouterr().out.split())
    forms_console.show_export(replace(made, was_signed=False), as_json=False)
    assert "Sign it anew" not in " ".join(capsys.readouterr().out.split())


def test_an_export_says_that_it_replaces_a_form(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for times, said in ((1, False), (2, True)):
        made = export(artifact, "onnx")
        assert made.was_there is said, times
        forms_console.show_export(made, as_json=False)
        assert ("Replaced: the artifact held the form 'onnx' already" in capsys.readouterr().out) is said
    forms_console.show_export(made, as_json=True)
    assert json.loads(capsys.readouterr().out)["was_there"]


def test_what_another_export_put_there_meanwhile_is_not_lost(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_first = [True]

    def slow(*arguments: object) -> object:
        if is_first.pop() if is_first else False:
            export(artifact, "onnx")
        return add_form(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting, "add_form", slow)
    with pytest.raises(ResourceError, match="changed while this form was made"):
        export(artifact, "onnx-int8")
    assert forms_of(artifact, verify(artifact)) == ("torch", "onnx")
    assert [one.name for one in artifact.parent.iterdir()] == ["artifact"]


def test_a_place_below_a_file_is_explained(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert asked("export", artifact, "--form", "onnx", "--out", tmp_path / "file" / "x") == 2
    assert "Choose another --out" in capsys.readouterr().err


def test_a_gguf_file_of_another_form_is_refused(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked("export", artifact, "--form", "onnx", "--out", tmp_path / "x.GGUF") == 2
    assert "no GGUF file" in capsys.readouterr().err
    assert not (tmp_path / "x.GGUF").exists()


@pytest.mark.slow
def test_weights_in_few_bits_are_sound_beside_the_whole_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = causal_artifact(tmp_path / "chat")
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("good film", "今天天气很好")), "utf-8")
    few = tmp_path / "few"
    hold_artifact(whole, few, "int8")
    assert asked("parity", whole, few, "--file", texts, "--tolerance", 1, "--json") == 0
    checks = json.loads(capsys.readouterr().out)["forms"]
    assert [one["is_exact"] for one in checks] == [True, False]
    other = causal_artifact(tmp_path / "other", seed=1)
    assert asked("parity", other, few, "--file", texts, "--tolerance", 1) == 1
    assert "made of other weights" in capsys.readouterr().out
