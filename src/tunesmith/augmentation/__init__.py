"""One example in, a changed one out, whose label still holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tunesmith.augmentation.character_noise import CharacterNoise
from tunesmith.augmentation.counterfactual import TermSwap
from tunesmith.augmentation.mentions import MentionReplacement
from tunesmith.augmentation.word_edits import RandomDeletion, RandomInsertion, RandomSwap, SynonymReplacement
from tunesmith.data.records import Example


class Augmenter(Protocol):
    """A way to make further examples out of one."""

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A changed copy whose spans, marks and words fit its text; None where there is nothing to change.

        The same example and the same state of `rng` give the same copy. The id stays; `expand` gives a new one.
        """


@runtime_checkable
class Learning(Protocol):
    """An augmenter that must know the training examples."""

    def fitted(self, examples: Sequence[Example]) -> Augmenter:
        """The same with what it needs to know of the training examples, and of no others."""


AUGMENTERS: dict[str, type[Augmenter]] = {
    "replace_synonyms": SynonymReplacement,
    "insert_words": RandomInsertion,
    "swap_words": RandomSwap,
    "delete_words": RandomDeletion,
    "replace_mentions": MentionReplacement,
    "mistype": CharacterNoise,
    "swap_terms": TermSwap,
}

__all__ = [
    "AUGMENTERS",
    "Augmenter",
    "CharacterNoise",
    "Learning",
    "MentionReplacement",
    "RandomDeletion",
    "RandomInsertion",
    "RandomSwap",
    "SynonymReplacement",
    "TermSwap",
]
