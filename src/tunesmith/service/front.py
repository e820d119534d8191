"""The way of a request: which version, how long, may it wait, its answers; and what is noted of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from tunesmith.access.body_limits import BodyLimits, check_texts
from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import Allowance, RateLimiter
from tunesmith.service.batching import Batcher, Waiting
from tunesmith.service.engine import Part, ServiceError
from tunesmith.service.questions import texts_of
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.versions import Registry, Served, Version


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for at once.

    Attributes:
        body: its bytes, the depth of its JSON, its texts and their characters, looked at before anything is tokenised.
        tokens: of one question.
        deadline: seconds in which there must be an answer, unless the request names fewer.
        writing: seconds in which a text that is written must be at its end, unless the request names fewer.
        body_seconds: in which the whole body must have come.
        held_bytes: of all bodies that are held at once.
    """

    body: BodyLimits = field(default_factory=lambda: BodyLimits(2_000_000, items=64, characters=20_000))
    tokens: int = 4_096
    deadline: float = 20.0
    writing: float = 120.0
    body_seconds: float = 30.0
    held_bytes: int = 256_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request after its protocol was read.

    Attributes:
        id: the request's id.
        model: the name that is asked.
        questions: plain questions, as workers take them.
        who: who asks.
        version: the one that must answer; empty for whoever is due.
        seconds: in which there must be an answer; 0 for the service's own deadline.
    """

    id: str
    model: str
    questions: Sequence[Mapping[str, Any]]
    who: Principal
    version: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request was answered with, in the order of its questions."""

    version: Version
    rows: Sequence[Mapping[str, Any]]
    seconds: float
    allowance: Allowance


class Front:
    """Takes requests of any protocol, and gets them answered."""

    def __init__(self, registry: Registry, batcher: Batcher, limits: Limits, limiter: RateLimiter) -> None:
        self.registry = registry
        self.limits = limits
        self._limiter = limiter
        self._batcher = batcher
        self._beside: set[asyncio.Task[None]] = set()
        self.is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether every model is loaded and there is who answers."""
        return bool(self.registry.names) and self._batcher.has_workers and not self.is_stopping

    async def answer(self, asked: Asked) -> Answered:
        """Answer a request.

        Raises:
            NoAnswerError: it is not answered.
        """
        if self.is_stopping:
            raise NoAnswerError("shutting_down", seconds=1)
        began = time.monotonic()
        served = self.registry[asked.model]
        version = served.chosen(asked.id, asked.version)
        questions = self.measured(version, asked.questions)
        allowance = self._limiter.take(asked.who, sum(tokens for _, tokens in questions))
        until = began + (min(asked.seconds, self.limits.deadline) if asked.seconds else self.limits.deadline)
        rows = await self._rows(served, version, questions, until)
        if served.shadow is not None and served.shadow is not version:
            self._ask_beside(served, served.shadow, questions, until)
        return Answered(version, rows, time.monotonic() - began, allowance)

    def write(self, asked: Asked) -> AsyncGenerator[Part, None]:
        """Have the answer to one question written, and hear of each part.

        What can be refused is refused at once; the parts raise a NoAnswerError where there is no answer in time, or
        none to its end.

        Raises:
            NoAnswerError: it is not answered.
            access.RefusedError: as above, or the key has used up what it may use.
        """
        if self.is_stopping:
            raise NoAnswerError("shutting_down", seconds=1)
        served = self.registry[asked.model]
        version = served.chosen(asked.id, asked.version)
        ((question, tokens),) = self.measured(version, asked.questions)
        self._limiter.take(asked.who, tokens)
        return self._parts(asked, served, version, question, tokens)

    async def _parts(
        self, asked: Asked, served: Served, version: Version, question: Mapping[str, Any], tokens: int
    ) -> AsyncGenerator[Part, None]:
        began = asyncio.get_running_loop().time()
        whole = min(asked.seconds or self.limits.writing, self.limits.writing)
        seconds = min(whole, self.limits.deadline)  # of the first part
        served.asked[version.id] = served.asked.get(version.id, 0) + 1
        try:
            async with aclosing(self._batcher.write(version.slot.name, question, tokens)) as parts:
                while True:
                    try:
                        async with asyncio.timeout_at(began + seconds):
                            part = await anext(parts, None)
                    except TimeoutError as error:
                        raise NoAnswerError("deadline", limit=round(1000 * seconds)) from error
                    if part is None:
                        return
                    seconds = whole
                    self._limiter.settle(asked.who, part.written)
                    yield part
        finally:
            served.asked[version.id] -= 1

    def measured(
        self, version: Version, questions: Sequence[Mapping[str, Any]]
    ) -> Sequence[tuple[Mapping[str, Any], int]]:
        """The questions with their lengths in tokens.

        Raises:
            access.RefusedError: there are none or too many, or one has too many characters.
            NoAnswerError: one has too many tokens.
        """
        texts = [texts_of(question) for question in questions]
        check_texts(["".join(one) for one in texts], self.limits.body)
        counted = [max(1, _counted(version, one, place)) for place, one in enumerate(texts)]
        for place, tokens in enumerate(counted):
            if tokens > self.limits.tokens:
                where = f"inputs[{place}]"
                raise NoAnswerError("tokens_above_limit", where=where, given=tokens, limit=self.limits.tokens)
        return list(zip(questions, counted, strict=True))

    async def _rows(
        self, served: Served, version: Version, questions: Sequence[tuple[Mapping[str, Any], int]], until: float
    ) -> list[Mapping[str, Any]]:
        served.asked[version.id] = served.asked.get(version.id, 0) + 1
        waiting: list[Waiting] = []
        try:
            waiting = self._batcher.put(version.slot.name, questions, until)
            futures = [one.answer for one in waiting]
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                    await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
            except TimeoutError as error:
                raise NoAnswerError("deadline", limit=round(1000 * (until - waiting[0].since))) from error
            for place, future in enumerate(futures):
                if future.done() and (failure := future.exception()) is not None:
                    assert isinstance(failure, NoAnswerError)
                    failure.where = f"inputs[{place}]" if len(futures) > 1 else ""
                    raise failure
            return [future.result() for future in futures]
        finally:
            self._batcher.drop(waiting)
            served.asked[version.id] -= 1

    def _ask_beside(
        self, served: Served, version: Version, questions: Sequence[tuple[Mapping[str, Any], int]], until: float
    ) -> None:
        async def ask() -> None:
            try:
                await self._rows(served, version, questions, until)
            except ServiceError:
                return  # a shadow's failures are its own; they are counted where they happen

        task = asyncio.create_task(ask())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


def _counted(version: Version, texts: Sequence[str], place: int) -> int:
    try:
        return version.counter.count(texts)
    except UnicodeEncodeError as error:
        detail = "a text has half of a surrogate pair, which is no character"
        raise NoAnswerError("bad_request", where=f"inputs[{place}]", detail=detail) from error
