"""How examples of unequal length are put together so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunesmith.tasks.encoding import Encoded


def cut(order: Sequence[int], encoded: Sequence[Encoded], *, max_examples: int, max_tokens: int) -> Iterator[list[int]]:
    """Cut `order` into batches of at most `max_examples` examples and `max_tokens` tokens, padding counted.

    An example that is longer than `max_tokens` alone gets a batch of its own.
    """
    batch: list[int] = []
    pieces = longest = 0
    for index in order:
        item = encoded[index]
        wide = max(longest, item.longest)
        if batch and (len(batch) == max_examples or (pieces + len(item.pieces)) * wide > max_tokens):
            yield batch
            batch, pieces, wide = [], 0, item.longest
        batch.append(index)
        pieces += len(item.pieces)
        longest = wide
    if batch:
        yield batch


def by_length(encoded: Sequence[Encoded]) -> list[int]:
    """The examples' numbers, longest first (so that a batch that does not fit memory fails at once)."""
    return sorted(range(len(encoded)), key=lambda index: (-encoded[index].longest, index))
