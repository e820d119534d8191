"""A short load test of a running service: what a text costs, and how far the queue's model is off."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.capacity.load import Connections, Reply
from tunesmith.capacity.queueing import Costs, Machine, ceiling, p99, quantile
from tunesmith.errors import TunesmithError

SHARES = (0.5, 0.75)
"""At which shares of the highest throughput the 99th percentile is measured."""
_NEEDED = (
    "inference_seconds_sum",
    "inference_seconds_count",
    "batch_size_sum",
    "process_cpu_seconds_total",
    "workers",
)
_MAKE_KEY = (
    "Give a key that may ask that much: tunesmith keys create --scopes predict,metrics --days 1 "
    "--requests-per-minute 1000000 --tokens-per-minute 1000000000"
)
_LEAST = 200
"""Requests below which a 99th percentile means nothing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked: the route, the bodies in turn, and the seconds that the whole test may take."""

    model: str
    bodies: Sequence[Mapping[str, object]]
    seconds: float = 20.0

    @property
    def path(self) -> str:
        """The route."""
        return f"/v1/models/{self.model}/predict"


@dataclass(frozen=True, slots=True)
class Probe:
    """A rate at which was measured: the 99th percentile in seconds, its 95 % interval, and the model's."""

    rate: float
    requests: int
    measured: float
    low: float
    high: float
    expected: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load test found.

    Attributes:
        costs: of a request.
        machine: what answered.
        lone: median seconds of a request that is alone.
        model: seconds of the model in it.
        most: requests per second at full load, of one text each.
        texts: texts of a batch at full load.
        probes: the model beside measurements.
        off: the factor by which the model's 99th percentile may be off.
    """

    costs: Costs
    machine: Machine
    lone: float
    model: float
    most: float
    texts: float
    probes: tuple[Probe, ...]
    off: float


@dataclass(frozen=True, slots=True)
class _Stretch:
    replies: list[Reply]
    seconds: float
    batches: float
    texts: float
    model: float
    front: float
    own: float
    workers: int


async def measured(connections: Connections, wish: Wish, cores: int) -> Measured:
    """Load a service for a short time.

    Args:
        connections: to the service, with a key for answers and metrics.
        wish: what to ask.
        cores: of the machine that it runs on.

    Raises:
        TunesmithError: it does not answer, or the key may not read metrics.
    """
    part = wish.seconds
    await _stretch(connections, wish, clients=4, seconds=0.05 * part)
    lone = await _stretch(connections, wish, clients=1, seconds=0.15 * part)
    full = await _stretch(connections, wish, clients=16 * lone.workers, seconds=0.2 * part)
    machine = Machine(lone.workers, cores, full.own)
    costs = _costs(lone, full, machine)
    most = len(full.replies) / full.seconds
    runs = []
    for number, share in enumerate(SHARES):
        began, own = time.perf_counter(), time.process_time()
        seconds = max(0.3 * part, _LEAST / (share * most))
        replies = await connections.by_clock(wish.path, wish.bodies, rate=share * most, seconds=seconds, seed=number)
        beside = (time.process_time() - own) / (time.perf_counter() - began)
        runs.append((share * most, sorted(_good(replies)), Machine(lone.workers, cores, beside)))
    costs = _fitted(costs, [(where, rate, quantile(times, 0.99)) for rate, times, where in runs])
    probes = tuple(_probe(rate, times, p99(costs, where, rate)) for rate, times, where in runs)
    off = max(max(one.expected / one.measured, one.measured / one.expected) for one in probes)
    times = sorted(_good(lone.replies))
    return Measured(
        costs,
        Machine(lone.workers, cores),
        quantile(times, 0.5),
        lone.model / lone.batches,
        most,
        full.texts / full.batches,
        probes,
        off,
    )


async def _stretch(connections: Connections, wish: Wish, *, clients: int, seconds: float) -> _Stretch:
    before = await _metrics(connections)
    began, own = time.perf_counter(), time.process_time()
    replies = await connections.in_turns(wish.path, wish.bodies, clients=clients, seconds=seconds)
    took, own = time.perf_counter() - began, time.process_time() - own
    after = await _metrics(connections)
    _good(replies)
    more = {name: after[name] - before.get(name, 0.0) for name in after}
    return _Stretch(
        replies,
        took,
        max(1.0, more["inference_seconds_count"]),
        max(1.0, more["batch_size_sum"]),
        more["inference_seconds_sum"],
        more["process_cpu_seconds_total"] / len(replies),
        own / took,
        max(1, round(after["workers"])),
    )


def _costs(lone: _Stretch, full: _Stretch, machine: Machine) -> Costs:
    """What a batch takes for itself and for each text, from batches of one and from those at full load."""
    alone, together = lone.model / lone.batches, full.model / full.batches
    size = full.texts / full.batches
    crowd = max(1.0, (machine.workers + len(full.replies) / full.seconds * full.front + full.own) / machine.cores)
    each = max(0.05 * alone, (together / crowd - alone) / (size - 1)) if size > 1.5 else 0.8 * alone
    each = min(each, alone)
    times = sorted(_good(lone.replies))
    way = max(0.0, quantile(times, 0.5) - alone - full.front)
    middle, wide = quantile(times, 0.5), quantile(times, 0.9) - quantile(times, 0.1)
    spread = min(1.0, wide / 2.56 / middle)  # 80 % of a bell lie within 2.56 of its standard deviations
    return Costs(full.front, alone - each, each, way, spread, max(4, math.ceil(2 * size)))


def _fitted(costs: Costs, points: Sequence[tuple[Machine, float, float]]) -> Costs:
    """Costs by which the model's percentiles are, over all measured points, neither too high nor too low."""

    def lean(factor: float) -> float:
        slower = costs.slower(factor)
        return sum(_log_ratio(slower, where, rate, seen) for where, rate, seen in points)

    low, high = 0.4, 4.0
    for _ in range(14):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if lean(middle) > 0 else (middle, high)
    return costs.slower(math.sqrt(low * high))


