"""What `tunesmith capacity` prints."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from tunesmith import console
from tunesmith.capacity.measuring import Measured
from tunesmith.capacity.planning import Plan, Target

_NONE = "not with this delay"


def show_json(measured: Measured, rate: tuple[float, float, float], target: Target, plan: Plan | None) -> None:
    """Print all as JSON; seconds are seconds, rates are per second."""
    found = {
        "measured": asdict(measured),
        "highest_rate": dict(zip(("rate", "low", "high"), rate, strict=True)),
        "target": asdict(target),
        "plan": plan and asdict(plan),
    }
    console.say_json(found)


def show(measured: Measured, rate: tuple[float, float, float], target: Target, plan: Plan | None) -> None:
    """Print what was measured, what it can answer, and what a target takes."""
    costs = measured.costs
    table = Table("What a text costs", "", show_header=True)
    table.add_row("alone, median", _ms(measured.lone))
    table.add_row("of it the model", _ms(measured.model))
    table.add_row("the front's processor", f"{_ms(costs.front)}; one front answers at most {_rate(costs.front)}")
    table.add_row("a worker, for each batch and each text of it", f"{_ms(costs.fixed)} + {_ms(costs.each)}")
    table.add_row(
        f"at full load, {measured.machine.workers} workers", f"{measured.most:.0f}/s in batches of {measured.texts:.1f}"
    )
    console.plain_console().print(table)
    table = Table("Rate", "Requests", "99 % measured", "95 % interval", "expected")
    for probe in measured.probes:
        between = f"{_ms(probe.low)} to {_ms(probe.high)}"
        table.add_row(f"{probe.rate:.0f}/s", str(probe.requests), _ms(probe.measured), between, _ms(probe.expected))
    console.plain_console().print(table)
    console.say(f"Fitted at these rates, the estimate of the 99th percentile is off by a factor of {measured.off:.2f}.")
    found, low, high = rate
    console.say(f"Within {_ms(target.wish)} (99 %) this service answers {found:.0f} texts/s ({low:.0f} to {high:.0f}).")
    if plan is not None:
        _show_plan(target, plan)


def _show_plan(target: Target, plan: Plan) -> None:
    table = Table(f"For {target.rate:g} texts/s and {100 * target.headroom:.0f} % more", "", show_header=True)
    table.add_row("workers in one pool", str(plan.workers or _NONE))
    table.add_row("fronts", str(plan.fronts))
    table.add_row(
        f"machines of {target.cores} cores, a service each",
        f"{plan.copies} with {plan.workers_each} workers, {plan.rate_each:.0f} texts/s each" if plan.copies else _NONE,
    )
    table.add_row("machines in a Ray cluster", str(plan.machines or _NONE))
    console.plain_console().print(table)
    console.say(f"{plan.verdict}: {plan.why}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"


def _rate(seconds: float) -> str:
    return f"{1 / seconds:.0f}/s" if seconds > 0 else "any rate"
