"""A replica: an actor of Ray, small and quick to start, with a model worker of its own.

What is asked and answered travels as JSON in bytes, which Ray hands on as they are; no text of a user is ever pickled.
Ray itself pickles the class and its settings between the machines of its cluster.

The worker is a process beside the actor, made as on a single machine (`local.py`): one that crashes is there again in
less than a second, where a new actor would first have to be placed and to import everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from tunesmith.errors import TunesmithError
from tunesmith.service.engine import ServiceError, Slot, UnanswerableError, WorkerLostError
from tunesmith.service.frames import content, unpacked
from tunesmith.service.local import LocalEngine


class Replica:
    """One model worker on the machine that Ray chose."""

    def __init__(self, threads: int) -> None:
        self._engine = LocalEngine(1, threads)
        self._news = asyncio.Condition()
        self._restarts = self._number = 0
        self._telling: set[asyncio.Task[None]] = set()
        self._unwanted: set[int] = set()

    async def start(self) -> None:
        """Start the worker; returns when it is there."""
        await self._engine.start(self)

    async def load(self, asked: bytes) -> bytes:
        """Load a model beside those that answer, and try it."""
        slot = Slot.of(unpacked(asked))

        async def loaded() -> dict[str, Any]:
            return {"facts": dict(await self._engine.load(slot))}

        return content(await _told(loaded))

    async def unload(self, slot: str) -> None:
        """Let go of a model."""
        await self._engine.unload(slot)

    async def answer(self, asked: bytes) -> bytes:
        """Answer a batch."""
        message = unpacked(asked)

        async def answered() -> dict[str, Any]:
            place = await self._engine.take()
            try:
                return asdict(await place.answer(message["slot"], message["questions"]))
            finally:
                self._engine.give(place)

        return content(await _told(answered))

    async def write(self, asked: bytes) -> AsyncIterator[bytes]:
        """Write an answer: its parts as they come; the last one is finished, or says why there are no more."""
        message = unpacked(asked)
        place = await self._engine.take()
        try:
            async with aclosing(place.write(message["slot"], message["question"])) as parts:
                async for part in parts:
                    if message["id"] in self._unwanted:
                        break
                    yield content(asdict(part))
        except (UnanswerableError, WorkerLostError) as error:
            yield content(_failure(error))
        finally:
            self._unwanted.discard(message["id"])
            self._engine.give(place)

    async def stop(self, number: int) -> None:
        """Nobody wants any more what is being written under this number."""
        self._unwanted.add(number)

    async def heard(self, number: int) -> bytes:
        """What is new since the news with this number, as soon as there is any; whoever waits also hears of the end."""
        async with self._news:
            await self._news.wait_for(lambda: self._number != number)
        pids = self._engine.pids
        return content({"number": self._number, "restarts": self._restarts, "pid": pids[0] if pids else 0})

    def restarted(self, reason: str) -> None:
        """The worker ended and is started again."""
        self._restarts += 1
        self._tell()

    def alive(self, workers: int) -> None:
        """So many workers are there: one or none."""
        self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._news:
                self._number += 1
                self._news.notify_all()

        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


async def _told(work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What some work returned, or why it did not, as plain values."""
    try:
        return await work()
    except ServiceError as error:
        return _failure(error)
    except TunesmithError as error:
        return {"refused": [error.what, error.where, error.to_do]}


def _failure(error: TunesmithError) -> dict[str, Any]:
    return {"failure": error.what} if isinstance(error, UnanswerableError) else {"lost": error.what}
