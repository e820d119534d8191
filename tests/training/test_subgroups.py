"""Group DRO and IRM against hand computation, whatever the cut of a step, and after a stop."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from tests.builders import CLASSES, TASK_CASES, build_learner, build_material, build_model, run_steps
from tests.training.batches import gradients
from tunesmith.data.records import Example
from tunesmith.data.subgroups import Subgroups
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, SequenceClassification
from tunesmith.training.averaging import Average, NoAveraging
from tunesmith.training.batching import StepPlan
from tunesmith.training.checkpoint import Progress, Stateful, restore, save_checkpoint
from tunesmith.training.loop import Material, Scheduled, train
from tunesmith.training.objectives import IRM, L2SP, SMART, GroupDRO, SimCSE, Stack
from tunesmith.training.objectives.contrastive import view_contrast
from tunesmith.training.objectives.memory import memory_of
from tunesmith.training.objectives.subgroups import Shares
from tunesmith.training.optimizer import Schedule

GROUPS = Subgroups(("a", "b"), (9, 4))


def whole(folder: Path, case: str = "single_label") -> tuple[Model, Material, Batch]:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder, task, examples, dropout=0.0)
    material = build_material(task, encoder, examples)
    return model.train(), material, material.batch(range(len(examples)))


def shares_of(losses: list[list[float]], *, adjustment: float) -> Shares:
    """The shares after steps with these losses of four examples, of which the third alone is of subgroup b."""
    shares = Shares(SequenceClassification(), GROUPS, step_size=0.5, adjustment=adjustment)
    empty = torch.zeros(4, 1, dtype=torch.long)
    batch = Batch(empty, empty, None, empty, empty.bool(), torch.arange(4), None, 4, 4.0)
    batch = replace(batch, subgroups=torch.tensor([0, 0, 1, 0]))
    for step in losses:
        shares.before([batch])
        shares.weighed(torch.tensor(step), batch)
        shares.after()
    return shares


@pytest.mark.parametrize("adjustment", [0.0, 2.0])
def test_the_shares_of_group_dro_equal_hand_computation_over_three_steps(adjustment: float) -> None:
    q = [0.5, 0.5]
    steps = [[1.0, 2.0, 5.0, 3.0], [0.5, 0.5, 4.0, 2.0], [0.1, 0.2, 0.1, 0.3]]
    for one, two, three, four in steps:
        means = [(one + two + four) / 3, three]
        raised = [q[g] * math.exp(0.5 * (means[g] + adjustment / math.sqrt(GROUPS.sizes[g]))) for g in range(2)]
        q = [value / sum(raised) for value in raised]
    found = shares_of(steps, adjustment=adjustment)
    assert found.q.tolist() == pytest.approx(q, abs=1e-7)
    assert found.noted()["share of b"] == pytest.approx(q[1])
    assert found.noted()["loss of a"] == pytest.approx(0.2)


def test_a_subgroup_that_a_step_lacks_keeps_its_share_relative_to_no_gain() -> None:
    shares = Shares(SequenceClassification(), GROUPS, step_size=0.5, adjustment=1.0)
    empty = torch.zeros(2, 1, dtype=torch.long)
    batch = Batch(empty, empty, None, empty, empty.bool(), torch.arange(2), None, 2, 2.0)
    batch = replace(batch, subgroups=torch.tensor([0, 0]))
    shares.before([batch])
    loss = shares.weighed(torch.tensor([1.0, 3.0]), batch)
    assert float(loss) == pytest.approx(0.5 * 2.0)
    shares.after()
    raised = 0.5 * math.exp(0.5 * (2.0 + 1 / 3))
    assert float(shares.q[0]) == pytest.approx(raised / (raised + 0.5))


def test_group_dro_is_the_sum_of_the_subgroups_means_each_with_its_share(tiny_model_folder: Path) -> None:
    model, material, batch = whole(tiny_model_folder)
    objective = GroupDRO()
    memory = objective.memory(model, material.task, material.subgroups)
    memory.q = torch.tensor([0.3, 0.7], dtype=torch.float64)
    memory.before([batch])
    found = objective(model, batch, material.criterion)
    assert batch.subgroups is not None
    losses = material.criterion.losses(model, model(batch), batch)
    wanted = sum(share * losses[batch.subgroups == g].mean() for g, share in enumerate((0.3, 0.7)))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("case", ["single_label", "tokens_casing"])
def test_how_a_step_is_cut_changes_nothing_for_group_dro(case: str, tiny_model_folder: Path) -> None:
    found = []
    for batch_size, accumulate in ((8, 1), (2, 4)):
        model, material, _ = whole(tiny_model_folder, case)
        learner = build_learner(model, GroupDRO(step_size=0.5))
        steps = run_steps(learner, material, steps=3, rate=1e-2, batch_size=batch_size, accumulate=accumulate)
        found.append(steps)
    for one, other in zip(*found, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert dict(one.noted) == pytest.approx(dict(other.noted), rel=1e-4)


def test_irm_equals_a_reference_by_autograd(tiny_model_folder: Path) -> None:
    model, material, batch = whole(tiny_model_folder)
    objective = IRM(weight=3.0)
    memory = objective.memory(model, material.task, material.subgroups)
    memory.before([batch])
    found = gradients(model, objective(model, batch, material.criterion))
    assert batch.subgroups is not None
    assert batch.targets is not None
    logits = model(batch)
    total: Tensor = torch.zeros(())
    for group in (0, 1):
        inside = batch.subgroups == group
        w = torch.tensor(1.0, requires_grad=True)
        risk = torch.nn.functional.cross_entropy(logits[inside] * w, batch.targets[inside])
        (slope,) = torch.autograd.grad(risk, w, create_graph=True)
        total = total + 0.5 * risk + 3.0 * 0.5 * slope**2
    wanted = gradients(model, total / 3.0)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4)


def test_before_its_time_the_penalty_of_irm_weighs_at_most_one(tiny_model_folder: Path) -> None:
    model, material, batch = whole(tiny_model_folder)
    found = []
    for objective in (IRM(weight=50.0, anneal=1), IRM(weight=1.0)):
        memory = objective.memory(model, material.task, material.subgroups)
        memory.before([batch])
        found.append(float(objective(model, batch, material.criterion).detach()))
        memory.after()
        found.append(float(objective(model, batch, material.criterion).detach()))
    assert found[0] == found[2] == found[3] != found[1]


@pytest.mark.parametrize(
    "objective",
    [
        GroupDRO(step_size=0.3),
        IRM(weight=5.0, anneal=2),
        Stack(("l2_sp", "group_dro")),
        SMART(proximal=2.0, momentum=0.5),
        Stack(("l2_sp", {"name": "smart", "proximal": 2.0, "momentum": 0.5})),
    ],
    ids=repr,
)
def test_a_stopped_run_goes_on_to_the_same_bits(objective: object, tiny_model_folder: Path, tmp_path: Path) -> None:
    def steps(stop: int) -> list[Tensor]:
        made = replace(objective)  # type: ignore[type-var]
        torch.manual_seed(0)
        model, material, _ = whole(tiny_model_folder)
        learner = build_learner(model, made)  # type: ignore[arg-type]
        made.check(model, material.task)  # type: ignore[attr-defined]
        plan = StepPlan(material.encoded, 4, 4, 1, 4096, seed=3)
        rate = Scheduled(1e-2, Schedule("constant", 0.0), plan.total)
        learning = learner.weights.learning()
        remembered = memory_of(made, model, material.task, material.subgroups)
        average = Average(NoAveraging(), learning, plan.total)
        states = Stateful(learner.optimizer, None, average, remembered)
        begin = 0
        if (tmp_path / "step-00000003").exists() and not stop:
            restore(tmp_path / "step-00000003", learning, states)
            learner.weights.publish()
            begin = 3
        for step in train(learner, material, plan.steps(begin), rate, Accelerator(cpu=True)):
            if step.number == stop:
                save_checkpoint(tmp_path, learning, states, Progress(step=step.number))
                break
        assert states.memory is not None
        return [*(value.detach().clone() for value in learning.values()), *states.memory.state().values()]

    unbroken = steps(0)
    steps(3)
    resumed = steps(0)
    assert all(torch.equal(one, other) for one, other in zip(unbroken, resumed, strict=True))


def test_l2_sp_over_group_dro_adds_its_penalty(tiny_model_folder: Path) -> None:
    model, material, batch = whole(tiny_model_folder)
    stack, single, alone = Stack(({"name": "l2_sp", "beta": 2.0}, "group_dro")), L2SP(beta=2.0), GroupDRO()
    values = []
    for objective in (stack, single, alone):
        objective.check(model, material.task)
        memory = memory_of(objective, model, material.task, material.subgroups)
        if memory is not None:
            memory.before([batch])
    values = [objective(model, batch, material.criterion).detach() for objective in (stack, alone)]
    torch.testing.assert_close(values[0], values[1] + single.penalty(model).detach())


@pytest.mark.parametrize("objective", [GroupDRO(), IRM()])
@pytest.mark.parametrize(
    ("subgroups", "said"), [(None, "the recipe names none"), (Subgroups(("x=1",), (8,)), "all .* of one: x=1")]
)
def test_fewer_than_two_subgroups_are_refused(
    objective: GroupDRO | IRM, subgroups: Subgroups | None, said: str, tiny_model_folder: Path
) -> None:
    model, material, _ = whole(tiny_model_folder)
    with pytest.raises(TrainingError, match=said):
        objective.memory(model, material.task, subgroups)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: GroupDRO(step_size=0.0), "step_size"),
        (lambda: GroupDRO(adjustment=-1.0), "adjustment"),
        (lambda: IRM(weight=0.0), "weight"),
        (lambda: IRM(anneal=-1), "anneal"),
        (lambda: SimCSE(temperature=0.0), "temperature"),
    ],
)
def test_settings_without_sense_are_refused(make: object, setting: str) -> None:
    with pytest.raises(RecipeError) as error:
        make()  # type: ignore[operator]
    assert error.value.where == f"objective.{setting}"


def test_an_example_belongs_to_the_subgroup_of_its_values() -> None:
    examples = [Example(str(n), "text", subgroup="xy"[n % 3 > 0]) for n in range(6)]
    assert Subgroups.of(examples) == Subgroups(("x", "y"), (2, 4))
    assert Subgroups.of(CLASSES) is None


# SimCSE
def test_the_contrast_of_views_equals_a_reference() -> None:
    one, other = (torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    losses = []
    for i in range(4):
        cosines = [float(one[i] @ other[j] / (one[i].norm() * other[j].norm())) / 0.1 for j in range(4)]
        losses.append(np.log(np.exp(cosines).sum()) - cosines[i])
    assert float(view_contrast(one, other, 0.1)) == pytest.approx(float(np.mean(losses)), rel=1e-5)


def test_simcse_without_dropout_before_the_vector_is_refused(tiny_model_folder: Path) -> None:
    model, material, _ = whole(tiny_model_folder)
    with pytest.raises(TrainingError, match="this model has none"):
        SimCSE().check(model, material.task)
