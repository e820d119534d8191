"""Attention heads and feed-forward neurons taken out by their importance, in rounds with training between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tunesmith.compression.importance import Part, counts, gated, importances
from tunesmith.compression.trained import Compressed, Lesson, Trained, Workshop, batches_of
from tunesmith.errors import ModelError, RecipeError
from tunesmith.models.model import Model
from tunesmith.models.shapes import Block, blocks_of, keep_heads, keep_neurons
from tunesmith.tasks import Batch, Task

Schedule = Literal["linear", "cubic"]

CLOSE = 1e-4
"""How far a pruned model's logits may be from those of the masked one, relative to the largest; sums change order."""


@dataclass(frozen=True)
class HeadPrune:
    """Attention heads are taken out, the least important first (Michel et al. 2019, sec. 2.3 and 3.3).

    A head's importance is the mean over training examples of |d loss / d gate| of a gate on its output. In each of
    `rounds` it is measured anew, a part of the heads is taken out of the weights, and the model is trained on; each
    round costs a training of its own, and what rounds gave was no more than that (docs/evidence/smaller_models.md).
    Layers keep unlike numbers of heads, which the artifact names. Before training goes on the pruned model's logits are
    compared with those of the whole model whose heads are masked.

    Needs: a body like BERT, RoBERTa, ELECTRA, MPNet or DistilBERT.

    Attributes:
        share: of all heads, how many are taken out.
        rounds: in how many parts; 1 is one shot.
        schedule: linear for as many in each round; cubic for most in the first and few in the last, so that a share of
            1 - (1 - i / rounds)^3 of them is out after round i (Zhu and Gupta 2017, eq. 1 from 0).
        epochs: passes over the training examples after each round, so rounds times as many in all; 0 for no training.
        learning_rate: the peak rate of this training; none means the recipe's.
        examples: training examples by which importance is measured; 0 for all.
        even: take as many out of each layer, instead of the least important of all.
        normalize: divide a layer's importances by their norm, so that layers are comparable.
        least: heads that a layer keeps in any case.
    """

    share: float = 0.25
    rounds: int = 4
    schedule: Schedule = "linear"
    epochs: int = 1
    learning_rate: float | None = None
    examples: int = 512
    even: bool = False
    normalize: bool = True
    least: int = 1

    def __post_init__(self) -> None:
        check_rounds("head_prune", self)

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return self.rounds if self.epochs else 0

    def check(self, model: Model, task: Task) -> None:
        """Raise a ModelError where the body's heads are not known."""
        check_least(blocks_of(model.body), "heads", self)

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Take the heads out."""
        return in_rounds(trained, workshop, "heads", self)


@dataclass(frozen=True)
class FeedForwardPrune:
    """Neurons between the two layers of the feed-forward blocks are taken out, the least important first.

    Importance is measured as for heads (Michel et al. 2019, eq. 2), with a gate on each neuron's output, in rounds with
    training after each (as in Yang et al. 2022, TextPruner, sec. 4). Each round costs a training of its own: with as
    many epochs in all one cut was better at nine tenths taken out, and at half no difference was shown
    (docs/evidence/smaller_models.md).

    Needs: a body like BERT, RoBERTa, ELECTRA, MPNet or DistilBERT.

    Attributes:
        share: of all neurons, how many are taken out.
        rounds: in how many parts; 1 is one shot.
        schedule: linear for as many in each round; cubic for most in the first and few in the last, so that a share of
            1 - (1 - i / rounds)^3 of them is out after round i (Zhu and Gupta 2017, eq. 1 from 0).
        epochs: passes over the training examples after each round, so rounds times as many in all; 0 for no training.
        learning_rate: the peak rate of this training; none means the recipe's.
        examples: training examples by which importance is measured; 0 for all.
        even: take as many out of each layer, instead of the least important of all.
        normalize: divide a layer's importances by their norm, so that layers are comparable.
        least: neurons that a layer keeps in any case.
    """

    share: float = 0.25
    rounds: int = 4
    schedule: Schedule = "linear"
    epochs: int = 1
    learning_rate: float | None = None
    examples: int = 512
    even: bool = False
    normalize: bool = False
    least: int = 16

    def __post_init__(self) -> None:
        check_rounds("feed_forward_prune", self)

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return self.rounds if self.epochs else 0

    def check(self, model: Model, task: Task) -> None:
        """Raise a ModelError where the body's feed-forward blocks are not known."""
        check_least(blocks_of(model.body), "neurons", self)

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Take the neurons out."""
        return in_rounds(trained, workshop, "neurons", self)


Settings = HeadPrune | FeedForwardPrune


def check_rounds(name: str, settings: Settings) -> None:
    """Raise a RecipeError where a setting makes no sense."""
    if not 0 < settings.share < 1:
        raise RecipeError("share must lie above 0 and below 1.", where=f"{name}.share", to_do="0.25 is a usual one.")
    for key in ("rounds", "least"):
        if vars(settings)[key] < 1:
            raise RecipeError(f"{key} must be at least 1.", where=f"{name}.{key}")
    for key in ("epochs", "examples"):
        if vars(settings)[key] < 0:
            raise RecipeError(f"{key} must not be negative.", where=f"{name}.{key}")
    check_rate(name, settings.learning_rate)


def check_rate(name: str, rate: float | None) -> None:
    """Raise a RecipeError where a learning rate is none."""
    if rate is not None and not 0 < rate < math.inf:
        raise RecipeError("learning_rate must be a positive number.", where=f"{name}.learning_rate")


def check_least(blocks: Sequence[Block], part: Part, settings: Settings) -> None:
    """Raise a RecipeError where the layers may not lose as many."""
    sizes = counts(blocks, part)
    wanted, most = round(settings.share * sum(sizes)), sum(max(0, size - settings.least) for size in sizes)
    if wanted > most or not wanted:
        what = f"Of {sum(sizes)} {part} {wanted} would be taken out"
        why = f"at most {most} can be, where each layer keeps {settings.least}" if wanted else "which is nothing"
        raise RecipeError(f"{what}, {why}.", where="compress, share", to_do="Choose another share.")


def in_rounds(trained: Trained, workshop: Workshop, part: Part, settings: Settings) -> Compressed:
    """Measure, take out, compare and train, round by round."""
    blocks = blocks_of(trained.model.body)
    examples = workshop.drawn(settings.examples)
    before = counts(blocks, part)
    wanted = round(settings.share * sum(before))
    gaps = []
    for number in range(1, settings.rounds + 1):
        taken = sum(before) - sum(counts(blocks, part))
        now = round(wanted * out_after(number, settings)) - taken
        if now:
            found = importances(trained, batches_of(trained, examples, workshop.seed), part)
            kept = chosen(found, now, settings)
            gaps.append(cut_out(trained, list(batches_of(trained, examples[:32], workshop.seed)), part, kept))
        if settings.epochs:
            workshop.teach(trained, Lesson(f"round-{number}", settings.epochs, settings.learning_rate))
    after = counts(blocks, part)
    said = (
        f"{sum(before) - sum(after)} of {sum(before)} {part} were taken out in {settings.rounds} rounds "
        f"({settings.epochs} epochs of training after each); left per layer: {', '.join(map(str, after))}."
    )
    gap = max(gaps, default=0.0)
    proof = f"Pruned and masked logits differed by at most {gap:.1e}, relative to the largest."
    left = [list(block.heads) for block in blocks] if part == "heads" else after
    return Compressed(trained, {part: left, "left": after, "before": before, "masked_difference": gap}, (said, proof))


def out_after(number: int, settings: Settings) -> float:
    """The share of what is taken out in all that is out after the round with this number, counted from 1."""
    passed = number / settings.rounds
    return passed if settings.schedule == "linear" else 1 - (1 - passed) ** 3


def chosen(importance: Sequence[Tensor], count: int, settings: Settings) -> list[Tensor]:
    """The places that each layer keeps, in order, when the `count` least important of all layers are taken out."""
    scores = [
        one / one.norm().clamp(min=torch.finfo(one.dtype).tiny) if settings.normalize else one for one in importance
    ]
    left = [len(one) for one in scores]
    orders = [one.argsort(stable=True).tolist() for one in scores]
    out: list[list[int]] = [[] for _ in scores]
    for _ in range(count):
        open_layers = [place for place, size in enumerate(left) if size > settings.least]
        if settings.even:
            layer = max(open_layers, key=lambda place: left[place])
        else:
            layer = min(open_layers, key=lambda place: float(scores[place][orders[place][len(out[place])]]))
        out[layer].append(orders[layer][len(out[layer])])
        left[layer] -= 1
    return [torch.tensor(sorted(set(range(len(one))) - set(gone))) for one, gone in zip(scores, out, strict=True)]


def cut_out(trained: Trained, batches: Sequence[Batch], part: Part, kept: Sequence[Tensor]) -> float:
    """Take all but the kept places out of the weights; how far the logits are from the masked model's.

    Raises:
        ModelError: they are not the same, so that the body must compute in a way of its own.
    """
    model = trained.model.eval()
    blocks = blocks_of(model.body)
    masks = []
    for size, places in zip(counts(blocks, part), kept, strict=True):
        mask = torch.zeros(size, device=model.device)
        mask[places.to(model.device)] = 1
        masks.append(mask)
    with torch.no_grad():
        with gated(blocks, part, masks):
            masked = [model(batch) for batch in batches]
        for block, places in zip(blocks, kept, strict=True):
            if part == "heads":
                keep_heads(block, [block.heads[place] for place in places.tolist()])
            else:
                keep_neurons(block, places)
        pruned = [model(batch) for batch in batches]
    model.plain = frozenset(model.state_dict())
    pairs = list(zip(masked, pruned, strict=True))
    gap = max((_gap(one, other) for one, other in pairs), default=0.0)
    if not gap <= CLOSE:
        raise ModelError(
            f"A pruned {type(model.body).__name__} does not answer as the masked one does (they differ by {gap:.1e}).",
            where="compress",
            to_do="Leave head_prune and feed_forward_prune out for this model.",
        )
    return gap


def _gap(one: Tensor, other: Tensor) -> float:
    # Scores of what may not be chosen are minus infinity, or the least number there is, in both.
    real = one.isfinite() & (one.abs() < torch.finfo(one.dtype).max / 4)
    largest = one[real].abs().max().clamp(min=1.0) if bool(real.any()) else torch.tensor(1.0)
    return float((one[real] - other[real]).abs().max() / largest) if bool(real.any()) else 0.0
