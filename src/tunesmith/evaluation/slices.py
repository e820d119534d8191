"""The main metric on parts of a split: short and long texts, each label, each source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tunesmith.data.records import Example, Prediction, Span
from tunesmith.evaluation.intervals import Comparison, Estimate, compare, estimate
from tunesmith.scoring import Measure
from tunesmith.tasks import Task

MOST = 12
"""Slices per kind; the largest are shown."""

SMALLEST = 5
"""A slice of fewer examples says nothing."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The main metric on the examples of a `kind` (length, label, a column) that share a `value`."""

    kind: str
    value: str
    size: int
    result: Estimate


@dataclass(frozen=True, slots=True)
class ComparedSlice:
    """Two sets of answers by the main metric on the examples of a `kind` that share a `value`."""

    kind: str
    value: str
    size: int
    comparison: Comparison


def slices_of(
    task: Task, examples: Sequence[Example], predictions: Sequence[Prediction], *, seed: int, resamples: int
) -> tuple[Slice, ...]:
    """Measure each slice with at least five examples, at most twelve of a kind (the largest)."""
    found = []
    for kind, value, inside in members_of(examples):
        main = main_measure(task, examples, predictions, inside)
        result = estimate([main], seed=seed, resamples=resamples)[task.metric]
        found.append(Slice(kind, value, len(inside), result))
    return tuple(found)


def compared_slices(
    task: Task, examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], *, seed: int
) -> tuple[ComparedSlice, ...]:
    """Two sets of answers compared on each slice, paired by example."""
    found = []
    for kind, value, inside in members_of(examples):
        one, other = (main_measure(task, examples, answers, inside) for answers in (ours, theirs))
        found.append(ComparedSlice(kind, value, len(inside), compare(one, other, seed=seed, resamples=2000)))
    return tuple(found)


def members_of(examples: Sequence[Example]) -> Iterator[tuple[str, str, list[int]]]:
    """The kind and value of each slice, and the places of its examples."""
    for kind, belongs in slicings(examples).items():
        members = [belongs(example) for example in examples]
        counts = Counter(value for values in members for value in values)
        chosen = sorted(value for value, count in counts.most_common(MOST) if count >= SMALLEST)
        for value in chosen if len(counts) > 1 else ():
            yield kind, value, [index for index, values in enumerate(members) if value in values]


def main_measure(
    task: Task, examples: Sequence[Example], predictions: Sequence[Prediction], inside: Sequence[int]
) -> Measure:
    """The task's main metric on the examples at these places."""
    measures = task.measures([examples[index] for index in inside], [predictions[index] for index in inside])
    return next(measure for measure in measures if measure.name == task.metric)


def slicings(examples: Sequence[Example]) -> dict[str, Callable[[Example], tuple[str, ...]]]:
    """Kind of slice -> which of its values an example belongs to."""
    borders = sorted(
        {int(border) for border in np.quantile([len(example.text) for example in examples], [0.25, 0.5, 0.75])}
    )
    names = length_names(borders)
    kinds: dict[str, Callable[[Example], tuple[str, ...]]] = {
        "length": lambda example: (names[int(np.searchsorted(borders, len(example.text)))],)
    }
    if not any(isinstance(example.label, int | float) for example in examples):
        kinds["label"] = label_values
    if any(example.subgroup for example in examples):
        kinds["subgroup"] = lambda example: (example.subgroup,)
    kinds["file"] = lambda example: (example.origin.rpartition(":")[0],) if ":" in example.origin else ()
    for column in sorted({name for example in examples for name in example.attributes}):
        kind = column
        while kind in kinds:
            kind = f"column {kind}"
        kinds[kind] = lambda example, column=column: (example.attributes.get(column) or "(empty)",)  # type: ignore[misc]
    return kinds


def length_names(borders: Sequence[int]) -> list[str]:
    """Names of the groups between borders, such as "21 to 40 characters", padded so that they sort by size."""
    edges = [0, *borders]
    names = [f"{low + 1:>5} to {high:>5} characters" for low, high in pairwise(edges)]
    return [*names, f"{borders[-1] + 1:>5} or more characters"]


def label_values(example: Example) -> tuple[str, ...]:
    """The labels of an example, each once; a text without entities belongs to no label's slice, for it has no F1."""
    if not isinstance(example.label, tuple):
        return (str(example.label),)
    labels = {item.label if isinstance(item, Span) else item for item in example.label}
    return tuple(sorted(labels))
