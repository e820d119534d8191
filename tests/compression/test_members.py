"""What every compressor must do: make a model that answers, reloads to the same logits, and may be trained again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.builders import CLASSES, SPANS, build_learner, build_material, build_model, run_steps
from tests.compression.workbench import save, trained_model, workshop_of
from tests.inference.causal_artifacts import causal_artifact
from tunesmith.components import build, name_of, settings_of
from tunesmith.compression import COMPRESSORS, Converting, Distill, Int8, Lesson, Shrinking, Sparsity, WeightOnly
from tunesmith.compression.sparsity import Ramp, lowest, matrices, share_at
from tunesmith.compression.trained import Trained, batches_of
from tunesmith.errors import ModelError, RecipeError, TrainingError
from tunesmith.inference.artifact import WEIGHTS, load_artifact
from tunesmith.inference.graph_network import GraphNetwork
from tunesmith.inference.predictor import Predictor
from tunesmith.models.anatomy import number_of_layers
from tunesmith.models.weight_only import Held
from tunesmith.tasks import SequenceClassification, Task, TokenClassification
from tunesmith.trade_offs import parameters_in
from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives.distillation import Distillation
from tunesmith.training.objectives.within import attention_distance, looked_into, state_distance, uniform

TASKS: dict[str, tuple[Task, list]] = {
    "classes": (SequenceClassification(), CLASSES),
    "spans": (TokenClassification(casing=True), SPANS),
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_member_is_built_from_its_settings(name: str) -> None:
    step = build(COMPRESSORS, name)
    assert build(COMPRESSORS, {"name": name, **settings_of(step)}) == step
    assert name_of(COMPRESSORS, step) == name
    assert isinstance(step, Shrinking) != isinstance(step, Converting)


@pytest.mark.parametrize("case", TASKS)
@pytest.mark.parametrize("name", [name for name, kind in COMPRESSORS.items() if issubclass(kind, Shrinking)])
def test_a_compressed_model_answers_reloads_and_learns_on(
    name: str, case: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    task, examples = TASKS[case]
    trained = trained_model(tiny_model_folder, task, examples)
    workshop = workshop_of(trained, examples, tmp_path)
    before = sum(int((p != 0).sum()) for p in trained.model.parameters())
    step = COMPRESSORS[name]()
    step.check(trained.model, trained.task)
    assert isinstance(step, Shrinking)
    made = step.compress(trained, workshop)
    assert sum(int((p != 0).sum()) for p in made.trained.model.parameters()) < before or name == "vocabulary"
    assert made.notes
    ours = Predictor(made.trained.model.eval(), made.trained.task, made.trained.encoder)
    folder = save(made.trained, tmp_path / "small")
    served = Predictor.load(folder)
    for one, other in zip(ours.logits(ours.encode(examples)), served.logits(served.encode(examples)), strict=True):
        assert torch.equal(one, other)
    assert len(served.predict(examples)) == len(examples)
    again, prepared, encoder = build_model(folder, task, examples)
    assert len(run_steps(build_learner(again), build_material(prepared, encoder, examples), steps=1, rate=1e-3)) == 1


@pytest.mark.parametrize("case", TASKS)
@pytest.mark.parametrize("calibrate", [0, 4])
def test_a_model_in_8_bits_answers_from_a_folder_without_torch_weights(
    calibrate: int, case: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    task, examples = TASKS[case]
    trained = trained_model(tiny_model_folder, task, examples)
    workshop, whole = workshop_of(trained, examples, tmp_path), save(trained, tmp_path / "whole")
    step = Int8(calibrate)
    step.check(trained.model, trained.task)
    notes = step.convert(whole, workshop, tmp_path / "small")
    assert ("4 training texts" in notes[0]) == bool(calibrate)
    served = Predictor.load(tmp_path / "small")
    assert isinstance(served.model, GraphNetwork)
    assert not (tmp_path / "small" / "model.safetensors").exists()
    assert len(served.predict(examples)) == len(examples)
    ours = Predictor(trained.model, trained.task, trained.encoder)
    for one, other in zip(ours.logits(ours.encode(examples)), served.logits(served.encode(examples)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.1)


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_a_language_model_in_few_bits_is_smaller_and_answers(
    bits: Held, tiny_model_folder: Path, tmp_path: Path
) -> None:
    whole, small = causal_artifact(tmp_path), tmp_path / "small"
    loaded = load_artifact(whole)
    step = WeightOnly(bits)
    step.check(loaded.model, loaded.task)
    unused = workshop_of(trained_model(tiny_model_folder, SequenceClassification(), CLASSES), CLASSES, tmp_path)
    (note,) = step.convert(whole, unused, small)
    assert bits in note
    assert (small / WEIGHTS).stat().st_size < 0.6 * (whole / WEIGHTS).stat().st_size
    assert parameters_in(whole) == parameters_in(small) > 0
    assert isinstance(Predictor.load(small).predict_texts(["the city"])[0].label, str)
    with pytest.raises(ModelError, match="causal language models"):
        step.check(build_model(tiny_model_folder, SequenceClassification(), CLASSES)[0], SequenceClassification())


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.0), (10, 0.0), (40, 0.6 * (1 - 0.5**3)), (70, 0.6), (99, 0.6)], ids=str
)
def test_the_share_of_zeros_rises_along_a_cube(step: int, share: float) -> None:
    assert share_at(Sparsity(share=0.6, begin=0.1, settled=0.3), step, 100) == pytest.approx(share)


def test_lowest_takes_the_first_of_equal_values() -> None:
    assert lowest(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), 0.25).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("by", ["magnitude", "movement"])
def test_zeros_are_chosen_as_a_plain_reference_chooses_them(by: str, tiny_model_folder: Path) -> None:
    """Four steps of plain gradient descent, beside dense weights, masks and scores kept by hand."""
    model, task, encoder = build_model(tiny_model_folder, SequenceClassification(), CLASSES, dropout=0.0)
    settings = Sparsity(share=0.5, by=by, begin=0.0, settled=0.25)  # type: ignore[arg-type]
    rule = Ramp(settings, model)
    name, weight = next(iter(matrices(model).items()))
    dense, score = weight.detach().clone(), torch.zeros_like(weight)
    (batch,) = batches_of(Trained(model, task, encoder), CLASSES)
    for step in range(4):
        rule.before(step, 4)
        model.zero_grad()
        Criterion(task)(model, batch).backward()
        with torch.no_grad():
            for one in matrices(model).values():
                one -= 0.5 * one.grad  # type: ignore[operator]
            score -= weight.grad * dense  # type: ignore[operator]
            dense -= 0.5 * weight.grad  # type: ignore[operator]
        rule.after(step, 4)
        rank = score if by == "movement" else dense.abs()
        zero = rank.flatten().argsort(stable=True)[: round(share_at(settings, step + 1, 4) * rank.numel())]
        expected = dense.flatten().clone()
        expected[zero] = 0
        torch.testing.assert_close(weight.detach().flatten(), expected, rtol=0, atol=1e-6)
    assert int((weight == 0).sum()) == weight.numel() // 2
    kept = Ramp(settings, model)
    kept.load_state(rule.state())
    assert torch.equal(kept.hidden[name], rule.hidden[name])


def test_a_student_learns_from_the_original_with_states_and_attention(tiny_model_folder: Path, tmp_path: Path) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    workshop = workshop_of(trained, CLASSES, tmp_path)
    lessons: list[Lesson] = []
    teach = workshop.teach

    def noted(taught: Trained, lesson: Lesson) -> None:
        lessons.append(lesson)
        teach(taught, lesson)

    workshop = replace(workshop, teach=noted)
    made = Distill(hidden=1.0, attention=0.1).compress(trained, workshop)
    assert number_of_layers(made.trained.model.body) == 1
    assert lessons[0].objective == Distillation(str(workshop.original), hidden=1.0, attention=0.1)
    assert made.facts["teacher_layers"] == 2
    # What is left of the layers stays when layers were taken out before.
    assert Distill().compress(made.trained, workshop).facts["layers"] == [0]
    assert Distill(1).compress(made.trained, workshop).facts["layers"] == [0]


def test_distances_within_are_those_of_plain_sums(tiny_model_folder: Path, tmp_path: Path) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    other = trained_model(tiny_model_folder, SequenceClassification(), CLASSES, steps=20)
    (batch,) = batches_of(trained, CLASSES)
    with torch.no_grad():
        with looked_into(trained.model, attention=True) as ours:
            trained.model(batch)
        with looked_into(other.model, attention=True) as theirs:
            other.model(batch)
    assert float(state_distance(ours, ours, batch)) == float(attention_distance(ours, ours, batch)) == 0
    expected = 0.0
    for one, two in zip(ours.states, theirs.states, strict=True):
        for row, mask in enumerate(batch.attention_mask.bool()):
            expected += float((one[row][mask] - two[row][mask]).pow(2).mean())
    assert float(state_distance(ours, theirs, batch)) == pytest.approx(expected / (2 * len(CLASSES)), rel=1e-5)
    # The scores are what the body's attention makes its shares of.
    trained.model.body.set_attn_implementation("eager")
    with torch.no_grad():
        shares = trained.model.body(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_attentions=True
        ).attentions[1]
    hidden = ~batch.attention_mask.bool()[:, None, None, :]
    torch.testing.assert_close(
        ours.scores(1).masked_fill(hidden, float("-inf")).softmax(-1), shares, rtol=1e-4, atol=1e-5
    )


def test_layers_are_matched_evenly() -> None:
    assert uniform(3, 6) == [1, 3, 5]
    assert uniform(4, 6) == [1, 2, 4, 5]
    assert uniform(2, 2) == [0, 1]


def test_a_teacher_with_other_heads_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    workshop = workshop_of(trained, CLASSES, tmp_path)
    COMPRESSORS["head_prune"](epochs=0).compress(trained, workshop)  # type: ignore[attr-defined, call-arg]
    with pytest.raises(TrainingError, match="heads in the layers that are matched"):
        Distill(attention=1.0).compress(trained, workshop)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("head_prune", {"share": 0}, "share must lie above 0"),
        ("head_prune", {"rounds": 0}, "rounds must be at least 1"),
        ("head_prune", {"schedule": "cubik"}, "cubic"),
        ("feed_forward_prune", {"epochs": -1}, "epochs must not be negative"),
        ("feed_forward_prune", {"learning_rate": 0.0}, "learning_rate must be a positive"),
        ("layer_drop", {"layers": 2, "keep": [0, 1]}, "the same thing twice"),
        ("layer_drop", {"layers": -1}, "layers must not be negative"),
        ("sparsity", {"share": 1.0}, "below 1"),
        ("sparsity", {"begin": 0.5, "settled": 0.5}, "must leave some between"),
        ("sparsity", {"epochs": 0}, "epochs must be at least 1"),
        ("distill", {"alpha": 2.0}, "alpha must be at most 1"),
        ("distill", {"hidden": -1.0}, "hidden must not be negative"),
        ("distill", {"epochs": 0}, "epochs must be at least 1"),
        ("layer_drp", {}, "Did you mean 'layer_drop'"),
    ],
)
def test_settings_that_make_no_sense(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(COMPRESSORS, {"name": name, **settings}, "compress")
