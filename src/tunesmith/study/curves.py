"""Learning curves: how the error falls with the number of labels, and what more labels would buy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.seeds import Repeated

FEWEST = 4
"""Fewer sizes do not identify the three numbers of the curve."""
_FLATTEST, STEEPEST = 0.01, 3.0
DRAWS = 200

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = a n^-b + c: `scale` a, `exponent` b, `floor` c (Hestness et al. 2017, eq. 1 and sec. 3)."""

    scale: float
    exponent: float
    floor: float

    def error(self, sizes: Numbers | float) -> Numbers:
        """The error with so many training examples."""
        return np.asarray(self.scale * np.asarray(sizes, dtype=np.float64) ** -self.exponent + self.floor)


@dataclass(frozen=True)
class Curve:
    """The metric by the number of training examples, and what was fitted to it.

    `points` holds size -> mean over the seeds with its interval; `expected` size -> what the fit says of more labels,
    with an interval; `line` the fitted metric at sizes in between. Where the fit says nothing, `why` says why.
    """

    data: str
    way: str
    metric: str
    points: Mapping[int, Estimate]
    law: PowerLaw | None
    expected: Mapping[int, Estimate]
    line: Mapping[int, float]
    why: str

    def sentences(self) -> list[str]:
        """The curve in words."""
        place = " ".join(part for part in (self.data, "" if self.way == "baseline" else self.way) if part)
        begin = f"{place}: " if place else ""
        if self.law is None:
            return [f"{begin}no learning curve: {self.why}"]
        most = max(self.points)
        law = f"error = {self.law.scale:.3g} n^-{self.law.exponent:.2f} + {self.law.floor:.3f}"
        said = [f"{begin}{self.points[most].value:.3f} with {most:,} labels; {law}."]
        for size, one in self.expected.items():
            times = {2: "Twice the labels", 4: "Four times the labels"}.get(size // most, f"{size:,} labels")
            said.append(f"{begin}{times} ({size:,}): {one.value:.3f} [{one.low:.3f}, {one.high:.3f}].")
        return [*said, *([f"{begin}{self.why}"] if self.why else [])]


def fit_power_law(sizes: Numbers, errors: Numbers, weights: Numbers) -> PowerLaw:
    """The curve with the least weighted squares (see `fit_power_laws`)."""
    return fit_power_laws(sizes, errors[None], weights)[0]


def fit_power_laws(sizes: Numbers, errors: Numbers, weights: Numbers) -> list[PowerLaw]:
    """The curve of each row of errors [D, K] at sizes [K]: a >= 0, 0 < b <= 3, 0 <= c <= the row's least error.

    `weights` [K] are the inverse variances of the errors. For a given b the other two follow in closed form (variable
    projection, Golub and Pereyra 1973; the sum of squares is convex in c, so c is clipped to its bounds), so b alone is
    searched, on a grid that is refined three times around its best point.
    """
    logs = np.log(sizes) - np.log(sizes).mean()  # around the middle the scale is of the size of an error
    shares = weights / weights.sum()
    lowest = errors.min(axis=1)[:, None]
    grid = np.broadcast_to(np.geomspace(_FLATTEST, STEEPEST, 41), (len(errors), 41))
    for _ in range(4):
        powers = np.exp(-grid[:, :, None] * logs)
        centred = powers - (powers @ shares)[:, :, None]
        mean = (errors @ shares)[:, None]
        slopes = np.einsum("dgk,dk,k->dg", centred, errors, shares) / np.einsum(
            "dgk,dgk,k->dg", centred, centred, shares
        )
        floors = np.clip(mean - np.maximum(slopes, 0) * (powers @ shares), 0, lowest)
        above = errors[:, None] - floors[:, :, None]
        scales = np.einsum("dgk,dgk,k->dg", powers, above, shares) / np.einsum("dgk,dgk,k->dg", powers, powers, shares)
        squares = ((above - scales[:, :, None] * powers) ** 2) @ shares
        best = squares.argmin(axis=1)[:, None]
        found = [np.take_along_axis(one, best, axis=1)[:, 0] for one in (scales, grid, floors)]
        ends = [np.take_along_axis(grid, np.clip(best + step, 0, grid.shape[1] - 1), axis=1) for step in (-1, 1)]
        grid = ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, 21)
    middle = float(np.log(sizes).mean())
    return [
        PowerLaw(float(scale * math.exp(exponent * middle)), float(exponent), float(floor))
        for scale, exponent, floor in zip(*found, strict=True)
    ]


