"""Objectives that move the text's vectors: they stay in their balls, climb, and leave the model as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.builders import (
    build_learner,
)
from tests.training.batches import gradients, small
from tunesmith.errors import RecipeError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch
from tunesmith.training.dropout import use_bit_dropout
from tunesmith.training.objectives import (
    OBJECTIVES,
    PGD,
    SMART,
    VAT,
    Criterion,
    FreeLB,
    Objective,
)
from tunesmith.training.objectives.embeddings import (
    changed_embeddings,
    climb,
    of_length,
    recorded_embeddings,
    shifted_embeddings,
    within,
)
from tunesmith.training.objectives.replay import Replay

PERTURBING = ("fgm", "pgd", "freelb", "smart", "vat", "cutoff")


# What all perturbing objectives share
@pytest.mark.parametrize("name", PERTURBING)
@pytest.mark.parametrize("method", ["full", "prompt_tuning"])
def test_perturbations_leave_no_hook_and_the_table_as_it_was(name: str, method: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, method=method)
    table = model.word_embeddings.get_parameter("weight").detach().clone()
    loss = OBJECTIVES[name]()(model, batch, criterion)
    loss.backward()
    assert torch.equal(model.word_embeddings.get_parameter("weight"), table)
    assert not model.word_embeddings._forward_hooks
    assert math.isfinite(float(loss.detach()))


@pytest.mark.parametrize("name", PERTURBING)
def test_a_pass_that_fails_leaves_no_hook_either(name: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    with pytest.raises(IndexError):
        OBJECTIVES[name]()(model, replace(batch, input_ids=batch.input_ids + 10**6), criterion)
    assert not model.word_embeddings._forward_hooks


@pytest.mark.parametrize("name", ["smart", "vat", "pgd", "freelb"])
@pytest.mark.parametrize("low", [False, True])
def test_the_objective_is_no_smaller_than_the_loss_and_survives_low_precision(
    name: str, low: bool, tiny_model_folder: Path
) -> None:
    model, batch, criterion = small(tiny_model_folder)
    build_learner(model, low=low)
    plain = float(criterion(model, batch).detach())
    objective = OBJECTIVES[name]()
    assert float(objective(model, batch, criterion).detach()) > plain


# PGD
def test_pgd_stays_in_its_ball_and_moves_text_alone(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    objective = PGD(epsilon=0.3, step_size=0.2, steps=4)
    with recorded_embeddings(model) as seen:
        criterion(model, batch)
    step = objective.perturbation(model, batch, criterion, seen[0], Replay.now(model.device))
    mask = criterion.text_mask(batch, step.shape[1])
    assert float(step.flatten(1).norm(dim=1).max()) <= 0.3 + 1e-6
    assert float(step.flatten(1).norm(dim=1).min()) > 0.2
    assert not step[~mask].any()


def test_one_step_of_pgd_is_a_step_along_the_gradient(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    with recorded_embeddings(model) as seen:
        clean = criterion(model, batch)
    (gradient,) = torch.autograd.grad(clean, seen)
    step = PGD(epsilon=1.0, step_size=0.2, steps=1).perturbation(
        model, batch, criterion, seen[0], Replay.now(model.device)
    )
    expected = of_length(gradient, criterion.text_mask(batch, step.shape[1]), 0.2)
    torch.testing.assert_close(step, expected, atol=1e-6, rtol=1e-4)


def test_more_steps_of_pgd_find_a_higher_loss_under_the_same_dropout(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.2)
    losses = []
    for steps in (1, 6):
        torch.manual_seed(5)
        losses.append(float(PGD(epsilon=2.0, step_size=0.5, steps=steps)(model, batch, criterion).detach()))
    assert losses[1] > losses[0]


# FreeLB
@pytest.mark.parametrize("bits", [False, True])
def test_freelb_in_a_ball_of_no_size_is_plain_training_bit_for_bit(bits: bool, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.3)
    if bits:
        use_bit_dropout(model)
    found, losses = [], []
    for objective in (OBJECTIVES["task"](), FreeLB(steps=1, epsilon=0.0)):
        torch.manual_seed(7)
        loss = objective(model, batch, criterion)
        losses.append(float(loss.detach()))
        found.append(gradients(model, loss))
    assert losses[0] == losses[1]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("bits", [False, True])
def test_freelb_drops_the_same_units_at_every_step(bits: bool, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.3)
    if bits:
        use_bit_dropout(model)
    torch.manual_seed(7)
    plain = float(criterion(model, batch).detach())
    torch.manual_seed(7)
    # In a ball of no size each step computes the same loss, unless it drops other units.
    assert float(FreeLB(steps=3, epsilon=0.0)(model, batch, criterion).detach()) == pytest.approx(plain, rel=1e-6)


def test_the_gradient_of_freelb_is_the_mean_of_those_along_its_way(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    objective = FreeLB(steps=3, epsilon=0.5, step_size=0.2)
    torch.manual_seed(3)
    found = gradients(model, 0.25 * objective(model, batch, criterion))  # as the loop weighs a micro-batch
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    with recorded_embeddings(model) as seen:
        criterion(model, batch)
    mask = criterion.text_mask(batch, seen[0].shape[1])
    step = objective.start(seen[0], criterion, batch, generator)
    total = torch.zeros(())
    for _ in range(3):
        place = step.clone().requires_grad_()
        with changed_embeddings(model, lambda output, place=place: output + place):  # type: ignore[misc]
            loss = criterion(model, batch)
        (slope,) = torch.autograd.grad(loss, place, retain_graph=True)
        step = within(step + of_length(slope, mask, 0.2), 0.5)
        total = total + 0.25 * loss / 3
    expected = gradients(model, total)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-3)


def test_freelb_starts_inside_its_ball(tiny_model_folder: Path) -> None:
    _, batch, criterion = small(tiny_model_folder)
    mask = criterion.text_mask(batch, batch.input_ids.shape[1])
    start = FreeLB(epsilon=0.5).start(torch.zeros(*mask.shape, 16), criterion, batch, torch.Generator().manual_seed(0))
    norms = start.flatten(1).norm(dim=1)
    assert float(norms.max()) <= 0.5
    assert float(norms[mask.any(1)].min()) > 0.1
    assert not start[~mask].any()


# VAT and SMART
def test_power_iteration_finds_the_direction_of_the_largest_curvature() -> None:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    matrix = basis @ torch.diag(torch.tensor([5.0, 2.0, 1.0, 0.5, 0.2, 0.1])) @ basis.T
    mask = torch.ones(1, 3, dtype=torch.bool)

    def quadratic(step: Tensor) -> Tensor:
        return 0.5 * step.flatten() @ matrix @ step.flatten()

    start = of_length(torch.randn(1, 3, 2, generator=generator), mask, 0.1)
    found = climb(quadratic, start, lambda _, slope: of_length(slope, mask, 0.1), 20).flatten()
    cosine = float(torch.nn.functional.cosine_similarity(found, basis[:, 0], dim=0).abs())
    assert cosine == pytest.approx(1.0, abs=1e-5)
    assert float(found.norm()) == pytest.approx(0.1, rel=1e-5)


def test_more_power_iterations_find_a_larger_divergence(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.1)
    values = []
    for steps in (1, 8):
        torch.manual_seed(2)
        values.append(float(VAT(steps=steps, epsilon=0.2)(model, batch, criterion).detach()))
    assert values[1] >= values[0]


def shifts(model: Model, objective: Objective, batch: Batch, criterion: Criterion) -> tuple[Tensor, list[Tensor]]:
    """The objective's value, and by how much each pass after the first had its embeddings shifted."""
    seen: list[Tensor] = []
    norm = model.body.get_submodule("embeddings.LayerNorm")
    handle = norm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    value = objective(model, batch, criterion)
    handle.remove()
    return value, [after - seen[0] for after in seen[1:]]


