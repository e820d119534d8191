"""The way of a request: which version, how long, may it wait, its answers; and what is noted of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from tunesmith.access.body_limits import BodyLimits, check_texts
from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import Allowance, RateLimiter
from tunesmith.data.records import Prediction
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.messages import Language
from tunesmith.guarding.verdicts import Evidence
from tunesmith.service.batching import Batcher, Waiting
from tunesmith.service.engine import Part, ServiceError
from tunesmith.service.protection import (
    Protection,
    Taken,
    UnknownError,
    answers_to_remember,
    evidence_of,
    unknown_row,
)
from tunesmith.service.questions import texts_of
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.rows import prediction_of
from tunesmith.service.tracing import note_batches
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
        language: of fixed texts that may stand in the place of a written answer.
    """

    id: str
    model: str
    questions: Sequence[Mapping[str, Any]]
    who: Principal
    version: str = ""
    seconds: float = 0.0
    language: Language = "en"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request was answered with, in the order of its questions."""

    version: Version
    rows: Sequence[Mapping[str, Any]]
    seconds: float
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Counted:
    """A question and its length in tokens."""

    question: Mapping[str, Any]
    tokens: int


Measured = Sequence[Counted]


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
        taken = [self._protection.taken(question, place) for place, question in enumerate(asked.questions)]
        measured = self.measured(version, [one.question for one in taken])
        allowance = self._limiter.take(asked.who, sum(one.tokens for one in measured))
        until = began + (min(asked.seconds, self.limits.deadline) if asked.seconds else self.limits.deadline)
        try:
            rows = await self._guarded(served, version, measured, until)
        except NoAnswerError as error:
            if error.code == "overloaded":  # what is refused for the load costs the key none of its tokens
                self._limiter.settle(asked.who, -sum(one.tokens for one in measured))
            raise
        if served.shadow is not None and served.shadow is not version:
            self._ask_beside(served, served.shadow, measured, until)
        shown = [self._protection.shown(row, one, version) for row, one in zip(rows, taken, strict=True)]
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
        taken = self._protection.taken(asked.questions[0], 0)
        measured = self.measured(version, [taken.question])
        self._limiter.take(asked.who, measured[0].tokens)
        return self._said(asked, served, version, taken, measured)

    async def _said(
        self, asked: Asked, served: Served, version: Version, taken: Taken, measured: Measured
    ) -> AsyncGenerator[Part, None]:
        """The parts as they may go out; the whole is remembered."""
        until = time.monotonic() + self.limits.deadline
        passed, unknown = await self._before(version, measured, until)
        if unknown:
            yield Part(unknown[0]["unknown"][asked.language], "stop", measured[0].tokens)
            return
        text, last = "", Part("")
        is_judged = self._protection.judges(version.model)
        async with aclosing(self._parts(asked, served, version, passed[0])) as parts:
            async for last in parts:
                text += last.text
                if not is_judged:
                    yield last
        row: Mapping[str, Any] = {"label": text, "confidence": None}
        if is_judged:
            (row,) = await self._after(version, passed, [row], until)
            row = self._protection.shown(row, taken, version)
            said = row["unknown"][asked.language] if "unknown" in row else row["label"]
            yield replace(last, text=said)
        self._remember(asked, version, [row])

    async def _parts(
        self, asked: Asked, served: Served, version: Version, counted: Counted
    ) -> AsyncGenerator[Part, None]:
        """The parts as they are written; the first must come within the deadline, the last within that of writing."""
        began = asyncio.get_running_loop().time()
        whole = min(asked.seconds or self.limits.writing, self.limits.writing)
        seconds = min(whole, self.limits.deadline)
        served.asked[version.id] = served.asked.get(version.id, 0) + 1
        try:
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
        finally:
            served.asked[version.id] -= 1

    async def _guarded(self, served: Served, version: Version, measured: Measured, until: float) -> list[Any]:
        """The rows of answers, as the guards let them pass."""
        if version.model not in self._protection.guards:
            return await self._rows(served, version, measured, until)
        passed, unknown = await self._before(version, measured, until)
        asked = [one for place, one in enumerate(passed) if place not in unknown]
        rows = await self._rows(served, version, asked, until) if asked else []
        judged = iter(await self._after(version, asked, rows, until))
        return [unknown[place] if place in unknown else next(judged) for place in range(len(passed))]

    async def _before(
        self, version: Version, measured: Measured, until: float
    ) -> tuple[list[Counted], dict[int, dict[str, Any]]]:
        """The questions as the guards let them pass, and by place the answers to those that are answered already."""
        guards = self._protection.guards.get(version.model)
        if guards is None:
            return list(measured), {}
        others = await self._further(guards, "before", [one.question for one in measured], until)
        needs = sorted(guards.needs & {"vector", "energy"})
        passed, unknown = [], {}
        for place, one in enumerate(measured):
            question, tokens = one.question, one.tokens
            evidence = Evidence(tokens=tokens, answers=others[place])
            try:
                found = self._protection.before(version, question, evidence, place)
                passed.append(Counted({**found, "needs": needs} if needs else found, tokens))
            except UnknownError as error:
                unknown[place] = unknown_row(error.verdict)
                passed.append(Counted(question, tokens))
        return passed, unknown

    async def _after(
        self, version: Version, passed: Measured, rows: Sequence[Mapping[str, Any]], until: float
    ) -> list[Mapping[str, Any]]:
        guards = self._protection.guards.get(version.model)
        if guards is None:
            return list(rows)
        judged = [
            {"text": row["label"] if version.label_kind == "text" else one.question["text"]}
            for row, one in zip(rows, passed, strict=True)
        ]
        others = await self._further(guards, "after", judged, until)
        found = []
        for place, (one, row) in enumerate(zip(passed, rows, strict=True)):
            evidence = evidence_of(row, one.tokens, others[place])
            plain = {name: value for name, value in row.items() if name != "evidence"}
            found.append(self._protection.after(version, one.question, plain, evidence, place))
        return found

    async def _further(
        self, guards: Guards, moment: str, questions: Sequence[Mapping[str, Any]], until: float
    ) -> list[dict[str, Prediction]]:
        """By question the answers of the models that guards ask at that moment."""
        found: list[dict[str, Prediction]] = [{} for _ in questions]
        for folder, moments in guards.models.items():
            if moment not in moments or not questions:
                continue
            other = self._protection.further[folder]
            texts = [{"text": question["text"]} for question in questions]
            rows = await self._waited(other, self.measured(other, texts), until)
            for one, row in zip(found, rows, strict=True):
                one[folder] = prediction_of(row, other.label_kind, "0")
        return found

    def _remember(self, asked: Asked, version: Version, rows: Sequence[Mapping[str, Any]]) -> None:
        if any(question.get("embed") for question in asked.questions):
            return
        self._protection.remember(answers_to_remember(asked.id, asked.who.id, version, asked.questions, rows))

    def measured(self, version: Version, questions: Sequence[Mapping[str, Any]]) -> list[Counted]:
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
        return [Counted(*pair) for pair in zip(questions, counted, strict=True)]

    async def _rows(self, served: Served, version: Version, questions: Measured, until: float) -> list[Any]:
        served.asked[version.id] = served.asked.get(version.id, 0) + 1
        try:
            return await self._waited(version, questions, until)
        finally:
            served.asked[version.id] -= 1

    async def _waited(self, version: Version, questions: Measured, until: float) -> list[Any]:
        waiting: list[Waiting] = []
        try:
            pairs = [(one.question, one.tokens) for one in questions]
            waiting = self._batcher.put(version.slot.name, pairs, until)
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
            note_batches(version, waiting)
            return [future.result() for future in futures]
        finally:
            self._batcher.drop(waiting)

    def _ask_beside(self, served: Served, version: Version, questions: Measured, until: float) -> None:
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
