"""Requests by the thousand: a small HTTP/1.1 client for loads that are open (arrivals by a clock) or closed (in turns).

Only addresses of this machine are asked, in loops that end by themselves.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status (0 where the connection broke), body, seconds from when it was due, the request's number."""

    status: int
    body: Mapping[str, Any]
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask, and with which key."""

    port: int
    path: str
    key: str = ""
    host: str = "127.0.0.1"


class Connections:
    """Connections that are kept open and used again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        key = f"authorization: Bearer {target.key}\r\n" if target.key else ""
        self._head = f"POST {target.path} HTTP/1.1\r\nhost: {target.host}\r\n{key}content-type: application/json\r\n"

    async def post(self, body: Mapping[str, Any], *, due: float = 0.0, number: int = 0) -> Reply:
        """Ask once; without a whole answer the reply has status 0.

        Its error is "Refused" where there was no connection, "Closed" where that ended without a byte of an answer, and
        "Partial" where it ended within one.
        """
        content = json.dumps(body).encode()
        began = due or time.perf_counter()
        is_begun = False
        try:
            reader, writer = self._kept() or await self._opened()
        except OSError:
            return Reply(0, {"error": "Refused"}, time.perf_counter() - began, number=number)
        try:
            writer.write(f"{self._head}content-length: {len(content)}\r\n\r\n".encode() + content)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            is_begun = True
            told = await reader.readexactly(int(headers.get("content-length", "0")))
        except (OSError, asyncio.IncompleteReadError) as error:
            why = "Partial" if is_begun or _partial(error) else "Closed"
            return Reply(0, {"error": why}, time.perf_counter() - began, number=number)
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        status = int(head[0].split()[1])
        return Reply(status, json.loads(told) if told else {}, time.perf_counter() - began, headers, number)

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that is still open; servers close those that were idle for long."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Close what is open."""
        for _, writer in self._idle:
            writer.close()

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._target.host, self._target.port)


def _partial(error: OSError | asyncio.IncompleteReadError) -> bool:
    return isinstance(error, asyncio.IncompleteReadError) and bool(error.partial)


async def closed(target: Target, bodies: Sequence[Mapping[str, Any]], *, clients: int) -> tuple[list[Reply], float]:
    """Ask all bodies by so many clients, each in turn; the replies in order, and the seconds that it took."""
    connections = Connections(target)
    numbers: Iterator[int] = iter(range(len(bodies)))
    replies: dict[int, Reply] = {}

    async def client() -> None:
        for number in numbers:
            replies[number] = await connections.post(bodies[number], number=number)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = time.perf_counter() - began
    connections.close()
    return [replies[number] for number in range(len(bodies))], seconds


async def opened(target: Target, bodies: Sequence[Mapping[str, Any]], *, rate: float, seed: int) -> list[Reply]:
    """Ask bodies at `rate` per second with exponential gaps, whether or not earlier ones are answered."""
    draw = random.Random(seed)
    connections = Connections(target)
    tasks, due = [], time.perf_counter() + 0.05
    for number, body in enumerate(bodies):
        due += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(connections.post(body, due=due, number=number)))
    replies = list(await asyncio.gather(*tasks))
    connections.close()
    return replies


def quantile(replies: Sequence[Reply], share: float) -> float:
    """The milliseconds within which a share of the replies came."""
    times = sorted(reply.seconds for reply in replies)
    return 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


def statuses(replies: Sequence[Reply]) -> str:
    """How many replies had which status."""
    return ", ".join(
        f"{status or 'broken'}: {count}" for status, count in sorted(Counter(r.status for r in replies).items())
    )
