"""The way of a request: which version, may it be asked, its answers; and what is noted of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import RateLimiter
from tunesmith.service.batching import Batcher
from tunesmith.service.engine import Part, ServiceError
from tunesmith.service.guarded import GuardedLine
from tunesmith.service.jobs import Answered, Asked, Counted, Limits, Measured
from tunesmith.service.line import Line
from tunesmith.service.protection import Protection, Taken, answers_to_remember
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.rows import agreement
from tunesmith.service.versions import Registry, Served, Version


class Front:
    """Takes requests of any protocol, and gets them answered.

    Attributes:
        is_leaving: the service will end soon: it answers, is not ready any more, and each answer ends its connection.
    """

    def __init__(
        self, registry: Registry, batcher: Batcher, limits: Limits, limiter: RateLimiter, protection: Protection
    ) -> None:
        self.registry = registry
        self.limits = limits
        self._limiter = limiter
        self._protection = protection
        self._batcher = batcher
        self._line = Line(batcher, limits)
        self._guarded = GuardedLine(self._line, protection)
        self._beside: set[asyncio.Task[None]] = set()
        self.is_leaving = False

    @property
    def is_ready(self) -> bool:
        """Whether every model is loaded and there is who answers."""
        return bool(self.registry.names) and self._batcher.has_workers and not self.is_leaving

    async def answer(self, asked: Asked) -> Answered:
        """Answer a request.

        Raises:
            access.RefusedError, NoAnswerError, GuardedError: it is not answered.
        """
        began = time.monotonic()
        served = self.registry[asked.model]
        version = served.chosen(asked.id, asked.version)
        sent = self._line.measured(version, asked.questions)
        allowance = self._limiter.take(asked.who, sum(one.tokens for one in sent))
        until = began + (min(asked.seconds, self.limits.deadline) if asked.seconds else self.limits.deadline)
        with served.holding(version), self._unless_overloaded(asked.who, sent):
            taken, measured = await self._taken(version, sent, until)
            rows = await self._guarded.rows(served, version, measured, until)
            if served.shadow is not None and served.shadow is not version:
                self._ask_beside(served, version, measured, rows, until)
            shown = await self._protection.all_shown(rows, taken, version, until)
        self._remember(asked, version, shown)
        return Answered(version, shown, time.monotonic() - began, allowance)

    def write(self, asked: Asked) -> AsyncGenerator[Part, None]:
        """Have the answer to one question written, and hear of each part.

        What can be refused is refused at once; the parts raise an error where a guard objects, or where there is no
        answer in time, or none to its end. Where guards or a redactor judge what was written, the whole is one part.

        Raises:
            NoAnswerError: it is not answered.
            access.RefusedError: as above, or the key has used up what it may use.
        """
        served = self.registry[asked.model]
        version = served.chosen(asked.id, asked.version)
        sent = self._line.measured(version, asked.questions[:1])
        self._limiter.take(asked.who, sent[0].tokens)
        return self._charged(asked, served, version, sent, self._said(asked, version, sent))

    async def _taken(self, version: Version, sent: Measured, until: float) -> tuple[list[Taken], Measured]:
        """Questions without personal data, measured anew where some was taken out.

        They were measured and charged as they were sent: what is too long, or too much, is not looked through.
        """
        questions = [one.question for one in sent]
        taken = await self._protection.all_taken(questions, until)
        found = [one.question for one in taken]
        return taken, sent if found == questions else self._line.measured(version, found)

    async def _charged(
        self, asked: Asked, served: Served, version: Version, measured: Measured, parts: AsyncGenerator[Part, None]
    ) -> AsyncGenerator[Part, None]:
        with served.holding(version), self._unless_overloaded(asked.who, measured):
            async with aclosing(parts):
                async for part in parts:
                    yield part

    @contextmanager
    def _unless_overloaded(self, who: Principal, measured: Measured) -> Iterator[None]:
        """What is refused for the load costs the key none of its tokens."""
        try:
            yield
        except NoAnswerError as error:
            if error.code == "overloaded":
                self._limiter.settle(who, -sum(one.tokens for one in measured))
            raise

    async def _said(self, asked: Asked, version: Version, sent: Measured) -> AsyncGenerator[Part, None]:
        """The parts as they may go out; the whole is remembered."""
        until = time.monotonic() + min(asked.seconds or self.limits.deadline, self.limits.deadline)
        taken, measured = await self._taken(version, sent, until)
        passed, unknown = await self._guarded.before(version, measured, until)
        if unknown:
            yield Part(unknown[0]["unknown"][asked.language], "stop", measured[0].tokens)
            return
        text, last = "", Part("")
        is_judged = self._protection.judges(version.model)
        async with aclosing(self._parts(asked, version, passed[0])) as parts:
            async for last in parts:
                text += last.text
                if not is_judged:
                    yield last
        row: Mapping[str, Any] = {"label": text, "confidence": None}
        if is_judged:
            later = time.monotonic() + self.limits.deadline  # what was written may have taken longer than that
            (row,) = await self._guarded.after(version, passed, [row], later)
            (row,) = await self._protection.all_shown([row], taken, version, later)
            said = row["unknown"][asked.language] if "unknown" in row else row["label"]
            yield replace(last, text=said)
        self._remember(asked, version, [row])

    async def _parts(self, asked: Asked, version: Version, counted: Counted) -> AsyncGenerator[Part, None]:
        """The parts as they are written; the first must come within the deadline, the last within that of writing."""
        began = asyncio.get_running_loop().time()
        whole = min(asked.seconds or self.limits.writing, self.limits.writing)
        seconds = min(whole, self.limits.deadline)
        async with aclosing(self._batcher.write(version.slot.name, counted.question, counted.tokens)) as parts:
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
                self._protection.metrics.generated(version.model, part.written)
                yield part

    def _remember(self, asked: Asked, version: Version, rows: Sequence[Mapping[str, Any]]) -> None:
        if any(question.get("embed") for question in asked.questions):
            return
        self._protection.remember(answers_to_remember(asked.id, asked.who.id, version, asked.questions, rows))

    def _ask_beside(
        self, served: Served, version: Version, questions: Measured, rows: Sequence[Mapping[str, Any]], until: float
    ) -> None:
        """Ask the shadow what a version answered, and count whether it says so; its own tokenizer counts the tokens."""
        assert served.shadow is not None
        shadow, metrics = served.shadow, self._protection.metrics
        if any("label" not in row for row in rows):
            return  # embeddings of two models have nothing in common

        async def ask() -> None:
            try:
                measured = questions
                if shadow.counter.sha256 != version.counter.sha256:
                    measured = self._line.measured(shadow, [one.question for one in questions])
                marked = [Counted({**one.question, "shadow": True}, one.tokens) for one in measured]
                found = await self._line.rows(served, shadow, marked, until)
            except ServiceError:  # a shadow's failures are its own
                metrics.shadowed(shadow.model, shadow.id, "failed", len(rows))
                return
            for row, beside in zip(rows, found, strict=True):
                metrics.shadowed(shadow.model, shadow.id, agreement(row, beside))

        task = asyncio.create_task(ask())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
