"""The form for LiteRT: it answers every task of an encoder as torch does, alone and in a batch, and damage is seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.builders import TASK_CASES, folder_of
from tests.inference.causal_artifacts import causal_artifact
from tests.inference.test_forms import EXPORTED, largest_logit, same, saved
from tunesmith import cli
from tunesmith.errors import ArtifactError, ModelError
from tunesmith.exporting import export
from tunesmith.inference.artifact import read_description, seal
from tunesmith.inference.form_parity import changed_places, compare_forms, near_numbers
from tunesmith.inference.forms import add_lite, entry_of, forms_of, keep_only
from tunesmith.inference.graph_network import GraphNetwork
from tunesmith.inference.litert_form import LiteEntry, write_lite
from tunesmith.inference.litert_program import LiteProgram, lengths_up_to
from tunesmith.inference.onnx_graph import FLOAT_TOLERANCE
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.traced import SHARE

pytest.importorskip("litert_torch", reason="the extra 'litert' is not installed")

FEW = ("single_label", "tokens_casing", "questions")


def test_lengths_double_up_to_the_longest_text() -> None:
    assert lengths_up_to(256) == (16, 32, 64, 128, 256)
    assert lengths_up_to(100) == (16, 32, 64, 100)
    assert lengths_up_to(16) == (16,)
    assert lengths_up_to(9) == (9,)


@pytest.mark.parametrize(
    "case", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in EXPORTED]
)
def test_every_task_is_answered_as_torch_does(case: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, folder_of(case, request), case)
    entry = add_lite(place, loaded)
    assert entry.graph.largest_share <= SHARE
    assert entry.graph.lengths[-1] == loaded.encoder.max_length
    torchs, lites = Predictor.load(place, device="cpu"), Predictor.load(place, backend="litert")
    assert isinstance(lites.model, GraphNetwork)
    assert same(torchs, lites, case) <= FLOAT_TOLERANCE * max(1.0, largest_logit(torchs, case))
    ours, theirs = (one.predict(TASK_CASES[case][1]) for one in (torchs, lites))
    near = near_numbers(ours, is_exact=True) + 1e-3 * (loaded.task.label_kind == "number")
    assert changed_places(ours, theirs, near) == []


@pytest.mark.parametrize(
    "folder",
    [
        "tiny_roberta_folder",
        pytest.param("tiny_mpnet_folder", marks=pytest.mark.slow),
        pytest.param("tiny_distilbert_folder", marks=pytest.mark.slow),
    ],
)
def test_other_bodies_with_kinds_of_token_answer_alike(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place, loaded = saved(tmp_path, request.getfixturevalue(folder), "tokens_casing")
    add_lite(place, loaded)
    assert same(Predictor.load(place), Predictor.load(place, backend="litert"), "tokens_casing") <= FLOAT_TOLERANCE


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that holds torch's weights and a file for LiteRT; not to be changed."""
    folder = tmp_path_factory.mktemp("litert") / "artifact"
    export(finished_run / "artifact", "litert", folder)
    return folder


def test_it_is_an_artifact_of_its_own_and_sound(exported: Path, finished_run: Path) -> None:
    description = read_description(exported)
    assert forms_of(exported, description) == ("litert",)
    entry = entry_of(exported, description, "litert")
    assert isinstance(entry, LiteEntry)
    assert set(entry.versions) >= {"torch", "litert-torch"}
    texts = TASK_CASES["single_label"][1]
    checks = compare_forms([finished_run / "artifact", exported], texts, tolerance=0.0, reload=True)
    assert [check.problems for check in checks] == [(), ()]
    assert checks[1].alone < 1e-6, "each piece is padded to the same length whatever is beside it"
    assert checks[1].reloaded == 0.0


def test_nothing_but_tunesmiths_own_words_reaches_the_terminal(
    exported: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded(lambda: cli.app(["predict", str(exported), "--text", "a good film"], standalone_mode=False)) == 0
    printed = capfd.readouterr()
    assert "XNNPACK" not in printed.err + printed.out
    assert printed.out.strip()


def test_what_the_extra_installs_is_silent_where_it_is_not_asked_for(finished_run: Path) -> None:
    """torchao complains of what it lacks when transformers imports it, in a process that is new."""
    asked = [sys.executable, "-m", "tunesmith", "predict", str(finished_run / "artifact"), "--text", "a good film"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_file_tells_nothing_of_the_machine(exported: Path) -> None:
    content = (exported / "model.tflite").read_bytes()
    assert str(Path.home()).encode() not in content
    assert str(Path.cwd()).encode() not in content


def test_a_damaged_file_is_seen(exported: Path, finished_run: Path, tmp_path: Path) -> None:
    weights = load_file(finished_run / "artifact" / "model.safetensors")
    table = next(weight for name, weight in weights.items() if name.endswith("word_embeddings.weight"))
    whole, row = table.numpy().tobytes(), table[-1].numpy().tobytes()
    assert exported.joinpath("model.tflite").read_bytes().count(whole) == 1, "the signatures share their weights"
    place = damaged(exported, tmp_path / "weights", lambda content: content.replace(whole, row * len(table)))
    checks = compare_forms([finished_run / "artifact", place], TASK_CASES["single_label"][1], tolerance=0, reload=False)
    assert checks[1].problems
    cut = damaged(exported, tmp_path / "cut", lambda content: content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="LiteRT does not load the file"):
        Predictor.load(cut)
    with pytest.raises(ArtifactError, match="LiteRT does not load the file"):
        LiteProgram(exported / "model.tflite", (7,))


def damaged(artifact: Path, place: Path, change: Callable[[bytes], bytes]) -> Path:
    """A copy whose file was changed and sealed again."""
    shutil.copytree(artifact, place)
    file = place / "model.tflite"
    file.write_bytes(change(file.read_bytes()))
    seal(place)
    return place


def test_what_answers_otherwise_is_not_written(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    real = LiteProgram.outputs

    def noisy(self: LiteProgram, inputs: Any) -> dict[str, torch.Tensor]:
        return {name: value + 1e-2 for name, value in real(self, inputs).items()}

    monkeypatch.setattr(LiteProgram, "outputs", noisy)
    with pytest.raises(ModelError, match="differs by up to"):
        write_lite(loaded.model, tmp_path / "model.tflite", 16)


def test_a_language_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="causal models have the form gguf"):
        export(causal_artifact(tmp_path / "chat"), "litert", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_can_be_put_beside_other_forms(exported: Path, finished_run: Path, tmp_path: Path) -> None:
    place = tmp_path / "artifact"
    shutil.copytree(finished_run / "artifact", place)
    export(place, "onnx")
    export(place, "litert")
    assert forms_of(place, read_description(place)) == ("torch", "onnx", "litert")
    keep_only(place, "onnx")
    assert not (place / "model.tflite").exists()
