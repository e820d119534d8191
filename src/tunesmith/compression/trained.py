"""What a compressor works on: a trained model, the examples, and a way to train it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tunesmith.data.records import Example
from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.tasks.batches import cut
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.training.objectives import Objective, TaskLoss


@dataclass(frozen=True)
class Trained:
    """A trained model with its task and tokenizer, and the text that stands before every text."""

    model: Model
    task: Task
    encoder: TextEncoder
    prefix: str = ""


@dataclass(frozen=True)
class Lesson:
    """A training between two cuts.

    Attributes:
        name: of its folder, in which it is gone on with after an interruption.
        epochs: passes over the training examples.
        learning_rate: the peak rate; None for the recipe's.
        objective: what is minimised.
        chooses: keep the weights with the best validation; else those of the last step.
        exact: train in float32, for rules that change weights between steps.
    """

    name: str
    epochs: int
    learning_rate: float | None = None
    objective: Objective = field(default_factory=TaskLoss)
    chooses: bool = True
    exact: bool = False


Teacher = Callable[[Trained, Lesson], None]
"""Trains a model on in place, as the recipe trains; every weight learns."""


@dataclass(frozen=True)
class Workshop:
    """What there is to compress with.

    Attributes:
        train: the examples that the recipe learns from.
        validation: those by which it chooses.
        original: the artifact as it was before the first step.
        before: the artifact as this step found it.
        teach: trains a model on.
        seed: the source of all randomness.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    original: Path
    before: Path
    teach: Teacher
    seed: int

    def drawn(self, size: int) -> list[Example]:
        """Up to `size` training examples, drawn by the seed; 0 for all."""
        if not size or len(self.train) <= size:
            return list(self.train)
        places = np.random.default_rng(self.seed).permutation(len(self.train))[:size]
        return [self.train[place] for place in sorted(places.tolist())]


@dataclass(frozen=True)
class Compressed:
    """A smaller model, and what to know of how it became so: figures, and sentences for people."""

    trained: Trained
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def batches_of(trained: Trained, examples: Sequence[Example], seed: int = 0) -> Iterator[Batch]:
    """Examples as batches with their targets, on the model's device."""
    task, encoder = trained.task, trained.encoder
    encoded = [task.encode(example, encoder) for example in task.arranged(examples, seed)]
    pad_id = encoder.tokenizer.pad_token_id or 0
    for numbers in cut(range(len(encoded)), encoded, max_examples=32, max_tokens=4096):
        yield task.collate([encoded[number] for number in numbers], pad_id).to(trained.model.device)
