"""Several outputs for the same texts made into one: means of probabilities, or of logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

By = Literal["probabilities", "logits"]
"""What is averaged. The mean of logits is, up to a constant, that of log probabilities: a geometric mean."""

Form = Literal["classes", "chances", "numbers"]
"""What a task's outputs [..., C] are: a logit per class, of which one is right; a logit per yes or no; numbers."""


def mixed(outputs: Sequence[Tensor], form: Form, by: By) -> Tensor:
    """One output [..., C] out of several, in the form of each, so that what reads one reads the mixture.

    The mean of probabilities p is given as logits: log p of classes, log p - log (1 - p) of each yes or no, in float32
    and computed from logarithms, so that no probability becomes 0. Of numbers the mean is taken as it is.
    """
    every = torch.stack([output.float() for output in outputs])
    if form == "numbers" or by == "logits":
        return every.mean(0)
    size = math.log(len(outputs))
    if form == "classes":
        return every.log_softmax(-1).logsumexp(0) - size
    yes, no = functional.logsigmoid(every).logsumexp(0), functional.logsigmoid(-every).logsumexp(0)
    return yes - no


def disagreement(outputs: Sequence[Tensor], form: Form) -> Tensor:
    """How far several outputs [..., C] are apart, [...]: the mutual information of the answer and the output, in nats.

    The entropy of the mean probabilities less the mean entropy (Houlsby et al. 2011, eq. 2; for dropout Gal et al.
    2017, sec. 3.1), 0 where all say the same; over several questions of yes or no the sum. Of numbers it is the
    standard deviation, of the first.
    """
    every = torch.stack([output.float() for output in outputs])
    if form == "numbers":
        return every[..., 0].std(0, correction=0)
    if form == "classes":
        logs = every.log_softmax(-1)
        mean = logs.logsumexp(0) - math.log(len(outputs))
        return (_entropy(mean) - _entropy(logs).mean(0)).clamp(min=0)
    logs = torch.stack([functional.logsigmoid(every), functional.logsigmoid(-every)], -1)
    mean = logs.logsumexp(0) - math.log(len(outputs))
    return (_entropy(mean) - _entropy(logs).mean(0)).sum(-1).clamp(min=0)


def _entropy(logs: Tensor) -> Tensor:
    return -(logs.exp() * logs).sum(-1)
