"""Distillation: the loss of Hinton et al. by a reference of ten lines, its gradients, and teachers that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.builders import TASK_CASES, build_learner, build_material, build_model, folder_of, run_steps
from tests.training.batches import gradients, small
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.ensemble_folder import save_ensemble
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import Batch, SequenceClassification, Task
from tunesmith.tasks.encoding import IGNORED
from tunesmith.training.objectives import Criterion, Distillation, Stack


def teacher(
    folder: Path, model_folder: Path, case: str = "single_label", seed: int = 5, task: Task | None = None
) -> Path:
    """The artifact of a random model."""
    torch.manual_seed(seed)
    given, examples = TASK_CASES[case]
    model, prepared, encoder = build_model(model_folder, task or given, examples)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight))
    save_artifact(folder / f"teacher-{seed}", model, prepared, encoder, Origin("{}", {}, "tiny", {}, seed), "")
    return folder / f"teacher-{seed}"


def reference(student: Tensor, wanted: Tensor, targets: Tensor, alpha: float, warm: float) -> Tensor:
    """Hinton et al. 2015, sec. 2, over class logits [N, C]; targets that do not count are left out of both terms."""
    counted = targets != IGNORED
    student, wanted, targets = student[counted], wanted[counted], targets[counted]
    p, log_q = (wanted / warm).softmax(-1), (student / warm).log_softmax(-1)
    soft = (p * ((wanted / warm).log_softmax(-1) - log_q)).sum(-1).mean()
    hard = functional.cross_entropy(student, targets)
    return (1 - alpha) * hard + alpha * warm**2 * soft


@pytest.mark.parametrize("case", ["single_label", "tokens"])
@pytest.mark.parametrize(("alpha", "warm"), [(0.5, 2.0), (0.1, 1.0), (1.0, 4.0)])
def test_the_loss_equals_the_reference(
    case: str, alpha: float, warm: float, tiny_model_folder: Path, tmp_path: Path
) -> None:
    place = teacher(tmp_path, tiny_model_folder, case)
    model, batch, criterion = small(tiny_model_folder, case)
    objective = Distillation(str(place), alpha, warm)
    objective.check(model, criterion.task)
    found = objective(model, batch, criterion)
    other = Predictor.load(place).model
    assert batch.targets is not None
    assert case == "single_label" or (batch.targets == IGNORED).any(), "there is padding to be masked"
    with torch.no_grad():
        wanted = other(batch)
    logits = model(batch)
    expected = reference(logits.flatten(0, -2), wanted.flatten(0, -2), batch.targets.flatten(), alpha, warm)
    torch.testing.assert_close(found, expected)
    slopes = gradients(model, found)
    for name, slope in gradients(model, expected).items():
        torch.testing.assert_close(slopes[name], slope, atol=1e-6, rtol=1e-4)


def test_t_squared_keeps_the_scale_of_gradients(tiny_model_folder: Path, tmp_path: Path) -> None:
    place = teacher(tmp_path, tiny_model_folder)
    norms = {}
    for warm in (50.0, 100.0, 200.0):
        model, batch, criterion = small(tiny_model_folder)
        objective = Distillation(str(place), 1.0, warm)
        objective.check(model, criterion.task)
        norms[warm] = sum(
            float(slope.pow(2).sum()) for slope in gradients(model, objective(model, batch, criterion)).values()
        )
    assert norms[100.0] == pytest.approx(norms[50.0], rel=0.05)
    assert norms[200.0] == pytest.approx(norms[100.0], rel=0.03)
    # Eq. 4: at a high T the gradient on the logits is that of half the squared distance of centred logits, over C.
    model, batch, criterion = small(tiny_model_folder)
    logits, wanted = (torch.randn(6, 3, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    logits.requires_grad_()
    soft = criterion.divergence(wanted / 1000, logits / 1000, batch, one_way=True) * 1000**2
    (slope,) = torch.autograd.grad(soft, logits)
    centred = (logits - logits.mean(-1, keepdim=True)) - (wanted - wanted.mean(-1, keepdim=True))
    torch.testing.assert_close(slope, centred.detach() / (3 * 6), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("case", ["binary", "multi_label", "regression", "relations", "pairs_cross", "questions"])
def test_a_teacher_that_is_the_model_has_nothing_to_teach(
    case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder_of(case, request), task, examples, dropout=0.0)
    save_artifact(tmp_path / "same", model, task, encoder, Origin("{}", {}, "tiny", {}, 0), "")
    material = build_material(task, encoder, examples)
    batch: Batch = material.batch(range(len(material.encoded)))
    objective = Distillation(str(tmp_path / "same"), 1.0)
    objective.check(model, task)
    loss = objective(model.train(), batch, Criterion(task))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    model.zero_grad()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    assert float(objective(model, batch, Criterion(task)).detach()) > 1e-7


def test_the_teacher_reads_without_dropout_or_gradients_and_never_learns(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    place = teacher(tmp_path, tiny_model_folder)
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, dropout=0.3)
    objective = Distillation(str(place), 1.0)
    learner, material = build_learner(model, objective, low=True), build_material(task, encoder, examples)
    run_steps(learner, material, steps=3, rate=1e-2)
    held = objective._teacher.model
    before = Predictor.load(place).model.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in held.state_dict().items())
    assert not held.training
    assert not any(weight.requires_grad or weight.grad is not None for weight in held.parameters())


def test_a_student_comes_to_answer_as_its_teacher(tiny_model_folder: Path, tmp_path: Path) -> None:
    place = teacher(tmp_path, tiny_model_folder)
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, dropout=0.0)
    learner, material = build_learner(model, Distillation(str(place), 1.0)), build_material(task, encoder, examples)
    steps = run_steps(learner, material, steps=40, rate=5e-3, batch_size=8)
    assert steps[-1].loss < 0.2 * steps[0].loss


def test_an_ensemble_teaches_the_mean_of_its_members_probabilities(tiny_model_folder: Path, tmp_path: Path) -> None:
    members = [teacher(tmp_path, tiny_model_folder, seed=seed) for seed in (5, 6)]
    save_ensemble(tmp_path / "all", members, "probabilities")
    model, batch, criterion = small(tiny_model_folder)
    objective = Distillation(str(tmp_path / "all"), 1.0, 1.0)
    objective.check(model, criterion.task)
    with torch.no_grad():
        mean = torch.stack([Predictor.load(one).model(batch).softmax(-1) for one in members]).mean(0)
    expected = (mean * (mean.log() - model(batch).log_softmax(-1))).sum(-1).mean()
    torch.testing.assert_close(objective(model, batch, criterion), expected)


def test_an_attack_on_the_student_leaves_the_teacher_alone(tiny_model_folder: Path, tmp_path: Path) -> None:
    place = teacher(tmp_path, tiny_model_folder)
    model, batch, criterion = small(tiny_model_folder)
    part = {"name": "distillation", "teacher": str(place)}
    stack = Stack(({"name": "fgm", "epsilon": 1e-6}, part))
    stack.check(model, criterion.task)
    alone = Distillation(str(place))
    alone.check(model, criterion.task)
    torch.testing.assert_close(stack(model, batch, criterion), 2 * alone(model, batch, criterion), rtol=1e-3, atol=1e-4)


def test_teachers_that_do_not_fit_are_refused(
    tiny_model_folder: Path, tiny_inference_folder: Path, tmp_path: Path
) -> None:
    model, _, criterion = small(tiny_model_folder)

    def refused(place: Path, said: str, case: str = "single_label") -> None:
        student, _, asked = (model, None, criterion) if case == "single_label" else small(tiny_model_folder, case)
        with pytest.raises(TrainingError, match=said) as refusal:
            Distillation(str(place)).check(student, asked.task)
        assert refusal.value.to_do

    refused(teacher(tmp_path, tiny_model_folder, "tokens", 1), "is for token_classification")
    labels = SequenceClassification(labels=("good", "bad", "so so"))
    refused(teacher(tmp_path, tiny_model_folder, seed=2, task=labels), "other labels: so so")
    refused(
        teacher(tmp_path, tiny_model_folder, seed=3, task=SequenceClassification(labels=("good", "bad"))), "their order"
    )
    refused(teacher(tmp_path, tiny_model_folder, "binary", 4, SequenceClassification(problem="binary")), "task.problem")
    refused(teacher(tmp_path, tiny_model_folder, "tokens", 6), "task.casing", "tokens_casing")
    members = [teacher(tmp_path, tiny_model_folder, seed=seed) for seed in (7, 8)]
    save_ensemble(tmp_path / "votes", members, "votes")
    refused(tmp_path / "votes", "votes")
    crf, _, asked = small(tiny_model_folder, "tokens_crf")
    with pytest.raises(TrainingError, match="whole sequences"):
        Distillation(str(members[0])).check(crf, asked.task)


def test_a_teacher_with_another_tokenizer_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    place = teacher(tmp_path, tiny_model_folder)
    model, _, criterion = small(tiny_model_folder)
    objective = Distillation(str(place))
    objective._teacher.encoder.tokenizer.add_tokens(["tunesmith"])
    with pytest.raises(TrainingError, match="another tokenizer"):
        objective.check(model, criterion.task)


def test_windows_that_the_teacher_cannot_read_are_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    place = teacher(tmp_path, tiny_model_folder)
    model, batch, criterion = small(tiny_model_folder)
    objective = Distillation(str(place))
    objective.check(model, criterion.task)
    objective.__dict__["_teacher"].encoder = replace(objective._teacher.encoder, max_length=2)
    with pytest.raises(TrainingError, match="the teacher reads at most 2"):
        objective(model, batch, criterion)


@pytest.mark.parametrize("settings", [{}, {"teacher": "t", "alpha": 0.0}, {"teacher": "t", "alpha": 1.5}])
def test_settings_without_meaning_are_refused(settings: dict) -> None:
    with pytest.raises(RecipeError):
        Distillation(**settings)
    with pytest.raises(RecipeError, match="temperature"):
        Distillation("t", temperature=0.0)
