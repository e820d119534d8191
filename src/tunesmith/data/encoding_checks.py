"""What a tokenizer and a window do to texts and labels: unknown words, long texts, spans that cannot be aligned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.records import Example, Finding
from tunesmith.data.tally import SHOWN, shorten

WORRYING = 0.02
"""The share of unknown tokens that is worth a warning."""

HOPELESS = 0.2
"""The share of unknown tokens at which the tokenizer does not read the language."""

FRAGMENTED = 1.3
"""Tokens per character above which a byte-level tokenizer does not know the script."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What encoding one example gave.

    `tokens` over all windows, `unknown` of them; `trainable` units with a label; `lost_spans`: the labels of gold spans
    that no run of tokens expresses.
    """

    tokens: int
    unknown: int
    trainable: int
    lost_spans: tuple[str, ...] = ()


def check_encoding(
    examples: Sequence[Example], counts: Sequence[TokenCount], *, max_length: int, split: str
) -> list[Finding]:
    """Say what the tokenizer does not know, what does not fit into the window, and which labels are lost.

    Args:
        examples: the examples of a split.
        counts: what encoding each of them gave.
        max_length: the window, in tokens.
        split: the split's name.
    """
    return [
        *_lengths(examples, counts, max_length, split),
        *_unknown(examples, counts, split),
        *_lost(examples, counts, split),
        *_untrainable(examples, counts, split),
    ]


def check_histories(examples: Sequence[Example], cut: Sequence[int], *, split: str) -> list[Finding]:
    """Say how long histories are, and of how many the oldest items are not read.

    Args:
        examples: the examples of a split.
        cut: how many items of each one's history are left out.
        split: the split's name.
    """
    sizes = np.array([len(example.history) for example in examples])
    middle, high = np.quantile(sizes, [0.5, 0.95])
    message = f"Items per history of {split}: {middle:.0f} in the middle, {high:.0f} at 95 %, at most {sizes.max():,}."
    found = [Finding("lengths", "note", message, len(sizes))]
    long = [place for place, count in enumerate(cut) if count]
    if long:
        message = f"Of {len(long):,} histories of {split} the oldest items are not read, {sum(cut):,} in all."
        found.append(Finding("cut_histories", "warning", message, sum(cut), _shown(examples, long)))
    return found


def _lengths(
    examples: Sequence[Example], counts: Sequence[TokenCount], max_length: int, split: str
) -> Iterator[Finding]:
    sizes = np.array([count.tokens for count in counts])
    middle, high = np.quantile(sizes, [0.5, 0.95])
    long = np.flatnonzero(sizes > max_length)
    message = (
        f"Tokens per text of {split}: {middle:.0f} in the middle, {high:.0f} at 95 %, at most {sizes.max():,}; "
        f"the window holds {max_length}."
    )
    yield Finding("lengths", "note", message, len(sizes))
    if len(long):
        message = (
            f"{len(long):,} texts of {split} exceed the window. They are read in overlapping windows; nothing is cut."
        )
        yield Finding("long_texts", "note", message, len(long), _shown(examples, list(long)))


def _unknown(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    unknown, tokens = sum(count.unknown for count in counts), sum(count.tokens for count in counts)
    hit = [place for place, count in enumerate(counts) if count.unknown]
    share = unknown / max(tokens, 1)
    said = f"{100 * share:.1f} % of the tokens of {split} are unknown to the tokenizer"
    if share >= HOPELESS:
        message = f"{said}. IT DOES NOT READ THIS LANGUAGE: choose another model (for Chinese, e5-small-zh-en)."
        yield Finding("unknown_tokens", "error", message, unknown, _shown(examples, hit))
    elif share >= WORRYING:
        yield Finding("unknown_tokens", "warning", f"{said}, in {len(hit):,} texts.", unknown, _shown(examples, hit))
    elif unknown:
        yield Finding(
            "unknown_tokens",
            "note",
            f"{unknown:,} tokens ({100 * share:.2f} %) of {split} are unknown to the tokenizer.",
            unknown,
            _shown(examples, hit),
        )
    characters = sum(len(example.text) for example in examples)
    if tokens > FRAGMENTED * characters and characters > 20 * len(examples):
        message = (
            f"The texts of {split} have {tokens / characters:.1f} tokens per character: the tokenizer cuts this script "
            "into bytes. A model of this language would be better and faster."
        )
        yield Finding("fragmented_script", "warning", message, tokens)


def _lost(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    by_label = Counter(label for count in counts for label in count.lost_spans)
    if by_label:
        listed = ", ".join(f"{label} {count}" for label, count in by_label.most_common())
        hit = [place for place, count in enumerate(counts) if count.lost_spans]
        message = (
            f"{sum(by_label.values()):,} gold spans of {split} cannot be expressed by whole tokens or words, "
            f"or overlap another: {listed}."
        )
        yield Finding("unaligned_spans", "warning", message, sum(by_label.values()), _shown(examples, hit))


def _untrainable(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    empty = [place for place, count in enumerate(counts) if not count.trainable]
    if empty:
        yield Finding(
            "untrainable",
            "warning",
            f"{len(empty):,} examples of {split} have no token that carries a label.",
            len(empty),
            _shown(examples, empty),
        )


def _shown(examples: Sequence[Example], places: Sequence[int]) -> tuple[str, ...]:
    chosen = [examples[place] for place in places[:SHOWN]]
    return tuple(f"{shorten(example.text, 70)} ({example.origin or example.id})" for example in chosen)
