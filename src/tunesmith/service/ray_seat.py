"""The place of one replica in a Ray cluster, whichever actor fills it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from tunesmith.errors import ArtifactError
from tunesmith.service.engine import Answers, Part, Slot, UnanswerableError, WorkerLostError
from tunesmith.service.frames import content, unpacked
from tunesmith.service.ray_replica import Replica

_PAUSE = 0.3
"""Seconds before a lost batch is asked again: who was lost with its replica, on the same machine, is known by then."""


class Seat:
    """Asks one actor, and hears when it or its worker ends.

    Attributes:
        pid: the worker's process, on its own machine; 0 while there is none.
        texts: how many it is answering now.
        is_taken: whether somebody has the right to ask it.
    """

    def __init__(self, ray: ModuleType, threads: int, stuck: float) -> None:
        self._ray = ray
        self._threads = threads
        self._stuck = stuck
        self._actor: Any = None
        self._numbers = itertools.count()
        self._is_filled = False
        self.pid = 0
        self.texts = 0
        self.is_taken = False

    @property
    def is_ready(self) -> bool:
        """Whether an actor is there, with a worker that holds all models."""
        return self._is_filled and self.pid > 0

    async def start(self) -> None:
        """Have an actor placed, which takes until the cluster has room, and its worker started.

        Raises:
            WorkerLostError: it ended while it began.
        """
        made = self._ray.remote(
            num_cpus=self._threads, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        # Ray registers an actor over the network before it returns.
        self._actor = await asyncio.to_thread(made(Replica).remote, self._threads)
        await self._told(self._actor.start.remote())

    def fill(self) -> None:
        """It holds all models from now on."""
        self._is_filled = True

    async def listen(self, changed: Callable[[int], None]) -> None:
        """Hear of the worker until the actor ends, whatever ends it: the process, the machine, or we.

        Args:
            changed: is told how often the worker was started again since, after each change.
        """
        number = restarts = 0
        try:
            while True:
                news = unpacked(await self._told(self._actor.heard.remote(number)))
                number, self.pid = news["number"], news["pid"]
                changed(news["restarts"] - restarts)
                restarts = news["restarts"]
        except (WorkerLostError, UnanswerableError):
            self.end()

    def end(self) -> None:
        """End the actor at once, and with it its worker."""
        self._is_filled, self.pid = False, 0
        if self._actor is not None and self._ray.is_initialized():
            self._ray.kill(self._actor)

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        """Load a model beside those that answer; what is known of it.

        Raises:
            ArtifactError: it is refused.
            WorkerLostError: the actor ended.
        """
        found = unpacked(await self._told(self._actor.load.remote(content(slot.plain))))
        if refused := found.get("refused"):
            what, where, to_do = refused
            raise ArtifactError(what, where=where, to_do=to_do)
        _check(found, slot.name)
        facts: Mapping[str, Any] = found["facts"]
        return facts

    async def unload(self, name: str) -> None:
        """Let go of a model."""
        await self._told(self._actor.unload.remote(name))

    async def answer(self, slot: str, questions: Sequence[Mapping[str, Any]]) -> Answers:
        """Have a batch answered."""
        asked = content({"slot": slot, "questions": questions})
        self.texts = len(questions)
        try:
            async with asyncio.timeout(self._stuck):
                found = unpacked(await self._told(self._actor.answer.remote(asked)))
        except TimeoutError as error:
            self.end()
            raise WorkerLostError(f"A replica did not answer for {self._stuck:g} s and was ended.") from error
        except WorkerLostError:
            await asyncio.sleep(_PAUSE)
            raise
        finally:
            self.texts = 0
        _check(found, slot)
        return Answers(**found)

    async def write(self, slot: str, question: Mapping[str, Any]) -> AsyncGenerator[Part, None]:
        """Have an answer written, and hear of each part; closing the generator ends the writing."""
        number = next(self._numbers)
        asked = content({"slot": slot, "question": question, "id": number})
        parts = aiter(self._actor.write.options(num_returns="streaming").remote(asked))
        self.texts = 1
        part = Part("")
        try:
            while not part.finished:
                found = await self._next(parts)
                _check(found, slot)
                part = Part(**found)
                yield part
        finally:
            if not part.finished and self.is_ready:  # the replica is free only when it has stopped
                self._actor.stop.remote(number)
                while "text" in await self._next(parts):
                    pass
            self.texts = 0

    async def _next(self, parts: Any) -> dict[str, Any]:
        """The next part of what is written, or that there is none."""
        try:
            return unpacked(await self._told(await anext(parts)))
        except (StopAsyncIteration, WorkerLostError):
            return {"lost": "A replica ended."}

    async def _told(self, ref: Awaitable[Any]) -> Any:
        """What a call returned.

        Raises:
            WorkerLostError: the actor, or the way to it, is gone.
            UnanswerableError: the call failed with an error that it should have told as a value.
        """
        errors = self._ray.exceptions
        try:
            return await ref
        except errors.RayTaskError as error:
            raise UnanswerableError(f"A replica failed: {type(error.cause).__name__}.") from None
        except errors.RayError as error:
            self.end()  # it may only be out of reach; whatever it holds, nothing more is asked of it
            raise WorkerLostError(f"A replica ended ({type(error).__name__}).") from None


def _check(found: Mapping[str, Any], slot: str) -> None:
    if lost := found.get("lost"):
        raise WorkerLostError(lost)
    if failure := found.get("failure"):
        raise UnanswerableError(failure, where=slot)
