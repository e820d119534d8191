"""The service as a queue: one front, some workers that take batches, requests that come at random.

No formula fits workers that take whatever waits as one batch (M/M/c and M/G/c serve one by one), so the queue is played
through, with the same rule as `service/batching.py`: whoever is free takes the oldest text and those behind it.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_ENOUGH = 6_000
_WARM = 0.1
"""The share of the requests that come first and are not looked at, while the queue fills."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a request of one text takes, in seconds.

    Attributes:
        front: processor time of the front.
        fixed: of a worker, for a batch, whatever its size.
        each: of a worker, for each text of a batch.
        way: all else that a lone request takes: sockets, waking processes, the client.
        spread: the standard deviation of a text's `each`, as a share of its mean.
        most: texts of a batch.
    """

    front: float
    fixed: float
    each: float
    way: float
    spread: float = 0.3
    most: int = 16

    def slower(self, factor: float) -> Costs:
        """The same with workers that are slower by a factor."""
        return Costs(self.front, self.fixed * factor, self.each * factor, self.way, self.spread, self.most)


@dataclass(frozen=True, slots=True)
class Machine:
    """What answers: workers, the cores they share with the front, and the cores that something else takes beside."""

    workers: int
    cores: float = math.inf
    beside: float = 0.0


def latencies(costs: Costs, machine: Machine, rate: float, *, count: int = _ENOUGH, seed: int = 7) -> list[float]:
    """Seconds that requests take, sorted, when they come at `rate` per second with exponential gaps."""
    draw = random.Random(seed)
    costs = costs.slower(_crowding(costs, machine, rate))
    arrivals, front_free, now = [], 0.0, 0.0
    for _ in range(count):
        now += draw.expovariate(rate)
        front_free = max(front_free, now) + costs.front
        arrivals.append((now, front_free))
    free = [0.0] * machine.workers
    waiting: deque[tuple[float, float]] = deque(arrivals)
    found: list[float] = []
    while waiting:
        begin = max(heapq.heappop(free), waiting[0][1])
        batch = [waiting.popleft()]
        while waiting and len(batch) < costs.most and waiting[0][1] <= begin:
            batch.append(waiting.popleft())
        end = begin + costs.fixed + sum(_drawn(draw, costs) for _ in batch)
        heapq.heappush(free, end)
        found += [end - came + costs.way for came, _ in batch]
    return sorted(found[int(_WARM * count) :])


def quantile(times: Sequence[float], share: float) -> float:
    """The value below which a share of sorted values lies."""
    return times[min(len(times) - 1, int(share * len(times)))]


def p99(costs: Costs, machine: Machine, rate: float) -> float:
    """Seconds within which 99 of 100 requests are answered."""
    return quantile(latencies(costs, machine, rate), 0.99)


def ceiling(costs: Costs, machine: Machine) -> float:
    """Requests per second beyond which the queue grows without end."""
    by_batch = costs.most / (costs.fixed + costs.most * costs.each)
    by_workers = machine.workers * by_batch
    by_cores = (machine.cores - machine.beside) / (costs.front + 1 / by_batch)
    return max(0.0, min(by_workers, by_cores, 1 / costs.front if costs.front else math.inf))


def highest_rate(costs: Costs, machine: Machine, wish: float) -> float:
    """Requests per second at which the 99th percentile is still within `wish` seconds; 0 where none is."""
    return largest(lambda rate: p99(costs, machine, rate) <= wish, ceiling(costs, machine))


def largest(fine: Callable[[float], bool], most: float) -> float:
    """The largest rate up to `most` that is still fine, where small ones are and large ones are not; to 1 %."""
    low, high = most / 200, most
    if most <= 0 or not fine(low):
        return 0.0
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if fine(middle) else (low, middle)
    return low


def _crowding(costs: Costs, machine: Machine, rate: float) -> float:
    """How much slower workers are because front and others take of the cores that they all share."""
    wanted = machine.workers + rate * costs.front + machine.beside
    return max(1.0, wanted / machine.cores)


def _drawn(draw: random.Random, costs: Costs) -> float:
    """A text's own time: log-normal, with the mean and spread that were measured."""
    if not costs.spread:
        return costs.each
    width = math.sqrt(math.log1p(costs.spread**2))
    return costs.each * math.exp(draw.gauss(-(width**2) / 2, width))
