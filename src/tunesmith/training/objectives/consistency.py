"""Objectives under which two views of the same text shall have the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tunesmith.errors import RecipeError, TrainingError
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion, check_comparable
from tunesmith.training.dropout import has_dropout
from tunesmith.training.objectives.embeddings import changed_embeddings
from tunesmith.training.objectives.ranges import check_positive
from tunesmith.training.objectives.replay import beside


@dataclass(frozen=True)
class RDrop:
    """Read each text twice under different dropout and hold both answers together (Liang et al. 2021, sec. 2.1).

    0.5 * (loss1 + loss2) + alpha * D, with D = 0.5 * (KL(p1 || p2) + KL(p2 || p1)), the mean over examples (or words,
    or tokens: what the loss averages over), and the squared difference for numbers. The paper's eq. 4 adds both losses:
    its alpha is twice this one. Costs two passes.

    Needs: a task whose outputs can be compared, and dropout in the model.

    Attributes:
        alpha: weight of the divergence.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive("r_drop", {"alpha": self.alpha})

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The mean of two losses, and the weighted divergence."""
        one, other = model(batch), model(batch)
        both = criterion.of(model, one, batch) + criterion.of(model, other, batch)
        return 0.5 * both + self.alpha * criterion.divergence(one, other, batch)

    def check(self, model: Model, task: Task) -> None:
        """See that outputs can be compared, and that two passes differ.

        Raises:
            TrainingError: they cannot, or do not.
        """
        check_comparable(task, "r_drop")
        if not has_dropout(model):
            raise TrainingError(
                "R-Drop compares two passes under different dropout, and this model has none.",
                where="objective",
                to_do="Set model.dropout to 0.1 where the model has such layers, or use objective: vat or cutoff.",
            )


@dataclass(frozen=True)
class Cutoff:
    """Learn also from texts of which a part is blotted out, and hold both answers together (Shen et al. 2020, sec. 3).

    loss + weight * loss of the cut text + alpha * D of both answers, with D = 0.5 * (KL(p || q) + KL(q || p)) where
    the paper has Jensen and Shannon's. What is cut is set to zero at the word embeddings' output: single text tokens,
    one run of them, or single dimensions over a whole piece; positions stay known, and special tokens whole. Costs two
    passes.

    Needs: a task whose outputs can be compared.

    Attributes:
        part: what is cut.
        share: the share of a piece's tokens, or of the dimensions, that is cut, above 0 and below 1.
        weight: weight of the cut text's loss.
        alpha: weight of the divergence.
    """

    part: Literal["token", "span", "feature"] = "span"
    share: float = 0.1
    weight: float = 1.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive("cutoff", {"share": self.share, "weight": self.weight, "alpha": self.alpha})
        if self.share >= 1:
            raise RecipeError(
                "share must be below 1: nothing would be left of a text.",
                where="objective.share",
                to_do="0.1 is usual.",
            )

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """The losses of both views, and the weighted divergence."""
        _, generator = beside(model.device)
        whole = model(batch)

        def cut(output: Tensor) -> Tensor:
            mask = criterion.text_mask(batch, output.shape[1])
            return output.masked_fill(self.cut_places(mask, output.shape[2], generator), 0.0)

        with changed_embeddings(model, cut):
            rest = model(batch)
        losses = criterion.of(model, whole, batch) + self.weight * criterion.of(model, rest, batch)
        return losses + self.alpha * criterion.divergence(whole, rest, batch)

    def cut_places(self, mask: Tensor, width: int, generator: torch.Generator) -> Tensor:
        """What is cut of each piece, [P, T, 1] or [P, T, H], from the mask [P, T] of its text tokens.

        The number is the share of the piece's tokens (of the dimensions), rounded up: at least one.
        """
        device, mask = mask.device, mask.cpu()
        pieces, length = mask.shape
        if self.part == "feature":
            dropped = _lowest(torch.rand(pieces, width, generator=generator), _part(torch.tensor(width), self.share))
            return (mask[:, :, None] & dropped[:, None, :]).to(device)
        sizes = mask.sum(1)
        counts = _part(sizes, self.share)[:, None]
        if self.part == "token":
            drawn = torch.rand(pieces, length, generator=generator).masked_fill(~mask, 2.0)
            return (_lowest(drawn, counts) & mask)[:, :, None].to(device)
        place = mask.cumsum(1) - 1  # the how-manieth text token each is
        first = (torch.rand(pieces, 1, generator=generator) * (sizes[:, None] - counts + 1)).floor()
        return (mask & (place >= first) & (place < first + counts))[:, :, None].to(device)

    def check(self, model: Model, task: Task) -> None:
        """See that outputs can be compared.

        Raises:
            TrainingError: they cannot.
        """
        check_comparable(task, "cutoff")


def _part(sizes: Tensor, share: float) -> Tensor:
    return (sizes * share).ceil().long()


def _lowest(drawn: Tensor, counts: Tensor) -> Tensor:
    """Where the lowest `counts` numbers of each row stand."""
    return drawn.argsort(1).argsort(1) < counts
