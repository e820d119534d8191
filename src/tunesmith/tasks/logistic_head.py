"""A logistic regression over text vectors, fitted to its optimum instead of learnt step by step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import TrainingError
from tunesmith.tasks.encoding import Batch
from tunesmith.tasks.heads import pool, pool_windows

STEPS = 2000
"""The most steps of L-BFGS; a few dozen are usual."""

SLOPE = 1e-9
"""The largest slope per example at which the optimum counts as found."""

TOLERATED = 1e-4
"""The largest slope per example with which a fit is kept if rounding, or `STEPS`, end it sooner."""


class LogisticHead(nn.Module):
    """Token states [P, T, H] -> a vector per text; vectors -> class logits, by weights that are fitted and not learnt.

    Attributes:
        pooling: how token states become one vector.
        normalize: whether vectors are scaled to length 1.
        weight, bias: the regression [C, H] and [C]; zero until `keep`.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, hidden_size: int, classes: int, pooling: str, *, normalize: bool) -> None:
        super().__init__()
        self.pooling = pooling
        self.normalize = normalize
        self.register_buffer("weight", torch.zeros(classes, hidden_size))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The vectors of an example's texts side by side: those of its first and its second follow each other."""
        vectors = pool(hidden, batch.attention_mask, self.pooling)
        if batch.part_of is not None:
            owner, texts = 2 * batch.example_of + batch.part_of, 2 * batch.size
        else:
            owner, texts = batch.example_of, batch.size
        if len(owner) != texts:
            vectors = pool_windows(vectors, owner, texts, "mean")
        return functional.normalize(vectors, dim=-1) if self.normalize else vectors

    def classify(self, vectors: Tensor) -> Tensor:
        """Class logits [E, C] of vectors [E, H]."""
        return vectors @ self.weight.T + self.bias

    def keep(self, weight: Tensor, bias: Tensor) -> None:
        """Take fitted numbers over."""
        self.weight.copy_(weight)
        self.bias.copy_(bias)


def fit_logistic(vectors: Tensor, targets: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """The weights [C, H] and biases [C] of the least penalised cross-entropy.

    sum_i -log softmax(W x_i + b)[y_i] + penalty / 2 * |W|^2, the biases free; found by L-BFGS (Liu and Nocedal 1989) in
    double precision on the CPU, from zero, so that the same vectors give the same numbers. With `penalty` 1 this is
    what scikit-learn fits with C = 1. For two classes that has one row w = W_1 - W_0; as |W|^2 is then |w|^2 / 2, the
    penalty is doubled.

    Args:
        vectors: [N, H].
        targets: the class of each vector [N].
        classes: how many classes C there are.
        penalty: how much large weights cost; above 0.

    Raises:
        TrainingError: the vectors are not finite, or the optimum is not found.
    """
    given, wanted = vectors.detach().double().cpu(), targets.cpu()
    if not bool(given.isfinite().all()):
        raise TrainingError(
            "The vectors of the training texts are not finite numbers.",
            where="the fit of the head",
            to_do="Lower training.learning_rate, or use training.precision: fp32.",
        )
    cost = penalty * (2 if classes == 2 else 1)
    numbers = torch.zeros(classes, given.shape[1] + 1, dtype=torch.float64, requires_grad=True)

    def objective() -> Tensor:
        logits = given @ numbers[:, :-1].T + numbers[:, -1]
        losses = functional.cross_entropy(logits, wanted, reduction="sum")
        return (losses + cost / 2 * numbers[:, :-1].pow(2).sum()) / len(given)

    solver = torch.optim.LBFGS(
        [numbers], max_iter=STEPS, tolerance_grad=SLOPE, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def slope() -> Tensor:
        solver.zero_grad()
        value = objective()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        solver.step(slope)  # type: ignore[no-untyped-call]
        slope()
    assert numbers.grad is not None, "the slope was taken"
    if not float(numbers.grad.abs().max()) <= TOLERATED:  # also where it is not a number
        raise TrainingError(
            "The logistic regression does not come to its optimum.",
            where="task.penalty",
            to_do="Set a higher penalty, or normalize: true.",
        )
    found = numbers.detach()
    return found[:, :-1], found[:, -1]
