"""What a service does when something goes wrong: workers killed, models swapped, too much asked, ends, time, poison.

    python benchmarks/service_reliability.py kill ARTIFACT --requests 20000
    python benchmarks/service_reliability.py swaps ARTIFACT --other ARTIFACT --swaps 100
    python benchmarks/service_reliability.py overload ARTIFACT --seconds 60
    python benchmarks/service_reliability.py ends ARTIFACT --times 20
    python benchmarks/service_reliability.py soak ARTIFACT --seconds 600
    python benchmarks/service_reliability.py poison ARTIFACT --requests 20000
    python benchmarks/service_reliability.py broken ARTIFACT --other GRAPH

Each prints its seed, how often, and what 0 of N means: with 95 % confidence at most 3 of N (the rule of three).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from benchmarks.asking import NEAR, bodies, bound, is_of, like, path, spread, texts
from benchmarks.load import Connections, Reply, closed, opened, quantile, statuses
from benchmarks.served import Service, serving
from benchmarks.service_broken import broken
from benchmarks.service_poison import poison
from benchmarks.soaking import Row, progress, told

from tunesmith.inference.predictor import Predictor
from tunesmith.service.versions import read_version


def capacity(service: Service, model: str, given: Sequence[str]) -> float:
    """Requests per second that sixteen clients get answered in turns."""
    asyncio.run(closed(service.target(path(model)), bodies(given[:200]), clients=16))
    _, seconds = asyncio.run(closed(service.target(path(model)), bodies(given[:1500]), clients=16))
    return 1500 / seconds


async def _kill(
    service: Service, given: Sequence[str], rate: float, seed: int
) -> tuple[list[Reply], list[float], list[float]]:
    """Ask at a rate while a random worker is killed every two seconds: replies, kills, seconds to be whole again."""
    draw, kills, whole = random.Random(seed), [], []
    asking = asyncio.create_task(opened(service.target(path("m")), bodies(given), rate=rate, seed=seed))
    while not asking.done():
        await asyncio.sleep(2)
        workers = service.workers
        if len(workers) < 2:
            continue
        victim = draw.choice(workers)
        victim.kill()
        kills.append(time.perf_counter())
        before = {one.pid for one in workers}
        while not asking.done() and time.perf_counter() - kills[-1] < 10:
            if len({one.pid for one in service.workers} - before) >= 1 and await _alive(service) == len(workers):
                whole.append(time.perf_counter() - kills[-1])
                break
            await asyncio.sleep(0.05)
    return await asking, kills, whole


async def _alive(service: Service) -> int:
    """How many workers the service counts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"GET /metrics HTTP/1.0\r\nauthorization: Bearer {service.key}\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    return int(float(next(line.split()[-1] for line in text.splitlines() if line.startswith("tunesmith_workers "))))


def kill(arguments: argparse.Namespace) -> None:
    """Workers killed under load: nothing lost, nothing wrong."""
    given = texts(arguments.requests, arguments.seed)
    expected = dict(zip(given, Predictor.load(arguments.artifact).predict_texts(given), strict=True))
    with serving([f"m={arguments.artifact}"], "--workers", "2") as service:
        most = capacity(service, "m", given)
        replies, kills, whole = asyncio.run(_kill(service, given, 0.6 * most, arguments.seed))
    wrong = [r for r in replies if r.status == 200 and not like(r, expected[given[r.number]])]
    lost = [reply for reply in replies if reply.status != 200]
    print(f"capacity {most:.0f} requests/s; asked {len(replies)} at {0.6 * most:.0f}/s; {len(kills)} workers killed")
    print(f"statuses: {statuses(replies)}")
    print(f"lost: {bound(len(lost), len(replies))}; wrong: {bound(len(wrong), len(replies))}")
    print(f"milliseconds: {spread(replies)}")
    if whole:
        print(f"seconds until all workers answer again: median {statistics.median(whole):.2f}, most {max(whole):.2f}")


