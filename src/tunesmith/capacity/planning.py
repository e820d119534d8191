"""What a rate takes: workers, machines, and whether a cluster pays."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunesmith.capacity.measuring import Measured
from tunesmith.capacity.queueing import Costs, Machine, ceiling, highest_rate, p99

BATCH_IN_RAY = 0.001
"""Processor seconds that a batch takes more through Ray than through a local worker (benchmarks/elastic.py)."""
FRONT_SHARE = 0.8
"""The share of a core up to which one front is loaded."""
_MOST = 512
_PAYS = 0.25
"""The share of workers that coming and going must save for a cluster to be worth its own machinery."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted.

    Attributes:
        rate: texts per second at the peak.
        wish: seconds within which 99 of 100 must be answered.
        headroom: what is planned for beyond the rate, as a share of it.
        swing: the peak's rate over the mean's.
        cores: of one machine.
    """

    rate: float
    wish: float
    headroom: float = 0.3
    swing: float = 1.0
    cores: int = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a target takes.

    Attributes:
        workers: in one pool; 0 where no number would do.
        fronts: processes before them.
        copies: machines with a service each, behind a balancer; 0 where none would do.
        workers_each: of such a machine.
        machines: with Ray, which shares all workers among all requests.
        mean_workers: that the mean load takes, in one pool.
        verdict: "single", "copies", "ray" or "impossible".
        why: in a sentence.
    """

    workers: int
    fronts: int
    copies: int
    workers_each: int
    machines: int
    mean_workers: int
    verdict: str
    why: str


def highest(measured: Measured, wish: float) -> tuple[float, float, float]:
    """Requests per second at which the 99th percentile is within `wish`, and the interval by what the model is off."""
    return tuple(
        highest_rate(measured.costs, measured.machine, wish * by) for by in (1, 1 / measured.off, measured.off)
    )  # type: ignore[return-value]


def plan(measured: Measured, target: Target) -> Plan:
    """What a target takes, on machines like the one that was measured."""
    costs, rate = measured.costs, target.rate * (1 + target.headroom)
    each = max(1, target.cores - 1) if rate * costs.front > 0.25 else target.cores
    wish = target.wish / measured.off  # the model may be off to the bad side
    workers = _workers(costs, rate, wish)
    fronts = max(1, math.ceil(rate * costs.front / FRONT_SHARE))
    copies = _copies(costs, rate, wish, Machine(each, target.cores))
    if not workers or not copies:
        idle = 1000 * p99(costs, Machine(1), 0.01)
        why = f"Even an idle service takes {idle:.0f} ms (99 %), times {measured.off:.2f} for what that may be off."
        return Plan(workers, fronts, copies, each, 0, 0, "impossible", why)
    pooled = _workers(_in_ray(costs), rate, wish)
    mean = _workers(_in_ray(costs), rate / target.swing, wish)
    machines = max(1, math.ceil((pooled + fronts * FRONT_SHARE) / target.cores))
    verdict, why = _verdict(copies, each, pooled, mean, target)
    return Plan(workers, fronts, copies, each, machines, mean, verdict, why)


def _verdict(copies: int, each: int, pooled: int, mean: int, target: Target) -> tuple[str, str]:
    if copies == 1:
        return "single", f"One machine with {each} workers answers it: tunesmith serve, without Ray."
    saved = 1 - mean / (copies * each)
    if saved >= _PAYS:
        return "ray", (
            f"{copies} machines at the peak, and on average {mean} workers instead of {copies * each}: "
            f"replicas that come and go save {100 * saved:.0f} %."
        )
    return "copies", (
        f"{copies} machines with a service each, behind a balancer, do it; one pool in Ray would take {pooled} workers "
        f"instead of {copies * each}, which does not pay for a cluster at a peak of {target.swing:g} times the mean."
    )


def _workers(costs: Costs, rate: float, wish: float) -> int:
    """The fewest workers of one pool, each with a core of its own and fronts enough; 0 where none do."""
    alone = Costs(0.0, costs.fixed, costs.each, costs.way + costs.front, costs.spread, costs.most)
    if p99(alone, Machine(1), rate / _MOST / 50) > wish:
        return 0
    least = math.ceil(rate * (costs.fixed / costs.most + costs.each))
    for workers in range(max(1, least), _MOST):
        if rate < ceiling(alone, Machine(workers)) and p99(alone, Machine(workers), rate) <= wish:
            return workers
    return 0


def _copies(costs: Costs, rate: float, wish: float, machine: Machine) -> int:
    """The fewest machines like this one, each with a service and an equal share of the requests; 0 where none do."""
    one = highest_rate(costs, machine, wish)
    return math.ceil(rate / one) if one > 0 else 0


def _in_ray(costs: Costs) -> Costs:
    return Costs(costs.front, costs.fixed + BATCH_IN_RAY, costs.each, costs.way, costs.spread, costs.most)
