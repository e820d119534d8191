"""Losses over classes, and how far two outputs are apart; each returns the mean over the labels that count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.tasks.encoding import IGNORED, Batch


def class_loss(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """The mean of `class_losses` over the labels that count.

    It divides by the number of labels, not by the sum of their weights, so that it adds up over any cut of a batch.
    """
    return class_losses(logits, target, weights, smoothing, gamma).sum() / labelled(target).sum().clamp(min=1)


def class_losses(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Cross-entropy of logits [..., C] against class numbers [...] or chances [..., C], one per label [...].

    Targets of `IGNORED`, or chances of zero, lose nothing. With `gamma` > 0 each label's loss is scaled by
    (1 - p)^gamma (focal loss, Lin et al. 2017, eq. 4), p being the probability of the class, or the mean of all under
    the chances; `smoothing` mixes the target with the uniform distribution (Szegedy et al. 2016, sec. 7); `weights` [C]
    multiply each label's loss.
    """
    flat = logits.float().flatten(0, -2)
    is_soft = target.is_floating_point()
    wanted = target.flatten(0, -2) if is_soft else target.flatten()
    losses = functional.cross_entropy(
        flat, wanted, weight=weights, ignore_index=IGNORED, label_smoothing=smoothing, reduction="none"
    )
    if is_soft and smoothing:
        losses = losses * (wanted.sum(-1) > 0)
    if gamma:
        chances = flat.softmax(-1)
        chosen = (chances * wanted).sum(-1) if is_soft else chances.gather(-1, wanted.clamp(min=0)[:, None])[:, 0]
        losses = losses * (1 - chosen) ** gamma
    return losses.view(logits.shape[:-1])


def labelled(target: Tensor) -> Tensor:
    """Which labels count [...], of class numbers [...] or chances [..., C]."""
    return target.sum(-1) > 0 if target.is_floating_point() else target != IGNORED


def weighed_mean(losses: Tensor, batch: Batch) -> Tensor:
    """The mean over the batch's `units` of its examples' summed losses [E], each times the example's weight.

    A batch whose weights are all zero loses nothing.
    """
    total = losses.sum() if batch.weights is None else (losses * batch.weights).sum()
    return total / (batch.units or 1.0)


def summed_by_example(values: Tensor, batch: Batch) -> Tensor:
    """The values of the pieces' units [P, U], summed over the pieces of each example [E].

    By a product with a table of who owns what, since adding into shared places has no fixed order on a GPU.
    """
    owner = functional.one_hot(batch.example_of, batch.size).to(values.dtype)
    return owner.T @ values.sum(1)


def binary_loss(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """The mean of `binary_losses` over all entries."""
    return binary_losses(logits, target, weights, smoothing, gamma).mean()


def binary_losses(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Binary cross-entropy -[y log p + (1 - y) log(1 - p)] with p = sigmoid(logit), of each entry of [E, C].

    `weights` [C] multiply the loss of the positive label of each class; `smoothing` and `gamma` as in `class_loss`.
    """
    wanted = target * (1 - smoothing) + 0.5 * smoothing
    losses = functional.binary_cross_entropy_with_logits(logits.float(), wanted, pos_weight=weights, reduction="none")
    if gamma:
        chosen = torch.where(target > 0.5, logits.float().sigmoid(), (-logits.float()).sigmoid())
        losses = losses * (1 - chosen) ** gamma
    return losses


def class_divergence(one: Tensor, other: Tensor, counted: Tensor | None = None, *, one_way: bool = False) -> Tensor:
    """The symmetric divergence 0.5 * (KL(p || q) + KL(q || p)) of the distributions of two logits [..., C].

    In nats; the mean over all places, or over those that are `counted` [...], which may also be weights. Every
    divergence here is this one, whoever asks for it; the papers on R-Drop, SMART and VAT each have another. With
    `one_way` it is KL(p || q) alone, for `other` to learn from `one`.
    """
    one, other = one.float().log_softmax(-1), other.float().log_softmax(-1)
    weight = one.exp() if one_way else 0.5 * (one.exp() - other.exp())
    found = (weight * (one - other)).sum(-1)
    if counted is None:
        return found.mean()
    return (found * counted).sum() / counted.sum().clamp(min=torch.finfo(found.dtype).tiny)


def target_divergence(
    one: Tensor, other: Tensor, targets: Tensor | None, weights: Tensor | None = None, *, one_way: bool = False
) -> Tensor:
    """`class_divergence` at the places whose target counts, maybe each with a weight [P, 1]."""
    assert targets is not None, "a batch for training has targets"
    counted = labelled(targets)
    return class_divergence(one, other, counted if weights is None else counted * weights, one_way=one_way)


def binary_divergence(one: Tensor, other: Tensor, weights: Tensor | None = None, *, one_way: bool = False) -> Tensor:
    """The same of the two-way distributions of two logits, mean over all entries of [E, C], maybe weighed [E]."""
    one, other = one.float(), other.float()
    if one_way:  # p (log p - log q) + (1 - p) (log (1 - p) - log (1 - q)), where log p = x + log (1 - p)
        found = one.sigmoid() * (one - other) + functional.softplus(other) - functional.softplus(one)
    else:
        found = 0.5 * ((one.sigmoid() - other.sigmoid()) * (one - other))
    return _mean(found.mean(-1), weights)


def square_divergence(one: Tensor, other: Tensor, weights: Tensor | None = None) -> Tensor:
    """The squared difference of two numbers [E, 1], mean over the examples, maybe weighed [E]."""
    return _mean((one.float() - other.float()).pow(2).mean(-1), weights)


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(values.dtype).tiny)
