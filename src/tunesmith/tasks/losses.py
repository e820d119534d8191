"""Losses over classes, and how far two outputs are apart; each returns the mean over the labels that count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.tasks.encoding import IGNORED


def class_loss(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Cross-entropy of logits [..., C] against class numbers [...]; `IGNORED` targets do not count.

    With `gamma` > 0 each label's loss is scaled by (1 - p)^gamma (focal loss, Lin et al. 2017, eq. 4); `smoothing`
    mixes the target with the uniform distribution (Szegedy et al. 2016, sec. 7); `weights` [C] multiply each label's
    loss. The mean divides by the number of labels, not by the sum of their weights, so that it adds up over any cut of
    a batch.
    """
    flat, wanted = logits.float().flatten(0, -2), target.flatten()
    losses = functional.cross_entropy(
        flat, wanted, weight=weights, ignore_index=IGNORED, label_smoothing=smoothing, reduction="none"
    )
    counted = wanted != IGNORED
    if gamma:
        chosen = flat.log_softmax(-1).gather(-1, wanted.clamp(min=0)[:, None])[:, 0].exp()
        losses = losses * (1 - chosen) ** gamma
    return losses.sum() / counted.sum().clamp(min=1)


def binary_loss(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Binary cross-entropy -[y log p + (1 - y) log(1 - p)] with p = sigmoid(logit), mean over all entries of [E, C].

    `weights` [C] multiply the loss of the positive label of each class; `smoothing` and `gamma` as in `class_loss`.
    """
    wanted = target * (1 - smoothing) + 0.5 * smoothing
    losses = functional.binary_cross_entropy_with_logits(logits.float(), wanted, pos_weight=weights, reduction="none")
    if gamma:
        chosen = torch.where(target > 0.5, logits.float().sigmoid(), (-logits.float()).sigmoid())
        losses = losses * (1 - chosen) ** gamma
    return losses.mean()


def class_divergence(one: Tensor, other: Tensor, counted: Tensor | None = None, *, one_way: bool = False) -> Tensor:
    """The symmetric divergence 0.5 * (KL(p || q) + KL(q || p)) of the distributions of two logits [..., C].

    In nats; the mean over all places, or over those that are `counted` [...], which may also be weights. Every
    divergence here is this one, whoever asks for it; the papers on R-Drop, SMART and VAT each have another. With
    `one_way` it is KL(p || q) alone, for `other` to learn from `one`.
    """
    one, other = one.float().log_softmax(-1), other.float().log_softmax(-1)
    weight = one.exp() if one_way else 0.5 * (one.exp() - other.exp())
    found = (weight * (one - other)).sum(-1)
    return found.mean() if counted is None else (found * counted).sum() / counted.sum().clamp(min=1)


def target_divergence(one: Tensor, other: Tensor, targets: Tensor | None, *, one_way: bool = False) -> Tensor:
    """`class_divergence` at the places whose target counts."""
    assert targets is not None, "a batch for training has targets"
    return class_divergence(one, other, targets != IGNORED, one_way=one_way)


def binary_divergence(one: Tensor, other: Tensor, *, one_way: bool = False) -> Tensor:
    """The same of the two-way distributions of two logits, mean over all entries of [E, C]."""
    one, other = one.float(), other.float()
    if one_way:  # p (log p - log q) + (1 - p) (log (1 - p) - log (1 - q)), where log p = x + log (1 - p)
        return (one.sigmoid() * (one - other) + functional.softplus(other) - functional.softplus(one)).mean()
    return 0.5 * ((one.sigmoid() - other.sigmoid()) * (one - other)).mean()
