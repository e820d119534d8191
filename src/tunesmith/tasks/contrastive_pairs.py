"""Pairs of training texts that a body learns from, and the loss of their cosine."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from tunesmith.data.records import Example, Finding
from tunesmith.data.tally import SHOWN
from tunesmith.tasks.gold import labels_of

SAME, DIFFERENT = "same class", "different classes"
"""The labels of pairs."""


def paired(examples: Sequence[Example], iterations: int, seed: int) -> list[Example]:
    """Each text `iterations` times beside one of its own class, and as often beside one of another class.

    Both are drawn by the seed with equal chances. As in the published runs of SetFit, a text's own class includes the
    text itself: dropout reads it twice differently, and a class of one text has no other pair.
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        by_class[labels_of(example)[0]].append(place)
    others = {
        label: [place for other, places in by_class.items() if other != label for place in places] for label in by_class
    }
    drawn = random.Random(f"pairs {seed}")
    pairs = []
    for _ in range(iterations):
        for example in examples:
            label = labels_of(example)[0]
            for places, kind in ((by_class[label], SAME), (others[label], DIFFERENT)):
                pairs.append(pair_of(example, examples[drawn.choice(places)], kind))
    return pairs


def pair_of(first: Example, other: Example, kind: str) -> Example:
    """Two texts as one example, `kind` its label."""
    return replace(first, id=f"{first.id} + {other.id}", label=kind, second=other.text)


def is_pair(example: Example) -> bool:
    """Whether an example is one of these pairs, and not a text that is to have a class."""
    return bool(example.second) and example.label in (SAME, DIFFERENT)


def pair_findings(examples: Sequence[Example], pairs: Sequence[Example]) -> list[Finding]:
    """How many pairs there are of each kind, and which classes have one text only."""
    kinds = Counter(pair.label for pair in pairs)
    alone = sum(pair.label == SAME and pair.text == pair.second for pair in pairs)
    message = (
        f"The {len(examples):,} training examples are arranged in {len(pairs):,} pairs: {kinds[SAME]:,} of one class "
        f"({alone:,} of them a text and itself), {kinds[DIFFERENT]:,} of two."
    )
    found = [Finding("arranged", "note", message, len(pairs))]
    counts = Counter(labels_of(example)[0] for example in examples)
    single = sorted(label for label, count in counts.items() if count == 1)
    if single:
        message = f"{len(single)} classes have one training text, which is paired with itself as its own class."
        found.append(Finding("classes_of_one", "warning", message, len(single), tuple(single[:SHOWN])))
    return found


def cosine_loss(first: Tensor, second: Tensor, wanted: Tensor) -> Tensor:
    """The mean squared error between the cosine of two vectors [E, H] and what is wanted [E], 1 or 0.

    A vector of zeros has cosine 0 with every other, and learns nothing.
    """
    return (functional.cosine_similarity(first.float(), second.float(), dim=-1) - wanted).pow(2).mean()
