"""Models with merged adapters, pruned or with fewer pieces: each form of these answers alike, and damage is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders import CLASSES, QUESTIONS, SPANS, build_model
from tests.compression.test_pruning import KEPT
from tests.compression.workbench import save, workshop_of
from tests.inference.test_forms import damage
from tunesmith.compression import Trained, Vocabulary
from tunesmith.compression.pruning import cut_out
from tunesmith.compression.trained import batches_of
from tunesmith.data.records import Example
from tunesmith.inference.adapters import learnt_weights
from tunesmith.inference.artifact import ADAPTER, WEIGHTS, Origin, load_artifact, save_artifact, seal
from tunesmith.inference.form_parity import FormCheck, compare_forms
from tunesmith.inference.forms import add_form
from tunesmith.methods import METHODS
from tunesmith.models.shapes import Shape, shape_of
from tunesmith.tasks import QuestionAnswering, SequenceClassification, Task, TokenClassification

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TASKS: dict[str, tuple[Task, Sequence[Example]]] = {
    "classification": (SequenceClassification(), CLASSES),
    "entities": (TokenClassification(casing=False), SPANS),
    "questions": (QuestionAnswering(stride=16), QUESTIONS),
}


def untrained(folder: Path, task: Task, examples: Sequence[Example]) -> Trained:
    """A tiny model with a head whose answers differ."""
    torch.manual_seed(1)
    model, prepared, encoder = build_model(folder, task, examples)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight))
    return Trained(model.eval(), prepared, encoder)


def merged(folder: Path, place: Path, task: Task, examples: Sequence[Example]) -> Path:
    """The artifact of a model whose LoRA matrices were merged, as a run writes it."""
    torch.manual_seed(1)
    method = METHODS["lora"]()
    model, prepared, encoder = build_model(folder, task, examples, method)
    with torch.no_grad():
        for weight in (*model.head.parameters(), *(one for name, one in model.named_parameters() if "lora_" in name)):
            weight.add_(0.3 * torch.randn_like(weight))
    adapter = learnt_weights(model)
    method.merge(model.eval())
    origin = Origin("{}", {}, "tiny", {}, 1, {"name": "lora"}, str(folder), adapter)
    save_artifact(place, model, prepared, encoder, origin, "")
    assert (place / ADAPTER).is_file()
    assert not any("lora_" in name for name in load_file(place / WEIGHTS))
    return place


def pruned(folder: Path, place: Path, task: Task, examples: Sequence[Example]) -> Path:
    """The artifact of a model whose layers have unlike numbers of heads and neurons."""
    trained = untrained(folder, task, examples)
    for part, kept in KEPT.items():
        cut_out(trained, list(batches_of(trained, examples)), part, kept)
    assert shape_of(load_artifact(save(trained, place)).model.body) == Shape(((1,), (0, 2, 3)), (16, 2))
    return place


def trimmed(folder: Path, place: Path, task: Task, examples: Sequence[Example]) -> Path:
    """The artifact of a model that has lost the pieces of all scripts but one."""
    trained = untrained(folder, task, examples)
    size = len(trained.encoder.tokenizer)
    made = Vocabulary(scripts=("Latin",)).compress(trained, workshop_of(trained, examples, place.parent)).trained
    assert len(made.encoder.tokenizer) < size - 100
    return save(made, place)


Maker = Callable[[Path, Path, Task, Sequence[Example]], Path]
CASES = [
    pytest.param(task, maker, marks=() if number % 4 == 0 else pytest.mark.slow, id=f"{task}-{maker.__name__}")
    for number, (task, maker) in enumerate((task, maker) for task in TASKS for maker in (merged, pruned, trimmed))
]


@pytest.mark.parametrize(("name", "maker"), CASES)
def test_every_form_of_a_changed_model_answers_alike_and_damage_is_seen(
    name: str, maker: Maker, tiny_model_folder: Path, tmp_path: Path
) -> None:
    task, examples = TASKS[name]
    place = maker(tiny_model_folder, tmp_path / "artifact", task, examples)
    asked = [replace(one, label=None) for one in examples]
    loaded = load_artifact(place)
    add_form(place, loaded, "onnx")
    add_form(place, loaded, "onnx-int8")
    checks = compare_forms([place], asked, tolerance=0.5, reload=True)
    assert [(check.form, check.problems, check.reloaded) for check in checks] == [
        ("torch", (), 0.0),
        ("onnx", (), 0.0),
        ("onnx-int8", (), 0.0),
    ]

    def problems() -> dict[str, str]:
        seal(place)
        found: Sequence[FormCheck] = compare_forms([place], asked, tolerance=0.5, reload=False)
        return {check.form: "; ".join(check.problems) for check in found}

    damage(place / "model.onnx")
    turn(place / "model-int8.onnx")
    said = problems()
    assert "its logits differ" in said["onnx"]
    assert "its logits" in said["onnx-int8"]
    assert not said["torch"]
    # Of torch's weights, once they are damaged, the others were not made.
    weights = load_file(place / WEIGHTS)
    weights["head.output.bias"] += 1
    save_file(weights, place / WEIGHTS)
    assert all("other weights" in said for form, said in problems().items() if form != "torch")


def test_a_model_without_pieces_that_no_text_has_answers_as_before_and_so_do_its_forms(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    task, examples = TASKS["classification"]
    place = trimmed(tiny_model_folder, tmp_path / "artifact", task, examples)
    add_form(place, load_artifact(place), "onnx")
    checks = compare_forms([tmp_path / "original", place], examples, tolerance=0.0, reload=False)
    assert [(check.form, check.problems) for check in checks] == [("torch", ()), ("torch", ()), ("onnx", ())]


def turn(path: Path) -> None:
    """Turn the matrices in 8 bits about."""
    graph = onnx.load(path)
    for codes in graph.graph.initializer:
        if codes.data_type == onnx.TensorProto.INT8 and len(codes.dims) == 2:
            numbers = onnx.numpy_helper.to_array(codes)
            codes.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(-numbers[::-1]), codes.name))
    onnx.save(graph, path)
