"""Lengths of time as Prometheus writes them: 30s, 5m, 1h, 3d."""

from __future__ import annotations

import re

from tunesmith.errors import RecipeError

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def seconds_of(text: str, where: str = "") -> float:
    """The seconds of "90s", "1h30m" or "250ms"; never zero.

    Raises:
        RecipeError: it is no such length of time.
    """
    parts = re.findall(r"(\d{1,9})(ms|[dhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise RecipeError(f"'{text[:40]}' is no length of time.", where=where, to_do="Write it like 30s, 5m, 1h or 3d.")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts) / 1000
    if seconds == 0:
        raise RecipeError("The time must be longer than nothing.", where=where, to_do="Write it like 30s, 5m or 1h.")
    return seconds


def duration_of(seconds: float) -> str:
    """The shortest whole unit: 3600 is "1h", 90 is "90s", 0.25 is "250ms"."""
    thousandths = max(1, round(seconds * 1000))
    unit = next(unit for unit, size in _UNITS.items() if thousandths % size == 0)
    return f"{thousandths // _UNITS[unit]}{unit}"
