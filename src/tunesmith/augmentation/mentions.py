"""Labelled mentions replaced by others of the same type."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.augmentation.edits import Edit, edited
from tunesmith.augmentation.word_edits import check_share
from tunesmith.augmentation.words import labels_of_places
from tunesmith.data.records import Example, Span


@dataclass(frozen=True)
class MentionReplacement:
    """Replace labelled mentions by others of their type out of the training examples (Dai and Adel 2020, sec. 3).

    A mention inside another one, or around it, stays.

    Attributes:
        share: of the mentions; at least one is replaced.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        check_share(self.share)

    def fitted(self, examples: Sequence[Example]) -> KnownMentions:
        """The same with the mentions of these examples, which must be those that are learnt from."""
        found: dict[str, dict[str, None]] = {}
        for example in examples:
            for span in labels_of_places(example):
                found.setdefault(span.label, {})[example.text[span.start : span.end]] = None
        return KnownMentions(self.share, {label: tuple(texts) for label, texts in found.items()})

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy whose mentions change places among each other, where it has several of a type."""
        return self.fitted([example]).augment(example, rng)


@dataclass(frozen=True)
class KnownMentions:
    """Replaces mentions by those that are known of their type; see `MentionReplacement`."""

    share: float
    mentions: Mapping[str, Sequence[str]]

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with other mentions; None if it has none that could be another."""
        spans = labels_of_places(example)
        alone = [span for span in spans if not any(_meet(span, other) for other in spans if other is not span)]
        number = max(1, round(self.share * len(alone)))
        edits: list[Edit] = []
        for span in rng.sample(alone, len(alone)):
            if len(edits) == number:
                break
            now = example.text[span.start : span.end]
            if others := [other for other in self.mentions.get(span.label, ()) if other != now]:
                edits.append(Edit(span.start, span.end, rng.choice(others)))
        return edited(example, edits) if edits else None


def _meet(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