def _log_ratio(costs: Costs, where: Machine, rate: float, seen: float) -> float:
    if rate >= ceiling(costs, where):
        return 5.0
    return math.log(p99(costs, where, rate) / seen)


def _probe(rate: float, times: Sequence[float], expected: float) -> Probe:
    """With the interval of the percentile by the binomial law of how many lie below it."""
    count = len(times)
    swing = 1.96 * math.sqrt(count * 0.99 * 0.01)
    low = times[max(0, math.floor(0.99 * count - swing))]
    high = times[min(count - 1, math.ceil(0.99 * count + swing))]
    return Probe(rate, count, quantile(times, 0.99), low, high, expected)


def _good(replies: Sequence[Reply]) -> list[float]:
    """The seconds of the answers.

    Raises:
        TunesmithError: there are too many others.
    """
    found = [reply.seconds for reply in replies if reply.status == 200]
    if len(found) < 0.99 * len(replies) or not found:
        bad = sorted({reply.status for reply in replies if reply.status != 200})
        raise TunesmithError(
            f"Of {len(replies)} requests {len(replies) - len(found)} were not answered (status {bad}).",
            to_do=_MAKE_KEY if 429 in bad else "Look whether the key may ask for answers, and what the texts need.",
        )
    return found


async def _metrics(connections: Connections) -> dict[str, float]:
    """The sums over all labels of what the service counts."""
    reply = await connections.ask("GET", "/metrics")
    if reply.status != 200:
        raise TunesmithError(
            f"The service's metrics cannot be read (status {reply.status}).",
            to_do=_MAKE_KEY,
        )
    sums: dict[str, float] = {}
    for line in reply.body.decode().splitlines():
        if line.startswith("tunesmith_") and "_bucket{" not in line:
            name = line.partition("{")[0].partition(" ")[0].removeprefix("tunesmith_")
            sums[name] = sums.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
    return {**dict.fromkeys(_NEEDED, 0.0), **sums}


async def first_model(connections: Connections, name: str = "") -> tuple[str, Mapping[str, object]]:
    """The name of a service's first model, or the one that is named, and what the service says of it.

    Raises:
        TunesmithError: it does not answer, or has no such model.
    """
    reply = await connections.ask("GET", "/v1/models")
    if reply.status != 200:
        raise TunesmithError(
            f"The service does not name its models (status {reply.status or 'none: no answer'}).",
            to_do="Look whether it runs, and whether the key is one of its keys.",
        )
    names = [str(one["id"]) for one in json.loads(reply.body)["data"]]
    if name and name not in names:
        raise TunesmithError(f"The service has no model '{name}'.", to_do=f"It has: {', '.join(names)}.")
    chosen = name or names[0]
    return chosen, json.loads((await connections.ask("GET", f"/v1/models/{chosen}")).body)
