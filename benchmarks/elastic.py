"""Replicas in Ray beside workers of this machine, a number of replicas that follows the load, and foretold delays.

    python benchmarks/elastic.py overhead ARTIFACT --requests 2000
    python benchmarks/elastic.py scale ARTIFACT --seconds 60
    python benchmarks/elastic.py capacity ARTIFACT --seconds 20

`overhead` starts one service after the other in turns, with one worker each, and prints what a request takes with both.
`scale` asks more than one replica can do until there are two, then little until there is one; nothing may be lost.
`capacity` foretells the 99th percentile at rates that were not looked at before, and then measures them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.asking import bodies, bound, path, texts
from benchmarks.load import Reply, closed, opened, quantile, statuses
from benchmarks.served import Service, serving

from tunesmith.capacity.load import Connections
from tunesmith.capacity.measuring import Wish, measured
from tunesmith.capacity.queueing import Machine, p99
from tunesmith.machine import inspect_machine

LOCAL = ("--workers", "1")
RAY = ("--engine", "ray", "--least", "1", "--most", "1")


def _cpu(service: Service) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in service.family)


def _asked(service: Service, given: Sequence[str], clients: int) -> tuple[float, float, float]:
    """Median milliseconds, requests per second and processor milliseconds of a request, by clients in turns."""
    target = service.target(path("m"))
    asyncio.run(closed(target, bodies(given[:100]), clients=clients))
    before = _cpu(service)
    replies, seconds = asyncio.run(closed(target, bodies(given), clients=clients))
    assert {reply.status for reply in replies} == {200}, statuses(replies)
    return quantile(replies, 0.5), len(given) / seconds, 1000 * (_cpu(service) - before) / len(given)


def overhead(arguments: argparse.Namespace) -> None:
    """What a request takes with both engines, in turns on the same machine."""
    given = texts(arguments.requests, arguments.seed)
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(arguments.times):
        for name, options in (("local", LOCAL), ("ray", RAY)):
            with serving([f"m={arguments.artifact}"], *options) as service:
                for clients in (1, 8):
                    found.setdefault((name, clients), []).append(_asked(service, given, clients))
                memory = sum(one.memory_info().rss for one in service.family) / 1e6
            print(f"{name}: memory of all processes {memory:.0f} MB (shared pages counted in each)", flush=True)
    for clients in (1, 8):
        middle = {
            name: [statistics.median(column) for column in zip(*found[name, clients], strict=True)]
            for name in ("local", "ray")
        }
        for name, (half, rate, cpu) in middle.items():
            print(f"{clients} clients, {name}: median {half:.2f} ms, {rate:.0f} requests/s, {cpu:.2f} CPU ms a request")
        (half, rate, cpu), (ray_half, ray_rate, ray_cpu) = middle["local"], middle["ray"]
        print(
            f"{clients} clients, ray over local: {ray_half - half:+.2f} ms (x {ray_half / half:.2f}), "
            f"rate x {ray_rate / rate:.2f}, {ray_cpu - cpu:+.2f} CPU ms a request (x {ray_cpu / cpu:.2f})"
        )


async def _scaled(service: Service, given: Sequence[str], seconds: float) -> tuple[list[Reply], dict[str, float]]:
    began, marks = time.monotonic(), {}
    target = service.target(path("m"))

    async def watched(mark: str, fine: Callable[[int], bool], most: float) -> None:
        while time.monotonic() - began < most:
            if fine(await _workers(service)):
                marks[mark] = time.monotonic() - began
                return
            await asyncio.sleep(0.25)

    replies: list[Reply] = []
    rising = asyncio.create_task(watched("two replicas after", lambda n: n >= 2, 5 * seconds))
    while not rising.done() or time.monotonic() - began < seconds / 2:
        replies += (await closed(target, bodies(given[:300]), clients=32))[0]
    began = time.monotonic()
    falling = asyncio.create_task(watched("one again after", lambda n: n == 1, 5 * seconds))
    while not falling.done():
        replies += await opened(target, bodies(given[:20]), rate=5, seed=len(replies))
    return replies, marks


async def _workers(service: Service) -> int:
    connections = Connections(f"http://127.0.0.1:{service.port}", service.key)
    text = (await connections.ask("GET", "/metrics")).body.decode()
    connections.close()
    return int(float(next(line.split()[-1] for line in text.splitlines() if line.startswith("tunesmith_workers "))))


def scale(arguments: argparse.Namespace) -> None:
    """From one replica to two and back, under load."""
    given = texts(2000, arguments.seed)
    rules = ("--least", "1", "--most", "2", "--waiting-each", "4", "--up-after", "2", "--down-after", "10")
    with serving([f"m={arguments.artifact}"], "--engine", "ray", *rules) as service:
        replies, marks = asyncio.run(_scaled(service, given, arguments.seconds))
    lost = sum(reply.status != 200 for reply in replies)
    print(f"{len(replies)} requests: {statuses(replies)}; lost: {bound(lost, len(replies))}")
    for mark, seconds in marks.items():
        print(f"{mark} {seconds:.1f} s")
    if len(marks) < 2:
        raise SystemExit("It did not scale in time.")


def capacity(arguments: argparse.Namespace) -> None:
    """Delays foretold beside delays measured, at rates that the fit did not see."""
    given: list[dict[str, Any]] = bodies(texts(500, arguments.seed))
    cores = inspect_machine().cores
    with serving([f"m={arguments.artifact}"], "--workers", "2") as service:

        async def story() -> None:
            connections = Connections(f"http://127.0.0.1:{service.port}", service.key)
            found = await measured(connections, Wish("m", given, arguments.seconds), cores)
            print(f"costs {found.costs}; off by {found.off:.2f} where fitted")
            for share in (0.4, 0.6, 0.7):
                rate = share * found.most
                began, own = time.perf_counter(), time.process_time()
                replies = await connections.by_clock(
                    path("m"), given, rate=rate, seconds=max(5.0, 600 / rate), seed=int(100 * share)
                )
                beside = (time.process_time() - own) / (time.perf_counter() - began)
                seen = sorted(reply.seconds for reply in replies)[int(0.99 * len(replies))]
                told = p99(found.costs, Machine(found.machine.workers, cores, beside), rate)
                print(
                    f"{rate:.0f}/s ({share:.0%} of the most): 99 % foretold {1000 * told:.0f} ms, "
                    f"measured {1000 * seen:.0f} ms, ratio {told / seen:.2f}"
                )
            connections.close()

        asyncio.run(story())


def main() -> None:
    """Run one experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["overhead", "scale", "capacity"])
    parser.add_argument("artifact")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(json.dumps({"experiment": arguments.experiment, "seed": arguments.seed}))
    {"overhead": overhead, "scale": scale, "capacity": capacity}[arguments.experiment](arguments)


if __name__ == "__main__":
    main()