def curve_of(data: str, way: str, runs: Mapping[int, Repeated], means: Mapping[int, Estimate], *, seed: int) -> Curve:
    """The learning curve of one way on one data set, with intervals by a bootstrap over seeds and examples.

    The error is 1 - metric, or the metric itself where less is better. Each of `DRAWS` draws takes the same resample of
    examples for every size and seeds drawn apart for each size (deviations widened by sqrt(S / (S - 1)), as in
    `mean_over_seeds`), and fits the curve again. Weights are the inverse variances over these draws.
    """
    sizes = sorted(runs)
    (first, *_) = runs.values()

    def curve(law: PowerLaw | None, expected: Mapping[int, Estimate], line: Mapping[int, float], why: str) -> Curve:
        return Curve(data, way, first.name, means, law, expected, line, why)

    if len(sizes) < FEWEST:
        why = f"the fit has three unknowns, and needs {FEWEST} sizes or more; there are {len(sizes)}."
        return curve(None, {}, {}, why)
    values = np.array([np.mean(list(runs[size].values.values())) for size in sizes])
    drawn = _drawn(runs, sizes, seed)
    if np.isnan(values).any() or np.isnan(drawn).any() or (first.higher_is_better and values.max() > 1):
        return curve(None, {}, {}, "the metric is not defined at every size, or is no share of 1.")
    errors, drawn_errors = (1 - values, 1 - drawn) if first.higher_is_better else (values, drawn)
    variances = np.maximum(drawn_errors.var(axis=0), (1e-3 * max(float(errors.mean()), 1e-6)) ** 2)
    counts = np.array(sizes, dtype=np.float64)
    law = fit_power_law(counts, errors, 1 / variances)
    laws = fit_power_laws(counts, np.maximum(drawn_errors, 1e-6), 1 / variances)
    expected = {times * sizes[-1]: _expected(law, laws, times * sizes[-1], first) for times in (2, 4)}
    between = np.unique(np.geomspace(sizes[0], 4 * sizes[-1], 60).astype(int))
    line = {int(size): float(_metric(law.error(size), first)) for size in between}
    return curve(law, expected, line, _doubt(drawn_errors, laws))


def _drawn(runs: Mapping[int, Repeated], sizes: Sequence[int], seed: int) -> Numbers:
    """The mean metric at each size in each draw: [DRAWS, sizes]."""
    generator = np.random.default_rng([seed, 77])
    columns = []
    for size in sizes:
        rows = np.array([drawn[:DRAWS] for drawn in runs[size].resampled.values()])
        count, draws = rows.shape
        means = rows.mean(axis=0)
        if count > 1:
            chosen = np.take_along_axis(rows, generator.integers(count, size=(count, draws)), axis=0).mean(axis=0)
            means = means + (chosen - means) * math.sqrt(count / (count - 1))
        columns.append(means)
    return np.column_stack(columns)


def _metric(error: Numbers, runs: Repeated) -> Numbers:
    return np.asarray(1 - error if runs.higher_is_better else error)


def _expected(law: PowerLaw, laws: Sequence[PowerLaw], size: int, runs: Repeated) -> Estimate:
    drawn = np.array([float(_metric(one.error(size), runs)) for one in laws])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(_metric(law.error(size), runs)), float(low), float(high))


def _doubt(drawn: Numbers, laws: Sequence[PowerLaw]) -> str:
    """What makes the fit say little; empty where nothing does."""
    falls = drawn[:, 0] - drawn[:, -1]
    if np.quantile(falls, 0.025) <= 0:
        return "Between the fewest and the most labels no fall of the error is shown, so the curve says little."
    exponents = np.array([one.exponent for one in laws])
    low, high = np.quantile(exponents, (0.025, 0.975))
    if high > 0.95 * STEEPEST or high > 4 * max(low, 0.01):
        return (
            f"The exponent is not identified (95 % of the draws lie from {low:.2f} to {high:.2f}): trust the curve no "
            "further than twice the labels."
        )
    return ""
