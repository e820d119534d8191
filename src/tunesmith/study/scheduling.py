"""Which runs go at the same time: as many as the cores and the memory hold, by what earlier runs took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tunesmith.machine import Machine, memory_limit
from tunesmith.study.plan import Run
from tunesmith.study.running import Outcome

_RESERVE = 0.85
"""The share of the free memory that runs may take together."""
_MARGIN = 1.1
"""A run may take so much more than the earlier ones of its cell."""
_PAUSE = 0.1
KILLED = "stopped by signal 9"
"""What the outcome of a run says that the system ended for its memory."""


class Going(Protocol):
    """A run that was begun."""

    @property
    def run(self) -> Run:
        """Which one."""

    def outcome(self) -> Outcome | None:
        """How it ended, or None while it goes on."""


G = TypeVar("G", bound=Going)

Source = Callable[[Sequence[Outcome], Sequence[Run]], Run | None]
"""From what has ended and what goes on to the run to begin next; None where none can be begun now."""


@dataclass(frozen=True)
class Room:
    """How many runs go at a time, with how many threads each, and the bytes that they may take together (0: unknown).

    `threads` stays the same from the first run to the last, since it can change the last digits of a sum; 0 leaves it
    to each run.
    """

    workers: int
    threads: int
    memory: int

    @classmethod
    def of(cls, machine: Machine, workers: int = 0) -> Room:
        """The room on this machine: a run per core, but one at a time on an accelerator; `workers` overrides both."""
        free = min((one for one in (machine.free_memory_bytes, memory_limit()) if one), default=0)
        memory = int(_RESERVE * free)
        if machine.accelerator != "none":  # what its runs report is its memory, not the machine's
            return cls(workers or 1, 0, int(_RESERVE * machine.accelerator_memory_bytes))
        count = workers or machine.cores
        return cls(count, max(1, machine.cores // count), memory)

    def holds(self, one: int, others: Sequence[int]) -> bool:
        """Whether a run that takes so many bytes may begin beside others; alone it always may."""
        if not others:
            return True
        return len(others) < self.workers and (not self.memory or one + sum(others) <= self.memory)


class Occupancy:
    """How much of the room was used while runs waited: what goes on after the last run has begun does not count."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places, self._clock = places, clock
        self._began = self._since = self._last = clock()
        self._running = 0
        self._taken = self._counted = 0.0

    def now(self, running: int, *, begins: bool = False) -> None:
        """So many runs go on from now, of which one `begins`."""
        moment = self._clock()
        self._taken += self._running * (moment - self._since)
        self._since, self._running = moment, running
        if begins:
            self._last, self._counted = moment, self._taken

    def share(self) -> float:
        """The share of the places that was taken from the first moment until the last run began; 1 without any time."""
        passed = self._last - self._began
        return self._counted / (passed * self._places) if passed > 0 else 1.0


def memory_of(run: Run, done: Sequence[Outcome], first: Mapping[str, int]) -> int:
    """The bytes that a run is expected to take.

    This is the most that a run of its cell took so far; before there is one, the most of any run, or the cell's first
    estimate if that is more.
    """
    peaks = {
        cell: max(int(one.cost.get("peak_memory_bytes") or 0) for one in done if one.run.cell == cell)
        for cell in {one.run.cell for one in done}
    }
    if peak := peaks.get(run.cell):
        return int(_MARGIN * peak)
    return int(_MARGIN * max(first.get(run.cell, 0), *peaks.values(), 0))


def schedule(
    source: Source,
    start: Callable[[Run], G],
    room: Room,
    first: Mapping[str, int],
    running: list[G],
) -> Iterator[Outcome]:
    """Begin runs whenever there is room, and yield how each ended; `running` always holds those that go on.

    A run that was killed from outside while others went beside it is begun once more at the end, alone: there was too
    little memory for it.
    """
    done: list[Outcome] = []
    again: list[Run] = []
    held: Run | None = None
    while True:
        if held is None:
            held = source(done, [one.run for one in running])
        if held is None and not running:
            held = next((one for one in again if not any(one is end.run for end in done)), None)
            if held is None:
                return
        if held is not None and _fits(held, running, done, first, room):
            running.append(start(held))
            held = None
            continue
        for one in list(running):
            outcome = one.outcome()
            if outcome is None:
                continue
            was_alone = len(running) == 1
            running.remove(one)
            if KILLED in outcome.failure and not was_alone and one.run not in again:
                again.append(one.run)
                continue
            done.append(outcome)
            yield outcome
        if running:
            time.sleep(_PAUSE)


def _fits(run: Run, running: Sequence[Going], done: Sequence[Outcome], first: Mapping[str, int], room: Room) -> bool:
    others = [memory_of(one.run, done, first) for one in running]
    return room.holds(memory_of(run, done, first), others)
