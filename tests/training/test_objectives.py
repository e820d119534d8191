"""L2-SP, stacks, what all objectives share, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.builders import (
    CLASSES,
    SPANS,
    TASK_CASES,
    build_learner,
    build_material,
    build_model,
    run_steps,
)
from tests.training.batches import gradients, small
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.experiment import Experiment
from tunesmith.tasks import SequenceClassification, TokenClassification
from tunesmith.training.dropout import use_bit_dropout
from tunesmith.training.objectives import (
    L2SP,
    OBJECTIVES,
    PGD,
    FreeLB,
    Mixup,
    RDrop,
    Stack,
    SupCon,
)
from tunesmith.training.objectives.embeddings import (
    of_length,
    recorded_embeddings,
    shifted_embeddings,
)


# L2-SP
def test_l2_sp_pulls_weights_back_to_where_they_began_and_new_ones_to_zero(tiny_model_folder: Path) -> None:
    model, _, criterion = small(tiny_model_folder)
    objective = L2SP(alpha=0.3, beta=0.2)
    objective.check(model, criterion.task)
    starts = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    new = sum(float(starts[name].pow(2).sum()) for name in model.lacking)
    assert float(objective.penalty(model).detach()) == pytest.approx(0.1 * new, rel=1e-5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    objective.check(model, criterion.task)  # a second look keeps the first start
    found = gradients(model, objective.penalty(model))
    for name, weight in model.named_parameters():
        wanted = 0.2 * weight if name in model.lacking else 0.3 * (weight - starts[name])
        torch.testing.assert_close(found[name], wanted.detach(), atol=1e-7, rtol=1e-4)


def test_l2_sp_over_a_table_that_moves_by_rows_has_the_penalty_and_the_gradient_of_the_whole(
    tiny_model_folder: Path,
) -> None:
    model, _, criterion = small(tiny_model_folder)
    objective = L2SP(alpha=0.3)
    objective.check(model, criterion.task)
    words = model.word_embeddings
    assert isinstance(words, nn.Embedding)
    with torch.no_grad():
        words.weight[[3, 5]] += 0.1
    found = []
    for words.sparse in (False, True):
        model.zero_grad()
        penalty = objective.penalty(model)
        penalty.backward()
        assert words.weight.grad is not None
        found.append((penalty.detach(), words.weight.grad))
    (whole, dense), (by_rows, sparse) = found
    assert sparse.is_sparse
    assert sparse.coalesce().indices()[0].tolist() == [3, 5]
    torch.testing.assert_close(by_rows, whole)
    torch.testing.assert_close(sparse.to_dense(), dense)


def test_rounding_to_low_precision_is_no_move_for_l2_sp(tiny_model_folder: Path) -> None:
    model, _, criterion = small(tiny_model_folder)
    objective = L2SP(beta=0.0)
    objective.check(model, criterion.task)
    build_learner(model, low=True)
    assert float(objective.penalty(model).detach()) == 0.0


def test_strong_l2_sp_keeps_the_body_near_its_start(tiny_model_folder: Path) -> None:
    far = []
    for alpha in (1e-9, 100.0):
        torch.manual_seed(0)
        task, examples = TASK_CASES["single_label"]
        model, task, encoder = build_model(tiny_model_folder, task, examples, dropout=0.0)
        starts = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        learner = build_learner(model, L2SP(alpha=alpha))
        run_steps(learner, build_material(task, encoder, examples), steps=20, rate=1e-3)
        moved = {name: float((weight.detach() - starts[name]).norm()) for name, weight in model.named_parameters()}
        far.append(sum(value for name, value in moved.items() if name not in model.lacking))
    assert far[1] < 0.5 * far[0]


# Stacks
def test_l2_sp_over_another_objective_adds_its_penalty(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.2)
    stack = Stack(({"name": "l2_sp", "beta": 2.0}, "r_drop"))
    stack.check(model, criterion.task)
    torch.manual_seed(0)
    found = stack(model, batch, criterion)
    torch.manual_seed(0)
    single = L2SP(beta=2.0)
    single.check(model, criterion.task)
    torch.testing.assert_close(found, RDrop()(model, batch, criterion) + single.penalty(model))


@pytest.mark.parametrize("last", ["r_drop", "supcon"])
def test_fgm_over_another_objective_attacks_that_one(last: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    inner = OBJECTIVES[last]()
    found = Stack(({"name": "fgm", "epsilon": 0.5}, last))(model, batch, criterion)
    leaf = torch.zeros(*batch.input_ids.shape, 1)
    with recorded_embeddings(model) as seen:
        model(batch)
    leaf = torch.zeros_like(seen[0]).requires_grad_()
    with shifted_embeddings(model, leaf):
        clean = inner(model, batch, criterion)
    (slope,) = torch.autograd.grad(clean, leaf)
    with shifted_embeddings(model, of_length(slope, batch.attention_mask, 0.5)):
        expected = clean + inner(model, batch, criterion)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("last", ["r_drop", "supcon", "mixup"])
def test_freelb_in_a_ball_of_no_size_over_another_objective_is_that_one(last: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.3)
    use_bit_dropout(model)
    found = []
    for objective in (OBJECTIVES[last](), Stack(({"name": "freelb", "steps": 1, "epsilon": 0.0}, last))):
        torch.manual_seed(7)
        found.append(gradients(model, objective(model, batch, criterion)))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("parts", [("l2_sp", "pgd", "mixup"), ("freelb", "r_drop"), ("l2_sp", "vat"), ("l2_sp", "fgm")])
def test_a_stack_trains(parts: tuple[str, ...], tiny_model_folder: Path) -> None:
    torch.manual_seed(0)
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples)
    learner = build_learner(model, Stack(parts), low=True)
    steps = run_steps(learner, build_material(task, encoder, examples), steps=30, rate=5e-3, batch_size=8)
    assert sum(step.loss for step in steps[-5:]) < sum(step.loss for step in steps[:5])


def test_a_stack_survives_yaml(tmp_path: Path) -> None:
    objective = {"name": "stack", "parts": ["l2_sp", {"name": "pgd", "epsilon": 0.5, "steps": 2}, "supcon"]}
    recipe = {"task": "sequence_classification", "data": {"train": "train.csv"}, "objective": objective}
    experiment = Experiment.from_mapping(recipe)
    assert isinstance(experiment.objective, Stack)
    assert experiment.objective.objectives == (L2SP(), PGD(epsilon=0.5, steps=2), SupCon())
    (tmp_path / "recipe.yaml").write_text(experiment.to_yaml(), encoding="utf-8")
    assert Experiment.from_yaml(tmp_path / "recipe.yaml").objective == experiment.objective


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("r_drop",), "at least two parts"),
        ((), "at least two parts"),
        (("l2_sp", "task"), "task adds nothing"),
        (("fgm", "l2_sp"), "l2_sp can only be the first"),
        (("l2_sp", "l2_sp"), "l2_sp can only be the first"),
        (("r_drop", "supcon"), "r_drop and supcon cannot be stacked"),
        (("fgm", "pgd"), "fgm and pgd cannot be stacked: both attack"),
        (("supcon", "pgd"), "pgd cannot stand in supcon"),
        (("fgm", "mixup"), "mixup means nothing under fgm"),
        (("pgd", "vat"), "vat means nothing under pgd"),
        (("fgm", "dpo"), "dpo means nothing under fgm"),
        (("l2_sp", {"name": "stack", "parts": ()}), "cannot be a part"),
        (("l2_sp", "rdrop"), "Did you mean 'r_drop'"),
        (({"name": "fgm", "epsilon": -1.0}, "r_drop"), "epsilon of 0 or less"),
    ],
)
def test_stacks_without_sense_are_refused(parts: tuple[str | dict[str, object], ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Stack(parts)


# What all objectives share
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in ("dpo", "distillation")])
def test_all_that_is_drawn_follows_from_the_step(name: str, tiny_model_folder: Path) -> None:
    losses = []
    for history in (1, 2):
        torch.manual_seed(0)
        task, examples = TASK_CASES["single_label"]
        model, task, encoder = build_model(tiny_model_folder, task, examples)
        learner, material = build_learner(model, OBJECTIVES[name]()), build_material(task, encoder, examples)
        torch.manual_seed(history)
        losses.append([step.loss for step in run_steps(learner, material, steps=3, rate=1e-2)])
    assert losses[0] == losses[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_units_are_dropped_again_on_a_gpu(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.3)
    model, batch = model.cuda(), batch.to(torch.device("cuda"))
    torch.manual_seed(7)
    plain = float(criterion(model, batch).detach())
    torch.manual_seed(7)
    again = float(FreeLB(steps=3, epsilon=0.0)(model, batch, criterion).detach())
    assert again == pytest.approx(plain, rel=1e-5)


# What is refused
@pytest.mark.parametrize("name", ["smart", "vat", "r_drop", "cutoff"])
def test_what_cannot_be_compared_is_refused_with_the_reason(name: str, tiny_model_folder: Path) -> None:
    model, task, _ = build_model(tiny_model_folder, TokenClassification(crf=True), SPANS)
    with pytest.raises(TrainingError, match=f"{name} compares .* token_classification cannot: a CRF") as error:
        OBJECTIVES[name]().check(model, task)
    assert "fgm" in error.value.to_do


def test_freelb_in_a_ball_of_no_size_is_refused(tiny_model_folder: Path) -> None:
    model, _, criterion = small(tiny_model_folder)
    with pytest.raises(RecipeError, match="epsilon of 0 or less has no effect"):
        FreeLB(epsilon=0.0).check(model, criterion.task)


def test_several_vectors_per_text_are_refused(tiny_model_folder: Path) -> None:
    model, task, _ = build_model(tiny_model_folder, SequenceClassification(window_pooling="max"), CLASSES)
    for objective in (Mixup(), SupCon()):
        with pytest.raises(TrainingError, match="window_pooling: max"):
            objective.check(model, task)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pgd", {"steps": 0}),
        ("pgd", {"epsilon": 0.0}),
        ("freelb", {"epsilon": -0.1}),
        ("freelb", {"step_size": 0.0}),
        ("smart", {"noise": 0.0}),
        ("vat", {"probe": -1.0}),
        ("r_drop", {"alpha": 0.0}),
        ("cutoff", {"share": 1.0}),
        ("supcon", {"weight": 1.0}),
        ("mixup", {"alpha": 0.0}),
        ("l2_sp", {"alpha": 0.0}),
        ("l2_sp", {"beta": -1.0}),
    ],
)
def test_settings_without_effect_are_refused(name: str, settings: dict[str, float]) -> None:
    with pytest.raises(RecipeError) as error:
        OBJECTIVES[name](**settings)
    assert error.value.where == f"objective.{next(iter(settings))}"
