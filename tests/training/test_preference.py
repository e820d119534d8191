"""DPO: its loss and gradient are those of the paper, and its reference is the model before training."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.builders import CLASSES, DIALOGUES, build_learner, build_material, build_model, run_steps
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import Full, LoRA, Method
from tunesmith.tasks import SequenceClassification, TextGeneration
from tunesmith.training.objectives import DPO, Criterion
from tunesmith.training.objectives.preference import margins

TASK = TextGeneration(preference=True, answers=False)


@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("method", [Full(), LoRA()], ids=["full", "lora"])
def test_before_the_first_step_there_is_no_margin(method: Method, low: bool, tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TASK, DIALOGUES, method)
    objective = DPO()
    learner = build_learner(model, objective, low=low)
    (step,) = run_steps(learner, build_material(task, encoder, DIALOGUES), steps=1, rate=1e-3, batch_size=8)
    assert step.loss == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_gradient_are_those_of_the_paper(smoothing: float, tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TASK, DIALOGUES)
    reference, _, _ = build_model(tiny_llama_folder, TASK, DIALOGUES)
    objective = DPO(beta=0.3, label_smoothing=smoothing)
    objective.check(model, task)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    batch = task.collate([task.encode(example, encoder) for example in DIALOGUES], 0)
    loss = objective(model, batch, Criterion(task))
    loss.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()

    def log_probability(body: torch.nn.Module, piece: int, row: int) -> torch.Tensor:
        encoded = task.encode(DIALOGUES[row], encoder).pieces[piece]
        ids = torch.tensor([encoded.input_ids.tolist()])
        logs = body(input_ids=ids).logits[0].log_softmax(-1)
        return sum((logs[p, ids[0, p + 1]] for p in encoded.unit_positions.tolist()), torch.zeros(()))

    total = torch.zeros(())
    for row in range(len(DIALOGUES)):
        better, worse = (log_probability(model.body, part, row) for part in (0, 1))
        with torch.no_grad():
            old_better, old_worse = (log_probability(reference.body, part, row) for part in (0, 1))
        logit = 0.3 * ((better - old_better) - (worse - old_worse))
        total = total - (1 - smoothing) * logit.sigmoid().log() - smoothing * (-logit).sigmoid().log()
    expected = total / len(DIALOGUES)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss.item() != pytest.approx(math.log(2), rel=1e-3)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-5, rtol=1e-3)


def test_the_reference_pass_leaves_the_model_as_it_was(tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TASK, DIALOGUES, LoRA())
    objective = DPO()
    run_steps(build_learner(model, objective), build_material(task, encoder, DIALOGUES), steps=3, rate=1e-2)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    learns = {name: value.requires_grad for name, value in model.named_parameters()}
    model.train()
    batch = task.collate([task.encode(example, encoder) for example in DIALOGUES], 0)
    objective(model, batch, Criterion(task)).backward()
    assert model.training
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])
        assert value.requires_grad == learns[name]
        assert (value.grad is not None) == learns[name]


def test_the_margin_and_the_accuracy_rise(tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TASK, DIALOGUES, LoRA())
    predictor = Predictor(model, task, encoder)

    def measured() -> dict[str, float]:
        return {one.name: one.value() for one in task.measures(DIALOGUES, predictor.predict(DIALOGUES))}

    before = measured()
    run_steps(build_learner(model, DPO()), build_material(task, encoder, DIALOGUES), steps=30, rate=1e-2, batch_size=8)
    after = measured()
    assert after["margin"] > before["margin"] + 1
    assert after["preference_accuracy"] >= before["preference_accuracy"]
    batch = task.collate([task.encode(example, encoder) for example in DIALOGUES], 0)
    model.eval()
    assert margins(model, batch).mean().item() == pytest.approx(after["margin"], rel=1e-4)


def test_without_pairs_it_is_refused(tiny_model_folder: Path, tiny_llama_folder: Path) -> None:
    classifier, _, _ = build_model(tiny_model_folder, SequenceClassification(), CLASSES)
    writer, _, _ = build_model(tiny_llama_folder, TextGeneration(), DIALOGUES)
    for model, task in ((classifier, SequenceClassification()), (writer, TextGeneration())):
        with pytest.raises(TrainingError, match="better and a worse answer") as error:
            DPO().check(model, task)
        assert "preference: true" in error.value.to_do


@pytest.mark.parametrize("settings", [{"beta": 0.0}, {"label_smoothing": 0.5}, {"label_smoothing": -0.1}])
def test_settings_without_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        DPO(**settings)
