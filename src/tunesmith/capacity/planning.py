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
_USED = 0.1
"""The share of what a machine can carry at all that it must answer within the wish; below, machines are no help."""
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
        rate_each: texts per second that such a machine answers, by the worse end of what the model may be off.
        machines: with Ray, which shares all workers among all requests.
        mean_workers: that the mean load takes, in one pool.
        verdict: "single", "copies", "ray" or "impossible".
        why: in a sentence.
    """

    workers: int
    fronts: int
    copies: int
    workers_each: int
    rate_each: float
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
    wish = target.wish / measured.off  # the model may be off to the bad side
    workers = _workers(costs, rate, wish)
    fronts = max(1, math.ceil(rate * costs.front / FRONT_SHARE))
    each, one = _machine(costs, wish, target.cores)
    machine = Machine(each, target.cores)
    copies = math.ceil(rate / one) if one > 0 else 0
    if copies > 1 and one < _USED * ceiling(costs, machine):
        copies = 0
    pooled = _workers(_in_ray(costs), rate, wish)
    mean = _workers(_in_ray(costs), rate / target.swing, wish)
    machines = max(1, math.ceil((pooled + fronts * FRONT_SHARE) / target.cores)) if pooled else 0
    if copies or pooled:
        verdict, why = _verdict(copies, each, pooled, mean, target)
    else:
        idle = f"{1000 * p99(costs, machine, 0.01):.0f} ms (99 %), times {measured.off:.2f} for what that may be off"
        verdict = "impossible"
        why = (
            f"An idle service takes {idle}; {1000 * target.wish:.0f} ms are wished. Take a smaller or quantised model, "
            "or a longer --p99."
        )
    return Plan(workers, fronts, copies, each, one, machines, mean, verdict, why)


def _verdict(copies: int, each: int, pooled: int, mean: int, target: Target) -> tuple[str, str]:
    if copies == 1:
        return "single", f"One machine with {each} workers answers it: tunesmith serve, without Ray."
    if not copies:
        return "ray", (
            "Machines with a service each would have to be all but idle to answer within this delay; one pool that all "
            f"requests share takes {mean} workers on average."
        )
    balanced = f"{copies} machines with a service each, behind a balancer, do it"
    if not pooled:
        return "copies", f"{balanced}; no pool of fewer than {_MOST} workers does."
    saved = 1 - mean / (copies * each)
    if saved >= _PAYS:
        how = "one pool that all requests share" if target.swing == 1 else "one pool whose replicas come and go"
        return "ray", (
            f"{copies} machines with a service each have {copies * each} workers; {how} takes {mean} on average, which "
            f"saves {100 * saved:.0f} %."
        )
    return "copies", (
        f"{balanced}; one pool in Ray would take {pooled} workers instead of {copies * each}, which does not pay for a "
        f"cluster at a peak of {target.swing:g} times the mean."
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


def _machine(costs: Costs, wish: float, cores: int) -> tuple[int, float]:
    """The workers of one machine with a service, and the most requests per second that it answers within the wish.

    A core less than there are is kept for the front where that answers more; its load is that of one machine's share.
    """
    choices = {cores, max(1, cores - 1)}
    return max(((each, highest_rate(costs, Machine(each, cores), wish)) for each in choices), key=lambda one: one[::-1])


def _in_ray(costs: Costs) -> Costs:
    return Costs(costs.front, costs.fixed + BATCH_IN_RAY, costs.each, costs.way, costs.spread, costs.most)
