"""Learning curves of strategies, the areas under them, and how these differ from chance."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from tunesmith.evaluation.intervals import Estimate, Verdict, verdict_of

CHANCE = "random"
"""The strategy that all others are compared with."""

Cost = Literal["texts", "words"]


@dataclass(frozen=True)
class Point:
    """One round: what was labelled so far, what it cost, and what the model reached.

    Attributes:
        seed, strategy, round: which; round 0 is the start, which all strategies of a seed share.
        asked: places of the training examples whose labels were revealed for this round.
        texts, words: labelled so far.
        value: the metric on the split that judges.
        seconds: to choose, to learn and to judge.
    """

    seed: int
    strategy: str
    round: int
    asked: tuple[int, ...]
    texts: int
    words: int
    value: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """A strategy over all seeds.

    Attributes:
        area: the mean height of its curve between the start and the end, by texts; with its interval over seeds.
        by_words: the same against words labelled, over the range that all curves of a seed share.
        final: the metric after the last round.
        gain, gain_by_words: the areas less those of chance with the same seed and start; nan without chance.
        verdict: what the interval of `gain` shows.
    """

    strategy: str
    area: Estimate
    by_words: Estimate
    final: Estimate
    gain: Estimate
    gain_by_words: Estimate
    verdict: Verdict | None
    seconds: float


@dataclass(frozen=True)
class Curves:
    """All points, a row per strategy in the order of their gain, and what labels were counted besides.

    `judging_texts` and `judging_words` are those of the split that judges, which must be labelled too.
    """

    name: str
    metric: str
    split: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    rows: tuple[Row, ...]
    judging_texts: int
    judging_words: int
    notes: tuple[str, ...]


def area_under(costs: Sequence[float], values: Sequence[float], low: float, high: float) -> float:
    """The mean height of the line through points of rising cost, between two costs."""
    if high <= low:
        return float(np.interp(low, costs, values))
    inside = [cost for cost in costs if low < cost < high]
    places = np.array([low, *inside, high])
    heights = np.interp(places, costs, values)
    return float(np.trapezoid(heights, places) / (high - low))


def over_seeds(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean with the t interval of what differs from seed to seed; without one of a single seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, math.nan, math.nan)
    wide = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Estimate(mean, mean - wide, mean + wide)


def rows_of(points: Sequence[Point], *, higher_is_better: bool = True) -> tuple[Row, ...]:
    """A row per strategy, the largest gain over chance first, from the seeds that every strategy has finished alike."""
    curves: dict[str, dict[int, list[Point]]] = defaultdict(dict)
    for point in sorted(points, key=lambda one: one.round):
        curves[point.strategy].setdefault(point.seed, []).append(point)
    areas: dict[Cost, dict[str, dict[int, float]]] = {
        "texts": areas_of(curves, "texts"),
        "words": areas_of(curves, "words"),
    }
    rows = []
    for strategy, by_seed in curves.items():
        values = {cost: list(areas[cost][strategy].values()) for cost in areas}
        gaps = {
            cost: [area - areas[cost][CHANCE][seed] for seed, area in areas[cost][strategy].items()]
            if CHANCE in curves and strategy != CHANCE
            else []
            for cost in areas
        }
        gains = {cost: over_seeds(found) if found else _NOTHING for cost, found in gaps.items()}
        gain = gains["texts"]
        verdict = None if math.isnan(gain.low) else verdict_of(gain, higher_is_better)
        final = over_seeds([line[-1].value for line in by_seed.values()])
        seconds = sum(point.seconds for line in by_seed.values() for point in line)
        rows.append(
            Row(
                strategy,
                over_seeds(values["texts"]),
                over_seeds(values["words"]),
                final,
                gain,
                gains["words"],
                verdict,
                seconds,
            )
        )
    sign = 1 if higher_is_better else -1
    return tuple(sorted(rows, key=lambda row: -sign * row.area.value))


def areas_of(curves: Mapping[str, Mapping[int, Sequence[Point]]], cost: Cost) -> dict[str, dict[int, float]]:
    """The area of each strategy and seed, over the range of costs that all strategies of the seed share."""
    found: dict[str, dict[int, float]] = {strategy: {} for strategy in curves}
    for seed in sorted({seed for by_seed in curves.values() for seed in by_seed}):
        lines = {strategy: by_seed[seed] for strategy, by_seed in curves.items() if seed in by_seed}
        costs = {
            name: [float(point.texts if cost == "texts" else point.words) for point in line]
            for name, line in lines.items()
        }
        low, high = max(one[0] for one in costs.values()), min(one[-1] for one in costs.values())
        for name, line in lines.items():
            found[name][seed] = area_under(costs[name], [point.value for point in line], low, high)
    return found


_NOTHING = Estimate(math.nan, math.nan, math.nan)
