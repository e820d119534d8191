"""What a rule measures: each measure as PromQL, and as a number from a history, with the same meaning."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from tunesmith.errors import RecipeError
from tunesmith.watching.durations import duration_of
from tunesmith.watching.history import History, Series
from tunesmith.watching.metric_table import PREFIX

By = tuple[str, ...]
Values = dict[tuple[str, ...], float]
"""A number for each combination of values of the labels that a rule goes by."""


_JOINS: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


class Measure(Protocol):
    """A number per combination of labels, over a window in seconds that ends now."""

    has_window: ClassVar[bool]

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        ...

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        ...

    def series(self) -> dict[str, set[str]]:
        """The names of the series that it reads, each with the labels that it selects by."""
        ...


@dataclass(frozen=True)
class Latest:
    """The value now of `of`, made one by `how` where there are several."""

    of: str
    how: Literal["sum", "max", "min"] = "sum"
    where: Mapping[str, str] = field(default_factory=dict)
    has_window: ClassVar[bool] = False

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        return f"{self.how}{_by(by)} ({selector(self.of, self.where)})"

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        found = _grouped(history, self.of, self.where, by, lambda series: series.latest(now))
        return {key: _JOINS[self.how](numbers) for key, numbers in found.items()}

    def series(self) -> dict[str, set[str]]:
        """The series that it reads."""
        return {full_name(self.of): set(self.where)}


@dataclass(frozen=True)
class Increase:
    """What a counter grew by in the window."""

    of: str
    where: Mapping[str, str] = field(default_factory=dict)
    has_window: ClassVar[bool] = True

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        return f"sum{_by(by)} (increase({selector(self.of, self.where)}[{duration_of(window)}]))"

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        return _increase(history, now, self.of, self.where, by, window)

    def series(self) -> dict[str, set[str]]:
        """The series that it reads."""
        return {full_name(self.of): set(self.where)}


@dataclass(frozen=True)
class Ratio:
    """What one counter grew by for each unit that another grew by."""

    of: str
    to: str
    where: Mapping[str, str] = field(default_factory=dict)
    to_where: Mapping[str, str] = field(default_factory=dict)
    has_window: ClassVar[bool] = True

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        parts = ((self.of, self.where), (self.to, self.to_where))
        of, to = (f"sum{_by(by)} (rate({selector(name, where)}[{duration_of(window)}]))" for name, where in parts)
        return f"{of} / {to}"

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        of = _increase(history, now, self.of, self.where, by, window)
        to = _increase(history, now, self.to, self.to_where, by, window)
        return {key: quotient(value, to[key]) for key, value in of.items() if key in to}

    def series(self) -> dict[str, set[str]]:
        """The series that it reads."""
        found = {full_name(self.of): set(self.where)}
        found.setdefault(full_name(self.to), set()).update(self.to_where)
        return found


@dataclass(frozen=True)
class Share:
    """The share of each combination in what all that agree in the labels `within` grew by."""

    of: str
    within: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    has_window: ClassVar[bool] = True

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        rate = f"(rate({selector(self.of, self.where)}[{duration_of(window)}]))"
        return f"sum{_by(by)} {rate} / on ({', '.join(self.within)}) group_left () sum{_by(self.within)} {rate}"

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        parts = _increase(history, now, self.of, self.where, by, window)
        wholes = _increase(history, now, self.of, self.where, self.within, window)
        return {key: quotient(value, wholes[projected(key, by, self.within)]) for key, value in parts.items()}

    def series(self) -> dict[str, set[str]]:
        """The series that it reads."""
        return {full_name(self.of): {*self.where, *self.within}}


@dataclass(frozen=True)
class Mean:
    """The mean of what a histogram observed in the window."""

    of: str
    where: Mapping[str, str] = field(default_factory=dict)
    has_window: ClassVar[bool] = True

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        return self._ratio().promql(by, window)

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        return self._ratio().values(history, now, by, window)

    def series(self) -> dict[str, set[str]]:
        """The series that it reads."""
        return self._ratio().series()

    def _ratio(self) -> Ratio:
        return Ratio(f"{self.of}_sum", f"{self.of}_count", self.where, self.where)


@dataclass(frozen=True)
class Quantile:
    """The value under which the share `q` of what a histogram observed in the window lies, linear within a bucket."""

    of: str
    q: float = 0.99
    where: Mapping[str, str] = field(default_factory=dict)
    has_window: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            raise ValueError("q must be between 0 and 1")

    def promql(self, by: By, window: float) -> str:
        """The expression for Prometheus."""
        buckets = f"rate({selector(self.of + '_bucket', self.where)}[{duration_of(window)}])"
        return f"histogram_quantile({self.q}, sum{_by(('le', *by))} ({buckets}))"

    def values(self, history: History, now: float, by: By, window: float) -> Values:
        """The same from a history."""
        found = _increase(history, now, f"{self.of}_bucket", self.where, (*by, "le"), window)
        histograms: dict[tuple[str, ...], list[tuple[float, float]]] = {}
        for (*key, bound), count in found.items():
            histograms.setdefault(tuple(key), []).append((float(bound), count))
        return {key: _quantile(self.q, sorted(buckets)) for key, buckets in histograms.items()}

    def series(self) -> dict[str, set[str]]:
        """The series that it reads."""
        return {full_name(self.of) + "_bucket": {*self.where, "le"}}


MEASURES: dict[str, type[Measure]] = {
    "latest": Latest,
    "increase": Increase,
    "ratio": Ratio,
    "share": Share,
    "mean": Mean,
    "quantile": Quantile,
}
"""What a rule can measure, by name."""


def full_name(name: str) -> str:
    """The name in Prometheus: ours have a prefix, `up` has none."""
    return name if name == "up" else PREFIX + name


def selector(name: str, where: Mapping[str, str]) -> str:
    """A selector of PromQL; each pattern of `where` must match a whole value."""
    for pattern in where.values():
        if "(?" in pattern or "\\" in pattern:  # the two kinds of patterns, Go's and Python's, differ there
            raise RecipeError(f"The pattern '{pattern}' is too much.", to_do="Write it without '(?' and backslashes.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise RecipeError(f"'{pattern}' is no pattern: {error.msg}.") from error
    inside = ", ".join(f"{label}=~{json.dumps(pattern, ensure_ascii=False)}" for label, pattern in where.items())
    return full_name(name) + (f"{{{inside}}}" if inside else "")


def quotient(of: float, to: float) -> float:
    """A division as of floats in Go: by zero it is endless, or not a number."""
    if to != 0:
        return of / to
    return math.nan if of == 0 or math.isnan(of) else math.copysign(math.inf, of)


def projected(key: tuple[str, ...], by: Sequence[str], onto: Sequence[str]) -> tuple[str, ...]:
    """The values of some of the labels."""
    values = dict(zip(by, key, strict=True))
    return tuple(values[label] for label in onto)


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def _grouped(
    history: History, name: str, where: Mapping[str, str], by: By, number: Callable[[Series], float | None]
) -> dict[tuple[str, ...], list[float]]:
    found: dict[tuple[str, ...], list[float]] = {}
    for labels, series in history.select(full_name(name), where):
        if (value := number(series)) is not None:
            found.setdefault(tuple(labels.get(label, "") for label in by), []).append(value)
    return found


def _increase(
    history: History, now: float, name: str, where: Mapping[str, str], by: By, window: float
) -> Values:  # the window divides out of quotients, so that increases stand for rates
    found = _grouped(history, name, where, by, lambda series: series.increase(now, window))
    return {key: sum(numbers) for key, numbers in found.items()}


def _quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float:
    """As histogram_quantile() of Prometheus 2: (upper bound, count of all below it) in rising order."""
    bounds = [bound for bound, _ in buckets]
    counts = list(_rising(count for _, count in buckets))
    if len(buckets) < 2 or not math.isinf(bounds[-1]) or counts[-1] == 0:
        return math.nan
    rank = q * counts[-1]
    here = next(number for number, count in enumerate(counts) if count >= rank)
    if here == len(counts) - 1:
        return bounds[-2]
    if here == 0 and bounds[0] <= 0:
        return bounds[0]
    below, start = (counts[here - 1], bounds[here - 1]) if here else (0.0, 0.0)
    return start + (bounds[here] - start) * quotient(rank - below, counts[here] - below)


def _rising(counts: Iterable[float]) -> Iterable[float]:
    most = -math.inf
    for count in counts:
        most = max(most, count)
        yield most
