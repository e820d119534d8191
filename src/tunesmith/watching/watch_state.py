"""The state of `tunesmith alerts` on disk, so that a restart neither forgets windows nor says an alert twice."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tunesmith.errors import DataError
from tunesmith.watching.delivering import Waiting
from tunesmith.watching.evaluator import Alert
from tunesmith.watching.history import History, Labels, Series
from tunesmith.writing import written

FORMAT = 1


@dataclass(frozen=True)
class _Column:
    name: str
    labels: Labels
    times: tuple[float, ...]
    values: tuple[float, ...]
    totals: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.times) == len(self.values) == len(self.totals):
            raise ValueError("times, values and totals must be of one length")
        if any(later <= earlier for earlier, later in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("times must rise")


@dataclass(frozen=True)
class WatchState:
    """What is kept: series, alerts that wait or fire, notices that were not sent yet."""

    format: int
    source: str
    series: tuple[_Column, ...]
    alerts: tuple[Alert, ...]
    waiting: tuple[Waiting, ...]

    def restore(self, history: History) -> None:
        """Put the series into a history."""
        for row in self.series:
            times, values, totals = (array("d", numbers) for numbers in (row.times, row.values, row.totals))
            history.restore(Series(row.name, row.labels, times, values, totals, is_stale=True))


def read_state(path: Path, source: str) -> WatchState | None:
    """The state in a file; none if there is no file, or it is of another source.

    Raises:
        DataError: the file is damaged, or of another version.
    """
    if not path.exists():
        return None
    try:
        state = TypeAdapter(WatchState).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(
            "The state cannot be read.", where=str(path), to_do="Delete it; history begins anew."
        ) from error
    if state.format != FORMAT:
        raise DataError("The state is of another version.", where=str(path), to_do="Delete it; history begins anew.")
    return state if state.source == source else None


def keep_state(path: Path, source: str, history: History, alerts: Sequence[Alert], waiting: Sequence[Waiting]) -> None:
    """Write the state, whole or not at all, for its owner only.

    Raises:
        ResourceError: it cannot be written.
    """
    columns = [
        {
            "name": one.name,
            "labels": one.labels,
            "times": list(one.times),
            "values": list(one.values),
            "totals": list(one.totals),
        }
        for one in history
    ]
    state = {
        "format": FORMAT,
        "source": source,
        "series": columns,
        "alerts": [asdict(alert) for alert in alerts],
        "waiting": [asdict(notice) for notice in waiting],
    }
    text = json.dumps(state, separators=(",", ":"))  # many times as fast as dump
    with written(path, to_do="Free disk space, or choose another --state.") as file:
        Path(file.name).chmod(0o600)
        file.write(text)
