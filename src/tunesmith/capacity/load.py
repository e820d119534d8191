"""Requests to a running service: in turns by some clients, or by the clock whether or not earlier ones are answered."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunesmith.errors import TunesmithError

_LOCAL = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status (0 where the connection broke), and the seconds since it was due."""

    status: int
    seconds: float
    body: bytes = b""


class Connections:
    """Connections to one service, kept open and used again.

    Args:
        address: such as "http://127.0.0.1:8080"; a key travels by https alone, or within this machine.
        key: the service's key.
    """

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host = parts.hostname or ""
        is_secure = parts.scheme == "https"
        if parts.scheme not in {"http", "https"} or not self._host or (not is_secure and self._host not in _LOCAL):
            raise TunesmithError(
                "The key would travel in the clear, or this is no address.",
                where=address,
                to_do="Give https://HOST, or http://127.0.0.1:PORT for this machine (a tunnel, kubectl port-forward).",
            )
        self._port = parts.port or (443 if is_secure else 80)
        self._tls = ssl.create_default_context() if is_secure else None
        self._head = f"HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None, due: float = 0.0) -> Reply:
        """Ask once."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} {self._head}content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        began = due or time.perf_counter()
        try:
            reader, writer = self._idle.popleft() if self._idle else await self._opened()
            writer.write(head.encode() + content)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            found = await reader.readexactly(int(told.get("content-length", "0")))
        except (OSError, asyncio.IncompleteReadError):
            return Reply(0, time.perf_counter() - began)
        self._idle.append((reader, writer))
        return Reply(int(lines[0].split()[1]), time.perf_counter() - began, found)

    async def in_turns(
        self, path: str, bodies: Sequence[Mapping[str, object]], *, clients: int, seconds: float
    ) -> list[Reply]:
        """Ask for so many seconds by clients that each wait for their answer."""
        replies: list[Reply] = []
        end = time.perf_counter() + seconds

        async def client(number: int) -> None:
            while time.perf_counter() < end:
                replies.append(await self.ask("POST", path, bodies[number % len(bodies)]))
                number += clients

        await asyncio.gather(*(client(number) for number in range(clients)))
        return replies

    async def by_clock(
        self, path: str, bodies: Sequence[Mapping[str, object]], *, rate: float, seconds: float, seed: int
    ) -> list[Reply]:
        """Ask at a rate per second with exponential gaps; times count from when a request was due."""
        draw = random.Random(seed)
        tasks, begin = [], time.perf_counter() + 0.02
        due = begin
        for number in range(max(1, int(rate * seconds))):
            due += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask("POST", path, bodies[number % len(bodies)], due)))
        return list(await asyncio.gather(*tasks))

    def close(self) -> None:
        """Close what is open."""
        for _, writer in self._idle:
            writer.close()

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, ssl=self._tls)
