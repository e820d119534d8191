"""What all routes do with a request before and after its own protocol: who asks, what stands in it, who has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from tunesmith.service.front import Front
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.surroundings import read_json
from tunesmith.service.switching import Switch
from tunesmith.service.versions import Version

T = TypeVar("T")


class Doorkeeper(Protocol):
    """Says who may do what."""

    def admitted(self, headers: Any, scope: str) -> str:
        """Who asks, as an id; raises a NoAnswerError when this may not be."""


class Gone(Exception):  # noqa: N818
    """The client left before its answer was there."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What routes work with."""

    front: Front
    switch: Switch
    doorkeeper: Doorkeeper

    def admit(self, request: Request, scope: str) -> str:
        """See that the client may do this; its id."""
        who = self.doorkeeper.admitted(request.headers, scope)
        request.state.principal = who
        return who

    async def read(self, request: Request, form: TypeAdapter[T]) -> T:
        """The body as a record.

        Raises:
            NoAnswerError: it is no JSON, or not of this form; what was sent does not stand in the message.
        """
        value = read_json(await request.body(), self.front.limits)
        try:
            return form.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            known = json.dumps(form.json_schema())  # a key that the client made up is not repeated
            where = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or f'"{part}"' in known)
            raise NoAnswerError("bad_request", where=where, detail=str(first["type"]).replace("_", " ")) from error

    async def changed(self, name: str, verb: str, version: str, share: float) -> Version:
        """Change who answers under a name.

        Raises:
            NoAnswerError: there is no such verb, model or version.
        """
        if verb == "load":
            return await self.switch.load(name, version)
        if verb == "promote":
            return await self.switch.promote(name, version)
        if verb == "rollback":
            return await self.switch.roll_back(name)
        if verb == "canary":
            return await self.switch.canary(name, version, share)
        if verb == "shadow":
            return await self.switch.shadow(name, version)
        raise NoAnswerError("not_found")

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
    if not given.isdecimal() or not 0 < int(given[:10]) < 86_400_000:
        raise NoAnswerError("bad_request", where="X-Request-Timeout-Ms", detail="a whole number of milliseconds")
    return int(given) / 1000
