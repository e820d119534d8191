"""What can be wrong with labelled texts, found before training and said with counts and three examples each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.duplicates import near_duplicates, text_key
from tunesmith.data.records import Example, Finding, Span, Splits
from tunesmith.data.tally import SHOWN, shorten
from tunesmith.errors import nearest

Keys = NDArray[np.int64]
"""A number per text, equal for equal texts."""

IMBALANCED = 20
"""A class this many times rarer than the most common one is worth a warning."""

FEW = 10
"""A class with fewer training examples can hardly be learnt."""

SMALL_TEST = 200
"""Below this many examples an interval is wide."""

COMPARED = 200_000
"""Near duplicates are looked for among so many texts."""

ALIKE = ("answers", "item")
"""Kinds of label of which texts are alike by nature: questions about one passage share nearly all their text, and a
user's history in train begins those in test."""

_OF_COPIES = ("exact_duplicates", "near_duplicates")

_FIXED = ("class", "classes", "number", "spans")
"""The kinds of label of which an example has only one that is right, from a set that training knows."""


def check(splits: Splits, *, label_kind: str) -> list[Finding]:
    """Look for duplicates, leakage, contradictions, imbalance and labels that training lacks.

    Args:
        splits: labelled examples.
        label_kind: one of `LABEL_KINDS`.
    """
    if not splits.named():
        return []
    keys = {
        name: np.array([text_key(example.content) for example in examples], dtype=np.int64)
        for name, examples in splits.named().items()
    }
    found = [
        finding for name, examples in splits.named().items() for finding in _duplicates(name, examples, keys[name])
    ]
    found += _leakage(splits, keys)
    if label_kind not in ALIKE:
        found += _near(splits)
    if label_kind == "item":
        found += _asked_in_training(splits)
    if label_kind in _FIXED:
        found += _conflicts(splits, keys)
    if label_kind in _FIXED and label_kind != "number":
        found += _imbalance(splits.train, label_kind)
        found += _unseen(splits)
    if not label_kind:  # of raw text a line may well occur again
        found = [replace(one, severity="note") if one.code in _OF_COPIES else one for one in found]
    for name in ("validation", "test"):
        size = len(splits.named().get(name, ()))
        if 0 < size < SMALL_TEST:
            found.append(
                Finding(f"small_{name}", "warning", f"{name} has only {size} examples: intervals will be wide.", size)
            )
    return found


def label_names(example: Example) -> tuple[str, ...]:
    """The classes or entity types of an example, each as often as it occurs."""
    if isinstance(example.label, tuple):
        return tuple(item.label if isinstance(item, Span) else item for item in example.label)
    return () if example.label is None else (str(example.label),)


def _duplicates(name: str, examples: Sequence[Example], keys: Keys) -> Iterator[Finding]:
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    again = np.sort(order[1:][same])
    if len(again):
        yield Finding(
            "exact_duplicates",
            "warning",
            f"{len(again):,} texts of {name} occur earlier in it already.",
            len(again),
            _shown(examples, again),
        )


def _leakage(splits: Splits, keys: dict[str, Keys]) -> Iterator[Finding]:
    named = splits.named()
    for first, later in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if first in named and later in named:
            leaked = np.flatnonzero(np.isin(keys[later], keys[first]))
            if len(leaked):
                share = 100 * len(leaked) / len(named[later])
                message = (
                    f"{len(leaked):,} texts of {later} ({share:.1f} %) stand in {first} too: "
                    f"results on {later} are too good by what was learnt by heart."
                )
                yield Finding("leakage", "warning", message, len(leaked), _shown(named[later], leaked))


def _asked_in_training(splits: Splits) -> Iterator[Finding]:
    """What is asked of a user while training holds that the same user took it."""
    taken: dict[str, set[object]] = defaultdict(set)
    for example in splits.train:
        if example.group:
            taken[example.group].update((*example.history, example.label))
    for name in ("validation", "test"):
        examples = splits.named().get(name, ())
        told = np.array([i for i, example in enumerate(examples) if example.label in taken.get(example.group, ())], int)
        if len(told):
            message = (
                f"Of {len(told):,} examples of {name} the answer stands among what train has of the same user: results "
                f"on {name} are too good. Keep a user's rows in one file, or cut train where {name} begins."
            )
            yield Finding("leakage_of_users", "warning", message, len(told), _shown(examples, told))


