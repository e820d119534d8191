"""What was scraped, kept for as long as the longest window of a rule, with bounded memory."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

Sample = tuple[str, Labels, float]
"""The name of a series, its labels, its value."""

SERIES = 5000
LOOK_BACK = 300.0
KEPT_WHOLE = 7200.0
STEP_OF_OLD = 300.0


@dataclass
class Series:
    """One series: times in seconds, values, and the same values with the falls at restarts of the service added up.

    With these sums, thinning loses no increase of a counter.
    """

    name: str
    labels: Labels
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    totals: array[float] = field(default_factory=lambda: array("d"))
    is_stale: bool = False

    def add(self, now: float, value: float) -> None:
        """Append a sample; one that is no later than the last is passed over."""
        if self.times and now <= self.times[-1]:
            return
        fallen = self.values[-1] if self.values and value < self.values[-1] else 0.0
        before = self.totals[-1] - self.values[-1] if self.values else 0.0
        self.times.append(now)
        self.values.append(value)
        self.totals.append(before + fallen + value)
        self.is_stale = False

    def latest(self, now: float) -> float | None:
        """The value now: none if the last scrape lacked it, or the last scrape is more than five minutes ago."""
        if self.is_stale or not self.times or now - self.times[-1] > LOOK_BACK:
            return None
        return self.values[-1]

    def increase(self, now: float, window: float) -> float | None:
        """What the counter grew by in the window that ends now, extrapolated to the window's ends.

        As Prometheus 2 computes increase(): up to an end that is nearer than 1.1 sample distances, else by half a
        distance; never to before the counter was zero. None with fewer than two samples.
        """
        start = now - window
        first, last = bisect_left(self.times, start), len(self.times) - 1
        if last - first < 1:
            return None
        grown = self.totals[last] - self.totals[first]
        covered = self.times[last] - self.times[first]
        distance = covered / (last - first)
        to_start, to_end = self.times[first] - start, now - self.times[last]
        if grown > 0 and self.values[first] >= 0:
            to_start = min(to_start, covered * self.values[first] / grown)
        reach = covered
        for gap in (to_start, to_end):
            reach += gap if gap < distance * 1.1 else distance / 2
        return grown * reach / covered

    def thin(self, now: float, keep: float) -> None:
        """Drop what is older than `keep` seconds; of what is older than two hours keep a sample per five minutes."""
        kept: list[int] = []
        slot = None
        for number, time in enumerate(self.times):
            if time < now - keep:
                continue
            if time < now - KEPT_WHOLE:
                if (here := time // STEP_OF_OLD) == slot:
                    continue
                slot = here
            kept.append(number)
        self.times = array("d", (self.times[number] for number in kept))
        self.values = array("d", (self.values[number] for number in kept))
        self.totals = array("d", (self.totals[number] for number in kept))


class History:
    """Series by name; at most `limit`, those beyond are counted in `left_out`."""

    def __init__(self, names: Iterable[str], *, keep: float, limit: int = SERIES) -> None:
        self._series: dict[str, dict[Labels, Series]] = {name: {} for name in names}
        self._keep = keep
        self._limit = limit
        self._scrapes = 0
        self.left_out = 0

    def __len__(self) -> int:
        return sum(len(found) for found in self._series.values())

    def __iter__(self) -> Iterator[Series]:
        return (series for found in self._series.values() for series in found.values())

    def add(self, now: float, samples: Iterable[Sample]) -> None:
        """Take in one scrape; a series that it lacks is stale. If the clock went back, all is forgotten first."""
        if any(series.times and series.times[-1] > now for series in self):
            self._series = {name: {} for name in self._series}
        seen = set()
        count = len(self)
        self.left_out = 0
        for name, labels, value in samples:
            found = self._series.get(name)
            if found is None or value != value:  # NaN, which none of our metrics is
                continue
            if labels not in found:
                if count >= self._limit:
                    self.left_out += 1
                    continue
                found[labels] = Series(name, labels)
                count += 1
            found[labels].add(now, value)
            seen.add((name, labels))
        for series in self:
            series.is_stale = (series.name, series.labels) not in seen
        self._scrapes += 1
        if self._scrapes % 20 == 0:
            self._tidy(now)

    def restore(self, series: Series) -> None:
        """Take back a series that was kept on disk, if a rule needs it."""
        if series.name in self._series and len(self) < self._limit:
            self._series[series.name][series.labels] = series

    def select(self, name: str, where: Mapping[str, str]) -> Iterator[tuple[dict[str, str], Series]]:
        """The series of a name whose labels match; a pattern must match the whole value."""
        patterns = [(label, re.compile(pattern)) for label, pattern in where.items()]
        for labels, series in self._series.get(name, {}).items():
            values = dict(labels)
            if all(pattern.fullmatch(values.get(label, "")) for label, pattern in patterns):
                yield values, series

    def _tidy(self, now: float) -> None:
        for found in self._series.values():
            for labels in list(found):
                found[labels].thin(now, self._keep)
                if not found[labels].times:
                    del found[labels]
