"""From a body to a score per label without a new weight: by vectors, or by the judgement of an inference model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import RecipeError, nearest
from tunesmith.tasks.encoding import Batch
from tunesmith.tasks.heads import BodyShape, pool, pool_windows

_ENTAILMENT = ("entailment", "entail", "entails", "entailed", "蕴含", "蕴涵")
_CONTRADICTION = ("contradiction", "contradict", "contradicts", "contradicted", "矛盾")


class SimilarityHead(nn.Module):
    """Token states [P, T, H] -> the scaled cosine of each example and each label [E, L].

    The labels' descriptions stand in the batch as further texts, numbered from its `size` on. A text's windows, and a
    label's descriptions, have their unit vectors averaged (as Radford et al. 2021, sec. 3.1.4, do with prompts), so
    that none counts more for being longer.
    """

    def __init__(self, pooling: str, labels: int, scale: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.labels = labels
        self.scale = scale

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Compare each text's vector with each label's."""
        vectors = functional.normalize(pool(hidden, batch.attention_mask, self.pooling), dim=-1)
        means = pool_windows(vectors, batch.example_of, batch.size + self.labels, "mean")
        units = functional.normalize(means, dim=-1)
        return self.scale * units[: batch.size] @ units[batch.size :].T


@dataclass(frozen=True)
class Verdict:
    """Which outputs of an inference model count: that for entailment, and that for contradiction if it is needed."""

    entailment: int
    contradiction: int | None = None

    @classmethod
    def of(cls, classes: Sequence[str], entailment: str, contradiction: str, *, needs_both: bool) -> Verdict:
        """Find the outputs by the names that the model has for them, never by their place.

        Raises:
            RecipeError: the names leave it open.
        """
        first = _place(classes, "entailment", entailment, _ENTAILMENT)
        second = _place(classes, "contradiction", contradiction, _CONTRADICTION) if needs_both else None
        if first == second:
            raise RecipeError(
                "One output of the model cannot stand for entailment and for contradiction.",
                where="task.contradiction_label",
                to_do=f"Its classes are {', '.join(classes)}.",
            )
        return cls(first, second)


def _place(classes: Sequence[str], meaning: str, given: str, usual: Sequence[str]) -> int:
    known = f"The model's classes are {', '.join(classes[:8])}."
    if given:
        if given not in classes:
            raise RecipeError(
                f"The model has no class '{given}'.{nearest(given, classes)}",
                where=f"task.{meaning}_label",
                to_do=known,
            )
        return classes.index(given)
    found = [number for number, name in enumerate(classes) if name.strip().casefold() in usual]
    if len(found) != 1:
        raise RecipeError(
            f"It is not clear which class of the model means {meaning}.",
            where=f"task.{meaning}_label",
            to_do=f"{known} Name the one in {meaning}_label, or choose a model that was trained on inference (NLI).",
        )
    return found[0]


class EntailmentHead(nn.Module):
    """What is said of each text with each hypothesis -> a logit per label [E, L].

    The body's own classifier gives logits [P, C]; of an artifact's body the states [P, T, H] are pooled, and the linear
    layer that was trained with it follows. The logit of a label is that of entailment, or for `multi_label` entailment
    less contradiction, whose sigmoid is the softmax over those two. Several hypotheses of a label are averaged.
    """

    def __init__(self, shape: BodyShape, verdict: Verdict, counts: Sequence[int]) -> None:
        super().__init__()
        self.verdict = verdict
        self.counts = list(counts)
        self.pooling = shape.pooling
        self.dropout = nn.Dropout(shape.dropout)
        self.output = None if shape.gives_classes else nn.Linear(shape.hidden_size, len(shape.classes))

    def forward(self, given: Tensor, batch: Batch) -> Tensor:
        """Read the outputs that count; the pieces of an example are its hypotheses, in order."""
        logits = given
        if self.output is not None:
            logits = self.output(self.dropout(pool(given, batch.attention_mask, self.pooling)))
        said = logits[:, self.verdict.entailment]
        if self.verdict.contradiction is not None:
            said = said - logits[:, self.verdict.contradiction]
        by_label = torch.split(said.view(batch.size, sum(self.counts)), self.counts, dim=1)
        return torch.stack([part.mean(1) for part in by_label], dim=1)
