"""The main metric of the subgroup in which it is worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tunesmith.data.records import Example
from tunesmith.scoring import Measure, RankMeasure, SummedMeasure

WORST = "worst_group_"
SMALLEST = 5
"""A subgroup of fewer examples says nothing of its metric, and is not counted among the worst."""


def with_worst_subgroup(measures: Sequence[Measure], main: str, examples: Sequence[Example]) -> list[Measure]:
    """The measures, and behind them "worst_group_" and the main one where examples belong to subgroups.

    Its value is that of the subgroup (of at least five examples) with the lowest one, or the highest of an error. In a
    resample the worst may be another, so that the interval also says how unsure it is which subgroup that is.
    """
    names = large_subgroups(examples)
    chosen = [measure for measure in measures if measure.name == main]
    if len(names) < 2 or not chosen:
        return list(measures)
    members = np.array([[example.subgroup == name for name in names] for example in examples])
    return [*measures, _worst(chosen[0], members)]


def worst_names(main: str, examples: Sequence[Example]) -> tuple[str, ...]:
    """The name of the measure that `with_worst_subgroup` adds for these examples; none where it adds none."""
    return (f"{WORST}{main}",) if len(large_subgroups(examples)) > 1 else ()


def large_subgroups(examples: Sequence[Example]) -> list[str]:
    """The subgroups that have enough examples to be judged."""
    counts = Counter(example.subgroup for example in examples if example.subgroup)
    return sorted(name for name, count in counts.items() if count >= SMALLEST)


def _worst(measure: Measure, members: NDArray[np.bool_]) -> Measure:
    """The measure of the worst of the groups whose members are true in `members` [N, G]."""
    name, higher = f"{WORST}{measure.name}", measure.higher_is_better
    worst = np.fmin if higher else np.fmax  # a group without a value in a resample is passed over
    if isinstance(measure, RankMeasure):
        whole, width = measure.whole, measure.columns.shape[1]

        def of_rows(rows: NDArray[np.float64]) -> float:
            groups = [rows[rows[:, width + group] > 0, :width] for group in range(members.shape[1])]
            return float(worst.reduce([whole(part) if len(part) else np.nan for part in groups]))

        return RankMeasure(name, np.column_stack([measure.columns, members]), of_rows, higher)
    assert isinstance(measure, SummedMeasure), "a measure is of one of both kinds"
    finish, statistics = measure.finish, measure.statistics
    dense = statistics.toarray() if isinstance(statistics, csr_array) else statistics
    blocks = np.concatenate([dense * members[:, [group]] for group in range(members.shape[1])], axis=1)

    def of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = worst.reduce([finish(part) for part in np.split(sums, members.shape[1], axis=1)])
        return found

    return SummedMeasure(name, blocks, of_sums, higher)
