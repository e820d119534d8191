"""Requests become batches: a bounded queue per model, no waiting for more, texts of like length, a token budget.

Whenever a worker is free it gets the oldest text that waits, and with it those of the same model whose lengths are
nearest, up to its share of what waits and up to the budget, padding counted. On a CPU bigger batches bring little and
cost latency, padding costs what text costs; so nothing waits for a batch to fill.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from tunesmith.service.engine import Answers, Engine, Part, Place, UnanswerableError, WorkerLostError
from tunesmith.service.refusals import NoAnswerError

LOOK_AHEAD = 64
"""Waiting texts among which those of like length are looked for."""
TRIES = 3
"""How often a text is asked when workers end while they have it: alone from the second time on."""


class Watcher(Protocol):
    """What hears of batches."""

    def answered(self, slot: str, batch: Sequence[Waiting], answers: Answers) -> None:
        """A batch was answered."""

    def wrote(self, slot: str, times: tuple[float, float], last: Part) -> None:
        """A text was written, or is not written on: since when it waited, when a worker took it up, its last part."""

    def waits(self, slot: str, length: int) -> None:
        """So many texts wait for a model."""

    def spared(self, reason: str) -> None:
        """A text was not asked any more: its client left, or its time was up."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A text that waits for its answer.

    Attributes:
        question: what is asked.
        tokens: its length.
        until: when its answer is of no use any more, by `time.monotonic`.
        answer: the row of the answer, once it is there.
        since: when it came.
        tries: how many workers ended while they had it.
        begun, ended: when a worker got it, and when its answer was there; 0 until then.
        beside: how many texts were in its batch.
    """

    question: Mapping[str, Any]
    tokens: int
    until: float
    answer: asyncio.Future[Mapping[str, Any]]
    since: float = field(default_factory=time.monotonic)
    tries: int = 0
    begun: float = 0.0
    ended: float = 0.0
    beside: int = 0


class Batcher:
    """The queues, and what takes batches from them.

    Attributes:
        budget: tokens of a batch, padding counted; a text that is longer goes alone.
        most: tokens that may wait; beyond them requests are refused.
    """

    def __init__(self, engine: Engine, watcher: Watcher, *, budget: int = 512, most: int = 65_536) -> None:
        self.budget = budget
        self.most = most
        self._engine = engine
        self._watcher = watcher
        self._queues: dict[str, dict[Waiting, None]] = {}
        self._tokens = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._speed = 0.0
        self._something = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take batches."""
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; whatever waits is refused."""
        if self._loop is not None:
            self._loop.cancel()
        for queue in self._queues.values():
            for one in queue:
                _fail(one, NoAnswerError("shutting_down"))
        await asyncio.gather(*self._asking, return_exceptions=True)

    @property
    def has_workers(self) -> bool:
        """Whether there is anybody to answer now."""
        return self._engine.alive > 0

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return sum(len(queue) for queue in self._queues.values())

    def retry_after(self) -> float:
        """Seconds until what waits now should be answered, by the speed so far."""
        return min(30.0, self._tokens / self._speed) if self._speed else 1.0

    def put(self, slot: str, questions: Sequence[tuple[Mapping[str, Any], int]], until: float) -> list[Waiting]:
        """Let questions with their lengths wait for their answers; all or none are taken.

        Raises:
            NoAnswerError: too much waits already.
        """
        size = sum(tokens for _, tokens in questions)
        if self._tokens and self._tokens + size > self.most:
            raise NoAnswerError("overloaded", seconds=self.retry_after())
        loop = asyncio.get_running_loop()
        waiting = [Waiting(question, tokens, until, loop.create_future()) for question, tokens in questions]
        queue = self._queues.setdefault(slot, {})
        queue.update(dict.fromkeys(waiting))
        self._tokens += size
        self._watcher.waits(slot, len(queue))
        self._engine.waits(self.waiting)
        self._something.set()
        return waiting

    async def write(self, slot: str, question: Mapping[str, Any], tokens: int) -> AsyncGenerator[Part, None]:
        """Have an answer written by the next worker that is free; it has no other work meanwhile.

        Raises:
            NoAnswerError: too much waits already, or the model fails.
        """
        if self._tokens and self._tokens + tokens > self.most:
            raise NoAnswerError("overloaded", seconds=self.retry_after())
        self._tokens += tokens
        since, began, part = time.monotonic(), False, Part("")
        try:
            for _ in range(TRIES):
                place = await self._engine.take()
                begun = time.monotonic()
                try:
                    async with aclosing(place.write(slot, question)) as parts:
                        async for part in parts:
                            began = True
                            yield part
                    return
                except WorkerLostError:
                    if began:  # what was told already cannot be taken back
                        raise NoAnswerError("unanswerable") from None
                except UnanswerableError as error:
                    raise NoAnswerError("unanswerable") from error
                finally:
                    self._engine.give(place)
                    self._watcher.wrote(slot, (since, begun), part)
            raise NoAnswerError("unanswerable")
        finally:
            self._tokens -= tokens

    def drop(self, waiting: Sequence[Waiting]) -> None:
        """Nobody wants these answers any more; those that no worker has yet are not asked."""
        now = time.monotonic()
        for one in waiting:
            if not one.answer.cancel():
                continue
            for queue in self._queues.values():
                if one in queue:
                    self._spare(queue, one, now)

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            place = await self._engine.take()
            slot, batch = self._formed()
            if not batch:
                self._something.clear()
                self._engine.give(place)
                continue
            task = asyncio.create_task(self._served(place, slot, batch))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _formed(self) -> tuple[str, list[Waiting]]:
        """The next batch, and whose it is; empty if nothing waits that is still of use."""
        self._clear()
        heads = {slot: next(iter(queue)) for slot, queue in self._queues.items() if queue}
        if not heads:
            return "", []
        slot = min(heads, key=lambda name: heads[name].since)
        head, queue = heads[slot], self._queues[slot]
        batch, longest = [head], head.tokens
        share = -(-len(queue) // self._engine.width)  # what waits is parted among the workers: none is idle for long
        if not head.tries:  # a text that may have ended a worker goes alone
            others = [one for one in islice(queue, 1, LOOK_AHEAD) if not one.tries]
            for one in sorted(others, key=lambda one: abs(one.tokens - head.tokens)):
                wide = max(longest, one.tokens)
                if len(batch) == share or wide * (len(batch) + 1) > self.budget:
                    break
                batch, longest = [*batch, one], wide
        for one in batch:
            self._take(queue, one)
        self._watcher.waits(slot, len(queue))
        self._engine.waits(self.waiting)
        return slot, batch

    def _clear(self) -> None:
        """Let go of texts whose clients left or whose time is up."""
        now = time.monotonic()
        for queue in self._queues.values():
            # Old ones stand first; one with a short deadline behind others is found when it comes to the front.
            while gone := [one for one in islice(queue, LOOK_AHEAD) if one.answer.done() or one.until <= now]:
                for one in gone:
                    self._spare(queue, one, now)

    def _spare(self, queue: dict[Waiting, None], one: Waiting, now: float) -> None:
        """Do not ask what nobody waits for."""
        self._take(queue, one)
        self._watcher.spared("deadline" if one.until <= now else "left")
        _fail(one, NoAnswerError("deadline", limit=round(1000 * (one.until - one.since))))

    def _take(self, queue: dict[Waiting, None], one: Waiting) -> None:
        del queue[one]
        self._tokens -= one.tokens

    async def _served(self, place: Place, slot: str, batch: list[Waiting]) -> None:
        try:
            await self._asked(place, slot, batch)
        except WorkerLostError:
            self._again(slot, batch)
        finally:
            self._engine.give(place)

    async def _asked(self, place: Place, slot: str, batch: list[Waiting]) -> None:
        """Ask a batch; if the model fails on it, its halves, until what is to blame is alone."""
        begun = time.monotonic()
        try:
            answers = await place.answer(slot, [one.question for one in batch])
        except UnanswerableError:
            if len(batch) == 1:
                _fail(batch[0], NoAnswerError("unanswerable"))
                return
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                if wanted := [one for one in half if not one.answer.done()]:
                    await self._asked(place, slot, wanted)
            return
        now = answers.tokens / max(answers.seconds, 1e-6) * self._engine.width
        self._speed = 0.9 * self._speed + 0.1 * now if self._speed else now
        ended = time.monotonic()
        for one, row in zip(batch, answers.rows, strict=True):
            one.begun, one.ended, one.beside = begun, ended, len(batch)
            if not one.answer.done():
                one.answer.set_result(row)
        self._watcher.answered(slot, batch, answers)

    def _again(self, slot: str, batch: Sequence[Waiting]) -> None:
        """Put texts back in front of the queue whose worker ended; who did this too often is refused."""
        back: dict[Waiting, None] = {}
        for one in batch:
            if one.answer.done():
                continue
            one.tries += 1
            if one.tries >= TRIES:
                _fail(one, NoAnswerError("unanswerable"))
            else:
                back[one] = None
                self._tokens += one.tokens
        self._queues[slot] = {**back, **self._queues.get(slot, {})}
        self._something.set()


def _fail(one: Waiting, error: NoAnswerError) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)
