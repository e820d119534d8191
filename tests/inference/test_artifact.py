"""Whatever the task and the method: what is loaded answers, to the last bit, as what was saved."""

from __future__ import annotations

import json
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.builders import (
    TASK_CASES,
    build_learner,
    build_material,
    build_model,
    run_steps,
    torch_model,
)
from tunesmith.errors import ArtifactError, ResourceError
from tunesmith.inference.artifact import Origin, save_artifact, seal, verify
from tunesmith.inference.folder import could_run_code
from tunesmith.inference.parity import prove_reload
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.tasks.encoding import TextEncoder

ORIGIN = Origin("task: x\n", {"train": "0"}, "tiny", {"tunesmith": "0"}, 1)


def trained(folder: Path, case: str, method: str) -> tuple[Predictor, TextEncoder]:
    """A predictor after a few steps, the method merged."""
    task, examples = TASK_CASES[case]
    chosen = METHODS[method]()
    model, task, encoder = build_model(folder, task, examples, chosen)
    learner = build_learner(model)
    run_steps(learner, build_material(task, encoder, examples), steps=3, rate=1e-2)
    learner.weights.finish()
    chosen.merge(model)
    return Predictor(model.eval(), task, encoder), encoder


@pytest.mark.parametrize("folder", ["tiny_mpnet_folder", "tiny_roberta_folder"])
def test_other_families_of_backbones_come_back_too(folder: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    predictor, encoder = trained(request.getfixturevalue(folder), "tokens_crf", "full")
    examples = TASK_CASES["tokens_crf"][1]
    save_artifact(tmp_path / "artifact", torch_model(predictor), predictor.task, encoder, ORIGIN, "")
    assert Predictor.load(tmp_path / "artifact", device="cpu").predict(examples) == predictor.predict(examples)


PICKLED = pickle.dumps({"weights": [1.0]})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(
            (f"more{end}", b"")
            for end in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".joblib", ".npy", ".py", ".so", ".PT")
        ),
        ("vocab.txt", PICKLED),
        ("more.json", b"PK\x03\x04" + PICKLED),
    ],
)
def test_what_could_run_code_is_refused_whatever_the_manifest_says(name: str, content: bytes, tmp_path: Path) -> None:
    """Whoever makes an artifact seals it too. A zip may be a PyTorch file, which holds a pickle."""
    (tmp_path / "artifact.json").write_text("{}")
    (tmp_path / name).write_bytes(content)
    seal(tmp_path)
    with pytest.raises(ArtifactError, match=f"'{name}', which could run code"):
        verify(tmp_path)


def test_tensors_may_begin_as_they_like(tmp_path: Path) -> None:
    """Safetensors begin with the length of their description: here one that looks like a pickle's first bytes."""
    length = 0x0280
    description = json.dumps({"__metadata__": {"a": "x" * (length - 27)}}).encode()
    assert len(description) == length
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + description)
    assert load_file(tmp_path / "model.safetensors") == {}
    assert not could_run_code(tmp_path / "model.safetensors")


def test_the_proof_runs_in_a_fresh_process_and_sees_a_difference(tiny_model_folder: Path, tmp_path: Path) -> None:
    predictor, encoder = trained(tiny_model_folder, "tokens_casing", "full")
    examples = TASK_CASES["tokens_casing"][1]
    save_artifact(tmp_path / "artifact", torch_model(predictor), predictor.task, encoder, ORIGIN, "")
    proof = prove_reload(predictor, tmp_path / "artifact", examples)
    assert (proof.texts, proof.largest_difference) == (len(examples), 0.0)
    with torch.no_grad():
        next(predictor.model.head.parameters()).add_(1e-3)
    with pytest.raises(ArtifactError, match="differ"):
        prove_reload(predictor, tmp_path / "artifact", examples)


def test_a_proof_that_was_stopped_from_outside_is_no_fault_of_the_artifact(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, encoder = trained(tiny_model_folder, "single_label", "full")
    save_artifact(tmp_path / "artifact", torch_model(predictor), predictor.task, encoder, ORIGIN, "")
    stopped = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr("tunesmith.inference.parity.subprocess.run", lambda *_command, **_options: stopped)
    with pytest.raises(ResourceError, match="stopped by signal 9"):
        prove_reload(predictor, tmp_path / "artifact", TASK_CASES["single_label"][1])


def test_logits_that_are_no_numbers_prove_nothing(tiny_model_folder: Path, tmp_path: Path) -> None:
    predictor, encoder = trained(tiny_model_folder, "single_label", "full")
    with torch.no_grad():
        predictor.model.head.get_parameter("output.bias").fill_(float("nan"))
    save_artifact(tmp_path / "artifact", torch_model(predictor), predictor.task, encoder, ORIGIN, "")
    with pytest.raises(ArtifactError, match="differ by up to inf"):
        prove_reload(predictor, tmp_path / "artifact", TASK_CASES["single_label"][1])
