"""The loop: the same step however it is cut, adversarial steps that are what they say, and no silent NaN."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders import TASK_CASES, WITHIN_A_BATCH, build_learner, build_material, build_model, folder_of, run_steps
from tunesmith.errors import ResourceError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import Batch, TextEncoder
from tunesmith.training.objectives import FGM, Criterion
from tunesmith.training.optimizer import SGD


def fresh(folder: Path, case: str) -> tuple[Model, Task, TextEncoder]:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    return build_model(folder, task, examples, dropout=0.0)


@pytest.mark.parametrize("case", [case for case in TASK_CASES if case not in WITHIN_A_BATCH])
def test_the_gradient_norm_does_not_depend_on_how_a_step_is_cut(case: str, request: pytest.FixtureRequest) -> None:
    examples = TASK_CASES[case][1]
    norms = []
    for batch_size, accumulate in ((8, 1), (2, 4), (1, 8)):
        model, task, encoder = fresh(folder_of(case, request), case)
        learner = build_learner(model, optimizer=SGD())
        (step,) = run_steps(
            learner,
            build_material(task, encoder, examples),
            steps=1,
            rate=0.0,
            batch_size=batch_size,
            accumulate=accumulate,
        )
        norms.append(step.gradient_norm)
    assert norms[1:] == pytest.approx([norms[0]] * 2, rel=1e-5)


def test_a_loss_that_is_no_number_names_the_step_and_its_examples(tiny_model_folder: Path) -> None:
    examples = TASK_CASES["single_label"][1]
    model, task, encoder = fresh(tiny_model_folder, "single_label")
    with torch.no_grad():
        model.head.get_parameter("output.weight").fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is not a finite number") as error:
        run_steps(build_learner(model), build_material(task, encoder, examples), steps=1, rate=1e-3)
    assert "step 1, epoch 1, examples" in error.value.where


def test_clipping_bounds_the_step(tiny_model_folder: Path) -> None:
    examples = TASK_CASES["single_label"][1]
    model, task, encoder = fresh(tiny_model_folder, "single_label")
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    learner = build_learner(model, optimizer=SGD(momentum=0.0), clip=0.01)
    (step,) = run_steps(learner, build_material(task, encoder, examples), steps=1, rate=1.0, batch_size=8)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert step.gradient_norm > 0.01
    # Weight decay of 0.01 moves the matrices too; without it the step's length is the clipped norm.
    assert float((after - before * 0.99).norm()) < float(before.norm()) * 0.02 + 0.02


def test_fgm_steps_along_the_gradient_with_its_norm() -> None:
    gradient = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    step = FGM(epsilon=0.7).perturbation(gradient, mask)
    assert torch.allclose(step.flatten(1).norm(dim=1), torch.tensor([0.7, 0.7]))
    assert torch.equal(step[0, 3:], torch.zeros(2, 4))
    cosine = torch.nn.functional.cosine_similarity((gradient * mask[:, :, None]).flatten(1), step.flatten(1))
    assert torch.allclose(cosine, torch.ones(2))


def test_fgm_raises_the_loss_and_leaves_no_hook(tiny_model_folder: Path) -> None:
    examples = TASK_CASES["single_label"][1]
    model, task, encoder = fresh(tiny_model_folder, "single_label")
    material = build_material(task, encoder, examples)
    batch = material.batch(range(len(examples)))
    table = model.word_embeddings.get_parameter("weight").detach().clone()
    clean = float(material.criterion(model, batch).detach())
    both = float(FGM(epsilon=0.5)(model, batch, material.criterion).detach())
    assert both - clean > clean
    assert torch.equal(model.word_embeddings.get_parameter("weight"), table)
    assert not model.word_embeddings._forward_hooks


def test_bf16_trains_to_nearly_the_same_loss_and_keeps_fp32_weights(tiny_model_folder: Path) -> None:
    examples = TASK_CASES["single_label"][1]
    losses = []
    for low in (False, True):
        model, task, encoder = fresh(tiny_model_folder, "single_label")
        learner = build_learner(model, low=low)
        steps = run_steps(learner, build_material(task, encoder, examples), steps=10, rate=1e-3, batch_size=8)
        losses.append(steps[-1].loss)
        learner.weights.finish()
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_too_little_memory_says_what_would_help(tiny_model_folder: Path) -> None:
    class Hungry:
        def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> torch.Tensor:
            return torch.empty(1 << 50)

        def check(self, model: Model, task: Task) -> None:
            pass

    examples = TASK_CASES["single_label"][1]
    model, task, encoder = fresh(tiny_model_folder, "single_label")
    with pytest.raises(ResourceError, match="not enough memory") as error:
        run_steps(build_learner(model, Hungry()), build_material(task, encoder, examples), steps=1, rate=1e-3)
    assert "4 windows of" in error.value.to_do
