"""What all routes do with a request before and after its own protocol: who asks, what stands in it, who has left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from tunesmith.access.body_limits import read_json
from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import source_of
from tunesmith.service.changing import Changes
from tunesmith.service.front import Front
from tunesmith.service.jobs import Answered, Asked
from tunesmith.service.misreading import misread
from tunesmith.service.protection import Protection
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.surroundings import language_of
from tunesmith.watching.metrics import Metrics

T = TypeVar("T")


class Doorkeeper(Protocol):
    """Says who asks."""

    def admit(self, authorization: str | None, source: str) -> Principal:
        """Who presents this; an access.RefusedError where nobody known does. It waits for no other machine."""

    def lacks_key(self, authorization: str | None) -> bool:
        """Whether that can only be told after `fetch_keys`."""

    def fetch_keys(self) -> bool:
        """Fetch the keys of those who sign tokens; called on a thread, since it may take seconds."""


class Gone(Exception):  # noqa: N818
    """The client left before its answer was there."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What routes work with."""

    front: Front
    changes: Changes
    doorkeeper: Doorkeeper
    metrics: Metrics
    protection: Protection
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def admit(self, request: Request, scope: str) -> Principal:
        """Who asks, who must have this scope. One request at a time has keys fetched; the others find them then."""
        given = request.headers.get("authorization")
        if self.doorkeeper.lacks_key(given):
            async with self.fetching:
                if self.doorkeeper.lacks_key(given):
                    await asyncio.to_thread(self.doorkeeper.fetch_keys)
        who = self.doorkeeper.admit(given, source_of(request.client.host) if request.client else "")
        who.need(scope)
        return who

    def job(
        self, request: Request, who: Principal, model: str, questions: Sequence[Mapping[str, Any]], version: str = ""
    ) -> Asked:
        """What a request asks of a model; its metrics count it there from now on."""
        request.state.model = model
        language = language_of(request.headers)
        return Asked(request.state.request_id, model, questions, who, version, seconds_of(request), language)

    async def read(self, request: Request, form: TypeAdapter[T]) -> T:
        """The body as a record.

        Raises:
            NoAnswerError: it is no JSON, or not of this form; what was sent does not stand in the message.
        """
        value = read_json(await request.body(), self.front.limits.body)
        try:
            return form.validate_python(value)
        except ValidationError as error:
            raise misread(error, form) from error

    async def answered(self, request: Request, asked: Asked) -> Answered:
        """What is asked, answered; given up when the client leaves."""
        answered = await self.unless_gone(request, self.front.answer(asked))
        request.state.version = answered.version.id
        return answered

    async def unless_gone(self, request: Request, work: Awaitable[T]) -> T:
        """The result of some work, which is given up when the client leaves.

        Raises:
            Gone: it left.
        """
        working = asyncio.ensure_future(work)
        watching = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Gone
            return working.result()
        finally:
            watching.cancel()
            working.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def seconds_of(request: Request) -> float:
    """The deadline that a request names in `X-Request-Timeout-Ms`; 0 for none.

    Raises:
        NoAnswerError: it is no whole number of milliseconds above zero.
    """
    given = request.headers.get("x-request-timeout-ms", "")
    if not given:
        return 0.0
    if not given.isdecimal() or len(given) > 8 or not 0 < int(given) < 86_400_000:
        raise NoAnswerError("bad_request", where="X-Request-Timeout-Ms", detail="a whole number of milliseconds")
    return int(given) / 1000
