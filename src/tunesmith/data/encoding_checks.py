"""What a tokenizer and a window do to texts and labels: unknown words, long texts, spans that cannot be aligned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.checks import shortened
from tunesmith.data.records import Example, Finding
from tunesmith.data.tally import SHOWN

WORRYING = 0.02
"""The share of unknown tokens that is worth a warning."""

HOPELESS = 0.2
"""The share of unknown tokens at which the tokenizer does not read the language."""

FRAGMENTED = 1.3
"""Tokens per character above which a byte-level tokenizer does not know the script."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What encoding one example gave.

    `tokens` over all windows (of the longest, where several texts are read apart), `unknown` of them, `repeated` in
    several of them; `trainable` units with a label; `lost_spans`: the labels of gold spans that no run of tokens
    expresses; `changed`: codes of what else is not read as it stands; `dropped`, `cut` and `unread`: tokens before the
    text, of the answer, or of the text itself, that did not fit; `frame`: tokens that are not of the text but around
    it.
    """

    tokens: int
    unknown: int
    trainable: int
    lost_spans: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    repeated: int = 0
    dropped: int = 0
    cut: int = 0
    unread: int = 0
    frame: int = 0


CHANGES: Mapping[str, str] = {
    "cut_context": "{count} texts of {split} are longer than a window: what is farthest from the entities is not read.",
    "widened_entity": "{count} texts of {split} have an entity that ends within a token: the whole token is marked.",
    "cut_pair": "{count} pairs of {split} are longer than a window: the end of the longer text is not read.",
    "cut_source": "{count} texts of {split} are longer than task.max_length: what stands beyond it is not read.",
    "cut_target": "{count} given texts of {split} are longer than task.max_target_length: only their beginnings count.",
    "cut_question": "{count} questions of {split} take more than half of a window: their ends are not read.",
    "widened_answer": "{count} questions of {split} have an answer that ends within a token: that is learnt whole.",
    "long_answer": "{count} questions of {split} have only answers longer than task.max_answer, never given whole.",
}
"""What a task may have to change in an example, by code."""


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
        *_fragmented(examples, counts, split),
        *_lost(examples, counts, split),
        *_untrainable(examples, counts, split),
        *_changed(examples, counts, split),
        *_cut(examples, counts, split),
    ]


def check_histories(examples: Sequence[Example], cut: Sequence[int], *, split: str) -> list[Finding]:
    """Say how long histories are, of how many the oldest items are not read, and how many hold their own label.

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
    again = [place for place, example in enumerate(examples) if example.label in example.history]
    if again:
        message = (
            f"{len(again):,} labels of {split} stand in their own history. What a user has is never recommended, so no "
            "answer to these can be right."
        )
        found.append(Finding("repeated_targets", "warning", message, len(again), _shown(examples, again)))
    return found


def _lengths(
    examples: Sequence[Example], counts: Sequence[TokenCount], max_length: int, split: str
) -> Iterator[Finding]:
    sizes = np.array([count.tokens - count.repeated for count in counts])
    middle, high = np.quantile(sizes, [0.5, 0.95])
    unread = np.array([count.unread for count in counts])
    long, short = np.flatnonzero((sizes > max_length) & (unread == 0)), np.flatnonzero(unread)
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
    if len(short):
        message = (
            f"{len(short):,} texts of {split} exceed the window and lose their end: {unread.sum():,} of "
            f"{sizes.sum():,} tokens are not read."
        )
        yield Finding("cut_texts", "warning", message, len(short), _shown(examples, list(short)))


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


def _fragmented(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    tokens = sum(count.tokens - count.repeated - count.frame for count in counts)
    characters = sum(len(example.content) + _length_of_answers(example) for example in examples)
    if tokens > FRAGMENTED * characters and characters > 20 * len(examples):
        message = (
            f"The texts of {split} have {tokens / characters:.1f} tokens per character: the tokenizer cuts this script "
            "into bytes. A model of this language would be better and faster."
        )
        yield Finding("fragmented_script", "warning", message, tokens)


def _length_of_answers(example: Example) -> int:
    """The characters of a dialogue's answers, which are read with it."""
    return len(str(example.label)) + len(example.rejected) if example.turns and example.label is not None else 0


def _lost(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    by_label = Counter(label for count in counts for label in count.lost_spans)
    if by_label:
        listed = ", ".join(f"{label} {count}" for label, count in by_label.most_common())
        hit = [place for place, count in enumerate(counts) if count.lost_spans]
        message = (
            f"{sum(by_label.values()):,} gold spans of {split} cannot be expressed by whole tokens or words, "
            f"overlap another, or fit into no window: {listed}."
        )
        yield Finding("unaligned_spans", "warning", message, sum(by_label.values()), _shown(examples, hit))


def _changed(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    for code, message in CHANGES.items():
        hit = [place for place, count in enumerate(counts) if code in count.changed]
        if hit:
            said = message.format(count=f"{len(hit):,}", split=split)
            yield Finding(code, "warning", said, len(hit), _shown(examples, hit))


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


def _cut(examples: Sequence[Example], counts: Sequence[TokenCount], split: str) -> Iterator[Finding]:
    """What of dialogues and answers did not fit into the window."""
    for code, sizes, what in (
        (
            "dropped_messages",
            [count.dropped for count in counts],
            "dialogues of {0} lost their oldest messages or the start of a long question",
        ),
        ("cut_answers", [count.cut for count in counts], "answers of {0} were cut at their end"),
    ):
        hit = [place for place, size in enumerate(sizes) if size]
        if hit:
            message = f"{len(hit):,} {what.format(split)} to fit into task.max_length: {sum(sizes):,} tokens in all."
            yield Finding(code, "warning", message, len(hit), _shown(examples, hit))


def _shown(examples: Sequence[Example], places: Sequence[int]) -> tuple[str, ...]:
    chosen = [examples[place] for place in places[:SHOWN]]
    return tuple(f"{shortened(example)} ({example.origin or example.id})" for example in chosen)
