"""How a trained model is made smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from tunesmith.compression.distill import Distill
from tunesmith.compression.int8 import Int8
from tunesmith.compression.layer_drop import LayerDrop
from tunesmith.compression.pruning import FeedForwardPrune, HeadPrune
from tunesmith.compression.sparsity import Sparsity
from tunesmith.compression.trained import Compressed, Lesson, Teacher, Trained, Workshop
from tunesmith.compression.vocabulary import Vocabulary
from tunesmith.compression.weight_only import WeightOnly
from tunesmith.models.model import Model
from tunesmith.tasks import Task


class Compressor(Protocol):
    """A step that makes a trained model smaller: either `Shrinking` or `Converting`."""

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""

    def check(self, model: Model, task: Task) -> None:
        """Raise a TunesmithError where the step cannot be made with this model and task."""


@runtime_checkable
class Shrinking(Protocol):
    """A step after which the model is still one that can be trained."""

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Make the model smaller, in place or anew."""


@runtime_checkable
class Converting(Protocol):
    """A step that ends in another form of the model, in which nothing can be trained: it comes last in a chain."""

    def convert(self, artifact: Path, workshop: Workshop, out: Path) -> tuple[str, ...]:
        """Write the artifact in its other form to `out`, where nothing is yet; what to know of it, in sentences."""


COMPRESSORS: dict[str, type[Compressor]] = {
    "layer_drop": LayerDrop,
    "head_prune": HeadPrune,
    "feed_forward_prune": FeedForwardPrune,
    "vocabulary": Vocabulary,
    "sparsity": Sparsity,
    "distill": Distill,
    "int8": Int8,
    "weight_only": WeightOnly,
}

__all__ = [
    "COMPRESSORS",
    "Compressed",
    "Compressor",
    "Converting",
    "Distill",
    "FeedForwardPrune",
    "HeadPrune",
    "Int8",
    "LayerDrop",
    "Lesson",
    "Shrinking",
    "Sparsity",
    "Teacher",
    "Trained",
    "Vocabulary",
    "WeightOnly",
    "Workshop",
]
