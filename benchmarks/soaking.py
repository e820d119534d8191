"""What a soak has seen: how many requests had which status, and by how much the processes grew."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

Row = tuple[float, Counter[int], Mapping[str, float]]
"""Seconds since the soak began, the statuses of its last requests, and the sizes of its processes after them."""
FILES = ("open files", "threads")


def progress(rows: Sequence[Row]) -> str:
    """A line on how it stands, so that a soak whose end nobody sees is not lost."""
    seconds, _, sizes = rows[-1]
    found = ", ".join(f"{name} {value:.0f}" for name, value in sizes.items())
    return f"{seconds:.0f} s; {_statuses(rows)}; {found}"


def told(rows: Sequence[Row]) -> list[str]:
    """The lines of the result; slopes are by least squares over what came after the first third of the time."""
    if not rows:
        return ["Nothing was measured."]
    later = [row for row in rows if row[0] >= rows[-1][0] / 3]
    first, last = later[0][2], later[-1][2]
    count = sum(sum(found.values()) for _, found, _ in rows)
    lines = [f"{count} requests in {rows[-1][0]:.0f} s: {_statuses(rows)}; after the first third:"]
    for name in (name for name in first if name not in FILES):
        known = [(seconds / 3600, sizes[name]) for seconds, _, sizes in later if name in sizes]
        lines.append(f"memory of {name}: {known[0][1]:.0f} -> {known[-1][1]:.0f} MB, slope {_slope(known)} MB per hour")
    return [*lines, *(f"{name} {first[name]:.0f} -> {last[name]:.0f}" for name in FILES)]


def _slope(known: Sequence[tuple[float, float]]) -> str:
    hours, sizes = zip(*known, strict=True)
    return f"{statistics.linear_regression(hours, sizes).slope:.1f}" if len(set(hours)) > 1 else "unknown"


def _statuses(rows: Sequence[Row]) -> str:
    found = sum((row[1] for row in rows), Counter[int]())
    return ", ".join(f"{status or 'broken'}: {count}" for status, count in sorted(found.items()))