def _near(splits: Splits) -> Iterator[Finding]:
    named = splits.named()
    # What a model is judged by comes first: a copy of it in training is the worst that can be overlooked.
    left, taken = COMPARED, {}
    for name in sorted(named, key=["test", "validation", "train"].index):
        taken[name] = min(left, len(named[name]))
        left -= taken[name]
    places = [(name, index) for name in named for index in range(taken[name])]
    for name in named:
        if taken[name] < len(named[name]):
            message = f"Near duplicates were looked for among {taken[name]:,} of {len(named[name]):,} texts of {name}."
            yield Finding("near_duplicates_part", "note", message, len(named[name]) - taken[name])
    texts = [compared_text(named[name][index]) for name, index in places]
    counts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for first, later in near_duplicates(texts):
        counts[places[first][0], places[later][0]].append(f"{shorten(texts[first], 60)} | {shorten(texts[later], 60)}")
    for (one, other), pairs in counts.items():
        where = f"in {one}" if one == other else f"between {one} and {other}"
        yield Finding(
            "near_duplicates",
            "warning",
            f"{len(pairs):,} texts are nearly the same as another ({where}).",
            len(pairs),
            tuple(pairs[:SHOWN]),
        )


def compared_text(example: Example) -> str:
    """What near copies are looked for by: questions about one picture are much alike and none the less different."""
    return "" if example.media else example.content


def _conflicts(splits: Splits, keys: dict[str, Keys]) -> Iterator[Finding]:
    named = splits.named()
    everything = np.concatenate([keys[name] for name in named])
    _, inverse, counts = np.unique(everything, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[inverse] > 1)
    starts = np.cumsum([0, *(len(examples) for examples in named.values())])
    names = list(named)
    groups: dict[int, list[Example]] = defaultdict(list)
    for place in repeated:
        split = int(np.searchsorted(starts, place, side="right")) - 1
        groups[int(inverse[place])].append(named[names[split]][int(place - starts[split])])
    clashing = [group for group in groups.values() if len({str(example.label) for example in group}) > 1]
    if clashing:
        shown = tuple(_conflict(group) for group in clashing[:SHOWN])
        yield Finding(
            "conflicting_labels",
            "warning",
            f"{len(clashing):,} texts occur with different labels.",
            len(clashing),
            shown,
        )


def _conflict(group: Sequence[Example]) -> str:
    labels = sorted({", ".join(sorted(set(label_names(example)))) or "none" for example in group})
    rows = ", ".join(example.origin or example.id for example in group[:SHOWN])
    return f"{shorten(group[0].text, 50)} [{' / '.join(labels)}] {rows}"


def _imbalance(examples: Sequence[Example], label_kind: str) -> Iterator[Finding]:
    counts = Counter(label for example in examples for label in label_names(example))
    if not counts:
        return
    unit = "entities" if label_kind == "spans" else "examples"
    ordered = counts.most_common()
    most, least = ordered[0], ordered[-1]
    listed = ", ".join(f"{label} {count:,}" for label, count in ordered[:12]) + (" ..." if len(ordered) > 12 else "")
    yield Finding("labels", "note", f"{len(counts)} labels in train; {unit} of each: {listed}.", len(counts))
    if most[1] > IMBALANCED * least[1]:
        message = f"The labels are imbalanced: '{most[0]}' has {most[1]:,} {unit}, '{least[0]}' has {least[1]:,}."
        yield Finding(
            "class_imbalance",
            "warning",
            message,
            len([count for count in counts.values() if most[1] > IMBALANCED * count]),
        )
    rare = [f"{label}: {count}" for label, count in reversed(ordered) if count < FEW]
    if rare:
        yield Finding(
            "rare_labels",
            "warning",
            f"{len(rare)} labels have fewer than {FEW} {unit} to learn from.",
            len(rare),
            tuple(rare[:SHOWN]),
        )


def _unseen(splits: Splits) -> Iterator[Finding]:
    if not len(splits.train):
        return
    known = {label for example in splits.train for label in label_names(example)}
    for name, examples in splits.named().items():
        if name == "train":
            continue
        strange = Counter(label for example in examples for label in label_names(example) if label not in known)
        if strange:
            shown = tuple(
                f"'{label}' ({count} times){nearest(label, known)}" for label, count in strange.most_common(SHOWN)
            )
            yield Finding(
                "unseen_labels",
                "error",
                f"{len(strange)} labels of {name} do not occur in train.",
                sum(strange.values()),
                shown,
            )


def _shown(examples: Sequence[Example], places: Sequence[int] | NDArray[np.intp]) -> tuple[str, ...]:
    chosen = [examples[int(place)] for place in places[:SHOWN]]
    return tuple(f"{shortened(example)} ({example.origin or example.id})" for example in chosen)


def shortened(example: Example) -> str:
    """The beginning of an example's text, or of each of its two."""
    if not example.second:
        return shorten(example.text, 70)
    return f"{shorten(example.text, 35)} | {shorten(example.second, 60)}"