async def _swap(service: Service, given: Sequence[str], ids: Mapping[str, str], swaps: int) -> list[Reply]:
    """Ask in turns while one version after the other is promoted; `ids` has what each artifact's files say it is."""
    done = asyncio.Event()
    replies: list[Reply] = []
    connections = Connections(service.target(path("m")))
    numbers = iter(range(10**9))

    async def client() -> None:
        while not done.is_set():
            number = next(numbers)
            replies.append(await connections.post({"inputs": [given[number % len(given)]]}, number=number % len(given)))

    clients = [asyncio.create_task(client()) for _ in range(8)]
    load = Connections(service.target("/admin/models/m:load"))
    promote = Connections(service.target("/admin/models/m:promote"))
    loaded = {name: (await load.post({"version": name})).body["version"] for name in ids}
    assert loaded == ids, (loaded, ids)
    for number in range(swaps):
        reply = await promote.post({"version": ids[("other", "one")[number % 2]]})
        assert reply.status == 200, reply.body
        await asyncio.sleep(0.15)
    done.set()
    await asyncio.gather(*clients)
    for one in (connections, load, promote):
        one.close()
    return replies


def swaps(arguments: argparse.Namespace) -> None:
    """Hot swaps under load: nobody fails, and every answer is of the version that it names."""
    given = texts(400, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, artifact in (("one", arguments.artifact), ("other", arguments.other)):
            shutil.copytree(artifact, root / "m" / name)
        ids = {name: read_version(root / "m" / name, name="m").id for name in ("one", "other")}
        scored = {ids[name]: Predictor.load(root / "m" / name).predict_texts(given) for name in ids}
        with serving([f"m={root / 'm' / 'one'}"], "--root", str(root), "--workers", "2") as service:
            before = sum(one.memory_info().rss for one in service.family)
            replies = asyncio.run(_swap(service, given, ids, arguments.swaps))
            after = sum(one.memory_info().rss for one in service.family)
    failed = [reply for reply in replies if reply.status != 200]
    good = [reply for reply in replies if reply.status == 200]
    mixed = [r for r in good if not is_of(scored, r)]
    telling = sum(
        abs(a.confidence - b.confidence) > 2 * NEAR or a.label != b.label for a, b in zip(*scored.values(), strict=True)
    )
    print(f"{arguments.swaps} swaps; {len(replies)} answers; {telling} of {len(given)} texts tell the versions apart")
    print(f"failed: {bound(len(failed), len(replies))}; of another version than named: {bound(len(mixed), len(good))}")
    print(
        f"milliseconds: median {quantile(good, 0.5):.1f}, 99 % {quantile(good, 0.99):.1f}, most {quantile(good, 1):.1f}"
    )
    print(f"memory of all processes: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")


async def _overload(
    service: Service, asked: Sequence[dict[str, Any]], most: float, seconds: float, seed: int
) -> tuple[list[Reply], float]:
    count = int(5 * most * seconds)
    everything = [asked[number % len(asked)] for number in range(count)]
    replies = await opened(service.target(path("m")), everything, rate=5 * most, seed=seed)
    began = time.perf_counter()
    connections = Connections(service.target(path("m")))
    while True:
        reply = await connections.post({"inputs": asked[0]["inputs"][:1]})
        if reply.status == 200 and reply.seconds < 0.1:
            break
        await asyncio.sleep(0.02)
    connections.close()
    return replies, time.perf_counter() - began


def overload(arguments: argparse.Namespace) -> None:
    """Five times what can be answered: the rest is refused at once, and afterwards all is as before.

    A request has eight texts, so that the models are overloaded and not whoever asks: both share two cores here.
    """
    given = texts(4000, arguments.seed)
    asked = [{"inputs": given[start : start + 8]} for start in range(0, len(given), 8)]
    with serving([f"m={arguments.artifact}"], "--workers", "2", "--waiting-tokens", "8192") as service:
        _, seconds = asyncio.run(closed(service.target(path("m")), asked[:250], clients=8))
        most = 250 / seconds
        before = sum(one.memory_info().rss for one in service.family)
        replies, recovery = asyncio.run(_overload(service, asked, most, arguments.seconds, arguments.seed))
        after = sum(one.memory_info().rss for one in service.family)
    good = [reply for reply in replies if reply.status == 200]
    shed = [reply for reply in replies if reply.status == 429]
    print(f"capacity {most:.0f}/s; asked {len(replies)} at {5 * most:.0f}/s: {statuses(replies)}")
    print(f"goodput {len(good) / arguments.seconds:.0f}/s, {len(good) / arguments.seconds / most:.2f} of the capacity")
    print(f"refused with Retry-After: {sum('retry-after' in r.headers for r in shed)} of {len(shed)} with status 429")
    print(f"milliseconds of answers: {spread(good)}; of refusals: {spread(shed)}")
    print(f"seconds until answers come in 100 ms: {recovery:.2f}; memory {before / 1e6:.0f} -> {after / 1e6:.0f} MB")


def ends(arguments: argparse.Namespace) -> None:
    """SIGTERM at random times under load: what was begun is answered whole."""
    draw, given = random.Random(arguments.seed), texts(4000, arguments.seed)
    replies: list[Reply] = []
    times = []
    for _ in range(arguments.times):
        with serving([f"m={arguments.artifact}"], "--workers", "2", "--drain", "20") as service:
            found, seconds = asyncio.run(_end(service, given, draw.uniform(0.2, 1.5)))
        replies += found
        times.append(seconds)
    sent = [reply for reply in replies if reply.body.get("error") != "Refused"]
    cut = [reply for reply in sent if reply.body.get("error") == "Partial"]
    silent = [reply for reply in sent if reply.body.get("error") == "Closed"]
    print(f"{arguments.times} ends; {len(sent)} requests sent: {statuses(sent)}")
    print(f"cut within an answer: {bound(len(cut), len(sent))}; closed without a byte: {bound(len(silent), len(sent))}")
    print(f"seconds to end: median {statistics.median(times):.2f}, most {max(times):.2f}")


async def _end(service: Service, given: Sequence[str], after: float) -> tuple[list[Reply], float]:
    """Sixteen clients ask in turns until nobody listens any more."""
    connections, replies = Connections(service.target(path("m"))), []

    async def client(start: int) -> None:
        for number in range(start, len(given), 16):
            replies.append(await connections.post({"inputs": [given[number]]}, number=number))
            if replies[-1].body.get("error") == "Refused":
                return

    clients = [asyncio.create_task(client(start)) for start in range(16)]
    await asyncio.sleep(after)
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(service.process.wait, 60)
    seconds = time.monotonic() - began
    await asyncio.gather(*clients)
    connections.close()
    return replies, seconds


def soak(arguments: argparse.Namespace) -> None:
    """Mixed lengths for long: does memory grow, do files and threads stay open? Ctrl+C ends it with what was seen."""
    given = texts(5000, arguments.seed)
    draw = random.Random(arguments.seed)
    mixed = [" ".join(draw.choice(given) for _ in range(draw.choice((1, 1, 1, 2, 4, 8)))) for _ in range(20_000)]
    rows: list[Row] = []
    with serving([f"m={arguments.artifact}"], "--workers", "2") as service:
        began = time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() - began < arguments.seconds:
                part = [draw.choice(mixed) for _ in range(500)]
                replies, _ = asyncio.run(closed(service.target(path("m")), bodies(part), clients=8))
                rows.append((time.monotonic() - began, Counter(one.status for one in replies), _sizes(service)))
                if len(rows) == 1 or rows[-1][0] // 60 > rows[-2][0] // 60:
                    print(progress(rows), file=sys.stderr, flush=True)
        print("\n".join(told(rows)), flush=True)  # before the service ends: who is impatient interrupts that too


def _sizes(service: Service) -> dict[str, float]:
    """Megabytes in memory of all processes and of those that matter, their open files and their threads."""
    family = service.family
    named = {"front": psutil.Process(service.process.pid)}
    named |= {f"worker {number}": one for number, one in enumerate(service.workers, 1)}
    return {
        "all": sum(one.memory_info().rss for one in family) / 1e6,
        **{name: one.memory_info().rss / 1e6 for name, one in named.items()},
        "open files": sum(one.num_fds() for one in family),
        "threads": sum(one.num_threads() for one in family),
    }


EXPERIMENTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "kill": kill,
    "swaps": swaps,
    "overload": overload,
    "ends": ends,
    "soak": soak,
    "poison": poison,
    "broken": broken,
}


def main() -> None:
    """Run one experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("artifact")
    parser.add_argument("--other", default="")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(json.dumps({"experiment": arguments.experiment, "seed": arguments.seed}))
    EXPERIMENTS[arguments.experiment](arguments)


if __name__ == "__main__":
    main()
