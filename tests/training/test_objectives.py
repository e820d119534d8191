"""Each objective against what it must equal: a ball, an eigenvector, a reference of ten lines, or plain training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.builders import (
    CLASSES,
    SPANS,
    TASK_CASES,
    build_learner,
    build_material,
    build_model,
    folder_of,
    run_steps,
)
from tunesmith.errors import RecipeError, TrainingError
from tunesmith.experiment import Experiment
from tunesmith.methods import METHODS
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Comparing, SequenceClassification, TokenClassification
from tunesmith.tasks.heads import VectorHead
from tunesmith.tasks.losses import binary_divergence, class_divergence
from tunesmith.training.dropout import has_dropout, use_bit_dropout
from tunesmith.training.objectives import (
    L2SP,
    OBJECTIVES,
    PGD,
    SMART,
    VAT,
    Criterion,
    Cutoff,
    FreeLB,
    Mixup,
    Objective,
    RDrop,
    Stack,
    SupCon,
)
from tunesmith.training.objectives.contrastive import contrast
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


def small(
    folder: Path, case: str = "single_label", dropout: float | None = 0.0, method: str = "full"
) -> tuple[Model, Batch, Criterion]:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder, task, examples, METHODS[method](), dropout=dropout)
    material = build_material(task, encoder, examples)
    return model.train(), material.batch(range(len(material.encoded))), material.criterion


def gradients(model: Model, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def random_logits(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


# Divergences


def test_the_divergence_of_classes_is_half_of_both_relative_entropies() -> None:
    one, other = random_logits(3, 4), random_logits(3, 4) * 2 + 1
    expected = 0.0
    for p, q in zip(one.softmax(-1).tolist(), other.softmax(-1).tolist(), strict=True):
        there = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        back = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        expected += 0.5 * (there + back) / 3
    assert float(class_divergence(one, other)) == pytest.approx(expected, rel=1e-5)
    assert float(class_divergence(other, one)) == pytest.approx(expected, rel=1e-5)
    assert float(class_divergence(one, one)) == 0.0


def test_a_yes_or_no_is_a_distribution_over_two() -> None:
    one, other = random_logits(3, 2), random_logits(3, 2) - 1
    pairs = [torch.stack([logits, torch.zeros_like(logits)], -1) for logits in (one, other)]
    assert float(binary_divergence(one, other)) == pytest.approx(float(class_divergence(*pairs)), rel=1e-5)


COMPARING = [case for case, (task, _) in TASK_CASES.items() if isinstance(task, Comparing) and not task.incomparable]


@pytest.mark.parametrize("case", COMPARING)
def test_divergences_and_losses_add_up_over_micro_batches(case: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder_of(case, request), task, examples, dropout=None)
    model.eval()
    material = build_material(task, encoder, examples)

    def apart(batch: Batch) -> float:
        one = model(batch)
        with changed_embeddings(model, lambda output: output * 1.5):
            return float(material.criterion.divergence(one, model(batch), batch).detach())

    whole = material.batch(range(8))
    parts = [material.batch(numbers) for numbers in ((0, 1, 2), (3, 4, 5, 6), (7,))]
    summed = sum(apart(part) * part.units / whole.units for part in parts)
    assert apart(whole) > 0
    assert summed == pytest.approx(apart(whole), rel=1e-4)
    assert float(material.criterion.divergence(model(whole), model(whole), whole).detach()) == 0.0


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


def test_text_masks_leave_out_padding_special_tokens_and_vectors_before_the_text(tiny_model_folder: Path) -> None:
    _, batch, criterion = small(tiny_model_folder)
    lengths = batch.attention_mask.sum(1)
    mask = criterion.text_mask(batch, batch.input_ids.shape[1] + 3)
    assert not mask[:, :4].any()  # three vectors, and the first special token
    assert torch.equal(mask.sum(1), lengths - 2)
    assert all(not row[3 + int(length) - 1 :].any() for row, length in zip(mask, lengths, strict=True))


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


# R-Drop and cutoff


def test_r_drop_without_dropout_compares_nothing_and_is_refused(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.0)
    assert not has_dropout(model)
    with pytest.raises(TrainingError, match="this model has none"):
        RDrop().check(model, criterion.task)
    plain = float(criterion(model, batch).detach())
    assert float(RDrop(alpha=9.0)(model, batch, criterion).detach()) == pytest.approx(plain, abs=1e-7)


@pytest.mark.parametrize("bits", [False, True])
def test_r_drop_is_the_mean_of_two_losses_and_their_divergence(bits: bool, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, dropout=0.3)
    if bits:
        use_bit_dropout(model)
    RDrop().check(model, criterion.task)
    torch.manual_seed(1)
    one, other = model(batch), model(batch)
    assert batch.targets is not None
    cross = [-(logits.log_softmax(-1)[range(8), batch.targets]).mean() for logits in (one, other)]
    p, q = one.softmax(-1), other.softmax(-1)
    between = 0.5 * ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 8
    torch.manual_seed(1)
    found = RDrop(alpha=2.0)(model, batch, criterion)
    torch.testing.assert_close(found, 0.5 * (cross[0] + cross[1]) + 2.0 * between)
    assert float(between.detach()) > 0


@pytest.mark.parametrize(("part", "share"), [("token", 0.4), ("span", 0.4), ("feature", 0.25)])
def test_cutoff_cuts_its_share_of_each_text_and_no_special_token(part: str, share: float) -> None:
    mask = torch.tensor([[0, 1, 1, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool()
    objective = Cutoff(part=part, share=share)  # type: ignore[arg-type]
    seen = set()
    for seed in range(20):
        cut = objective.cut_places(mask, 8, torch.Generator().manual_seed(seed))
        assert not cut[~mask].any()
        if part == "feature":
            assert cut[0, 1:6].sum(-1).tolist() == [2] * 5
            assert (cut[0, 1] == cut[0, 5]).all()
        else:
            assert cut.sum((1, 2)).tolist() == [2, 1, 0]
            places = cut[0, :, 0].nonzero().flatten().tolist()
            assert part == "token" or places[1] == places[0] + 1
        seen.add(tuple(cut[0].nonzero().flatten().tolist()))
    assert len(seen) > 3


# Contrast and mixing


def reference_contrast(vectors: Tensor, classes: Sequence[int], temperature: float) -> float:
    units = vectors / vectors.norm(dim=1, keepdim=True)
    losses = []
    for i, mine in enumerate(classes):
        others = [j for j in range(len(classes)) if j != i]
        positives = [j for j in others if classes[j] == mine]
        if positives:
            total = sum(math.exp(float(units[i] @ units[j]) / temperature) for j in others)
            ratios = [math.exp(float(units[i] @ units[p]) / temperature) / total for p in positives]
            losses.append(-sum(math.log(ratio) for ratio in ratios) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("classes", [[0, 1, 0, 1, 1], [0, 1, 2, 0, 3], [0, 1, 2, 3, 4]])
def test_the_contrast_equals_its_definition_and_skips_lone_anchors(classes: list[int]) -> None:
    vectors = random_logits(5, 4).requires_grad_()
    found = contrast(vectors, torch.tensor(classes), 0.5)
    assert float(found.detach()) == pytest.approx(reference_contrast(vectors.detach(), classes, 0.5), rel=1e-5)
    found.backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_a_text_that_is_alone_in_its_batch_has_no_contrast() -> None:
    vectors = random_logits(1, 4).requires_grad_()
    found = contrast(vectors, torch.tensor([0]), 0.1)
    found.backward()
    assert float(found.detach()) == 0.0
    assert vectors.grad is not None
    assert not vectors.grad.any()


@pytest.mark.parametrize("case", ["single_label", "binary", "pairs_cross", "relations", "image_text"])
def test_supcon_is_its_share_of_loss_and_contrast(case: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, case)
    model.eval()
    SupCon().check(model, criterion.task)
    assert isinstance(model.head, VectorHead)
    assert batch.targets is not None
    vectors = model.head.vectors(model.hidden(batch).float(), batch)
    apart = reference_contrast(vectors.detach(), batch.targets.flatten().tolist(), 0.3)
    found = SupCon(weight=0.25)(model, batch, criterion)
    expected = 0.75 * float(criterion(model, batch).detach()) + 0.25 * apart
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("case", ["single_label", "binary", "multi_label", "regression", "pairs_cross", "relations"])
def test_mixup_with_nothing_of_the_other_is_the_plain_loss(case: str, tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder, case, dropout=0.2)
    Mixup().check(model, criterion.task)
    others = torch.arange(batch.size).flip(0)
    torch.manual_seed(4)
    plain = criterion(model, batch)
    torch.manual_seed(4)
    mixed = Mixup().mixed(model, batch, criterion, 1.0, others)
    assert float(mixed.detach()) == float(plain.detach())


def test_mixup_mixes_vectors_and_losses(tiny_model_folder: Path) -> None:
    model, batch, criterion = small(tiny_model_folder)
    model.eval()
    assert isinstance(model.head, VectorHead)
    assert batch.targets is not None
    others = torch.arange(8).roll(3)
    vectors = model.head.vectors(model.hidden(batch), batch)
    logits = model.head.scores(0.7 * vectors + 0.3 * vectors[others]).log_softmax(-1)
    mine, theirs = (-logits[range(8), targets].mean() for targets in (batch.targets, batch.targets[others]))
    found = Mixup().mixed(model, batch, criterion, 0.7, others)
    torch.testing.assert_close(found, 0.7 * mine + 0.3 * theirs)


def test_the_vectors_of_a_long_text_are_the_mean_of_its_windows(tiny_model_folder: Path) -> None:
    examples = [*CLASSES[:3], replace(CLASSES[3], text=" ".join(["a bad day"] * 30))]
    task = SequenceClassification(max_length=16, stride=4)
    model, task, encoder = build_model(tiny_model_folder, task, examples, dropout=0.0)
    batch = build_material(task, encoder, examples).batch(range(4))
    assert len(batch.input_ids) > 4
    assert isinstance(model.head, VectorHead)
    hidden = model.hidden(batch)
    torch.testing.assert_close(model.head.scores(model.head.vectors(hidden, batch)), model.head(hidden, batch))


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


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "dpo"])
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
