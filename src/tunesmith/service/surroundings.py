"""What stands around every route: request ids, caps on bodies, security headers, and answers for what goes wrong."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.access.body_limits import BodyCounter, BodyLimits
from tunesmith.access.logs import request_id
from tunesmith.guarding.messages import Language
from tunesmith.service.front import Front
from tunesmith.service.refusals import NoAnswerError
from tunesmith.watching.metrics import Metrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers of every answer; pages add their own policy for scripts."""


class BodyCap:
    """Counts a body's bytes as they come, whatever its headers say, and refuses what is beyond the limit.

    A body must be there after so many seconds; one that is compressed is refused, since its size says nothing; and all
    bodies that are held at once have a limit too.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, seconds: float, held: int) -> None:
        self._app = app
        self._limits = limits
        self._seconds = seconds
        self._most_held = held
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counter = BodyCounter(self._limits)
        coding = dict(scope["headers"]).get(b"content-encoding", b"identity").strip().lower()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        more = True

        async def counted() -> Message:
            nonlocal more
            if not more:
                return await receive()
            if coding not in (b"identity", b""):
                raise NoAnswerError("unsupported_coding")
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise NoAnswerError("body_too_slow", limit=round(self._seconds)) from error
            size = len(message.get("body", b""))
            more = bool(message.get("more_body", False))
            self._held += size
            counter.add(message.get("body", b""))
            if self._held > self._most_held:
                raise NoAnswerError("overloaded", seconds=1)
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= counter.count


class Named:
    """Gives each request an id and every answer the id and the security headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, front: Front) -> None:
        self._app = app
        self._metrics = metrics
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        name = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)
        state = scope.setdefault("state", {})
        state["request_id"] = name
        token = request_id.set(name)
        began = time.perf_counter()
        self._metrics.entered()
        status = 500

        async def headed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                own = [(b"x-request-id", name.encode()), *SECURITY]
                if self._front.is_leaving:
                    own.append((b"connection", b"close"))
                there = {header for header, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in there)]
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, headed)
        finally:
            if scope["method"] == "POST":
                self._count(state, status, time.perf_counter() - began)
            request_id.reset(token)
            self._metrics.left()

    def _count(self, state: Mapping[str, Any], status: int, seconds: float) -> None:
        model, version = state.get("model", ""), state.get("version", "")
        task = self._front.registry[model].champion.task if model in self._front.registry.names else ""
        self._metrics.request(task=task, model=model, version=version, code=status, seconds=seconds)


def language_of(headers: Mapping[str, str]) -> Language:
    """The language of fixed texts: Chinese where the client prefers it."""
    return "zh" if headers.get("accept-language", "").strip().lower().startswith("zh") else "en"