@pytest.mark.parametrize("case", ["single_label", "tokens", "regression", "multi_label"])
def test_smart_stays_within_its_radius_and_adds_the_divergence_there(case: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, case)
    value, moved = shifts(model, SMART(epsilon=0.02, step_size=0.02, steps=2, weight=3.0), batch, criterion)
    assert len(moved) == 3
    mask = criterion.text_mask(batch, moved[0].shape[1])
    assert max(float(step.abs().max()) for step in moved) <= 0.02 + 1e-6
    assert float(moved[-1].abs().max()) > 0.015
    assert all(not step[~mask].any() for step in moved)
    clean = model(batch)
    with shifted_embeddings(model, moved[-1]):
        expected = criterion.of(model, clean, batch) + 3.0 * criterion.divergence(clean, model(batch), batch)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)
    wanted, found = gradients(model, expected), gradients(model, value)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-4, rtol=1e-2) for name in wanted)


def test_vat_steps_as_far_as_it_says_and_takes_the_answer_without_the_step_as_given(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    value, moved = shifts(model, VAT(epsilon=0.5, probe=0.05, weight=3.0, steps=2), batch, criterion)
    mask = criterion.text_mask(batch, moved[0].shape[1])
    for step, norm in zip(moved, (0.05, 0.05, 0.5), strict=True):
        torch.testing.assert_close(step.flatten(1).norm(dim=1), torch.full((8,), norm), atol=1e-5, rtol=1e-3)
        assert not step[~mask].any()
    clean = model(batch)
    with shifted_embeddings(model, moved[-1]):
        away = criterion.divergence(clean.detach(), model(batch), batch)
    expected = criterion.of(model, clean, batch) + 3.0 * away
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)
    wanted, found = gradients(model, expected), gradients(model, value)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-4, rtol=1e-2) for name in wanted)


# SMART's second part
def test_smart_is_held_near_the_average_of_the_models_before(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    plain, held = SMART(), SMART(proximal=3.0, momentum=0.25)
    teacher = held.memory(model, criterion.task, None)
    assert teacher is not None
    assert plain.memory(model, criterion.task, None) is None

    def both() -> tuple[float, float]:
        found = []
        for objective in (plain, held):
            torch.manual_seed(3)
            found.append(float(objective(model, batch, criterion).detach()))
        return found[0], found[1]

    teacher.before([batch])
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        old = model(batch)
    one, other = both()
    assert one == pytest.approx(other, rel=1e-6)  # the average is the model itself
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    one, other = both()
    apart = float(criterion.divergence(model(batch), old, batch).detach())
    assert apart > 1e-4
    assert other - one == pytest.approx(3.0 * apart, rel=1e-3)
    teacher.after()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(teacher.average[name], 0.25 * before[name] + 0.75 * weight.detach())


@pytest.mark.parametrize("settings", [{"proximal": -1.0}, {"momentum": 1.0}, {"momentum": -0.1}])
def test_smart_refuses_a_second_part_without_sense(settings: dict[str, float]) -> None:
    with pytest.raises(RecipeError) as error:
        SMART(**settings)  # type: ignore[arg-type]
    assert error.value.where == f"objective.{next(iter(settings))}"
