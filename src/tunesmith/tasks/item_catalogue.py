"""The items that there are to recommend: their numbers, their texts as pieces, and how often training has each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tunesmith.data.records import Example
from tunesmith.errors import DataError, nearest
from tunesmith.scoring.answers import class_of
from tunesmith.tasks.encoding import Piece, TextEncoder, plain_piece, windows
from tunesmith.tasks.item_batches import TEXT


@dataclass(frozen=True)
class ItemCatalogue:
    """Items by their ids; an item's number is its place.

    Attributes:
        texts: each item's text by its id.
        popularity: how many training histories have each item, in the same order.
    """

    texts: Mapping[str, str]
    popularity: Sequence[int] = ()

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each item's number by its id."""
        return {item: number for number, item in enumerate(self.texts)}

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The items' ids by their numbers."""
        return tuple(self.texts)

    @cached_property
    def known(self) -> Tensor:
        """The numbers of the items that training histories have, rising."""
        return torch.tensor([number for number, count in enumerate(self.popularity) if count], dtype=torch.long)

    @cached_property
    def shares(self) -> Tensor:
        """Each item's share of all places of the training histories [N]."""
        return torch.tensor(self.popularity, dtype=torch.float64) / max(sum(self.popularity), 1)

    def holds(self, example: Example) -> bool:
        """Whether the example is one of the items, not a history."""
        return not example.history and self.texts.get(example.id) == example.text

    def sequence(self, example: Example) -> list[int]:
        """The numbers of the items that the example's user had, the label last if there is one.

        Raises:
            DataError: there is no history, or an item is unknown.
        """
        where = example.origin or example.id
        if not example.history:
            raise DataError(
                "There is no history to recommend by.",
                where=where,
                to_do='Give a file with rows such as {"history": ["12", "7"]}, the oldest item first.',
            )
        label = () if example.label is None else (class_of(example),)
        found = []
        for item in (*example.history, *label):
            if item not in self.numbers:
                raise DataError(
                    f"Unknown item '{item}'.{nearest(item, self.numbers)}",
                    where=where,
                    to_do="Correct it, or train with a file of items (data.items) that has it.",
                )
            found.append(self.numbers[item])
        return found

    def pieces(self, number: int, encoder: TextEncoder, stride: int) -> tuple[Piece, ...]:
        """An item's text as windows, each of which knows the item's number as its unit."""
        key = (number, encoder, stride)
        if key not in self._kept:
            tokens = encoder.tokens(self.texts[self.ids[number]])
            cuts = windows(len(tokens.ids), encoder.room, min(stride, encoder.room // 2))
            self._kept[key] = tuple(
                plain_piece(encoder.wrap(tokens.ids[start:end]), (number,), part=TEXT) for start, end in cuts
            )
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[tuple[int, TextEncoder, int], tuple[Piece, ...]]:
        """The pieces of texts that were encoded already: an item is in many histories."""
        return {}
