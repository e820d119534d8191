"""One example in, a changed one out, whose label still holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tunesmith.augmentation.character_noise import CharacterNoise
from tunesmith.augmentation.counterfactual import TermSwap
from tunesmith.augmentation.masked_fill import MaskedFill
from tunesmith.augmentation.mentions import MentionReplacement
from tunesmith.augmentation.rewriting import BackTranslation, Paraphrase
from tunesmith.augmentation.word_edits import RandomDeletion, RandomInsertion, RandomSwap, SynonymReplacement
from tunesmith.data.records import Example, Finding


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


@runtime_checkable
class Batched(Protocol):
    """An augmenter that works on many examples at once."""

    def augment_all(self, examples: Sequence[Example], chances: Sequence[random.Random]) -> list[Example | None]:
        """For each example what `augment` gives of it, by its own source of chance."""


@runtime_checkable
class Telling(Protocol):
    """An augmenter that has something to say of what it did."""

    def findings(self) -> list[Finding]:
        """What is to be known: texts that were sent away, answers that were of no use."""


AUGMENTERS: dict[str, type[Augmenter]] = {
    "replace_synonyms": SynonymReplacement,
    "insert_words": RandomInsertion,
    "swap_words": RandomSwap,
    "delete_words": RandomDeletion,
    "replace_mentions": MentionReplacement,
    "mistype": CharacterNoise,
    "swap_terms": TermSwap,
    "fill_words": MaskedFill,
    "back_translate": BackTranslation,
    "paraphrase": Paraphrase,
}

__all__ = [
    "AUGMENTERS",
    "Augmenter",
    "BackTranslation",
    "Batched",
    "CharacterNoise",
    "Learning",
    "MaskedFill",
    "MentionReplacement",
    "Paraphrase",
    "RandomDeletion",
    "RandomInsertion",
    "RandomSwap",
    "SynonymReplacement",
    "Telling",
    "TermSwap",
]
