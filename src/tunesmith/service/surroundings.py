"""What stands around every route: request ids, caps on bodies, security headers, and answers for what goes wrong."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.service.front import Limits
from tunesmith.service.refusals import NoAnswerError

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
    """Counts a body's bytes as they come, whatever its headers say, and refuses what is beyond the limit."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limits.body:
                raise NoAnswerError("body_too_large", limit=self._limits.body)
            return message

        await self._app(scope, counted, send)


class Named:
    """Gives each request an id and every answer the id and the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        name = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)
        scope.setdefault("state", {})["request_id"] = name

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"x-request-id", name.encode()), *SECURITY]
                there = {header for header, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in there)]
            await send(message)

        await self._app(scope, receive, headed)


def problem(error: NoAnswerError, request_id: str, language: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of an answer that says why there is none."""
    body = {
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error.said(language),
        "request_id": request_id,
    }
    if error.where:
        body["where"] = error.where
    return error.status, body, {"retry-after": str(max(1, round(error.seconds)))} if error.seconds else {}


def language_of(headers: Mapping[str, str]) -> str:
    """The language of fixed texts: Chinese where the client prefers it."""
    return "zh" if headers.get("accept-language", "").strip().lower().startswith("zh") else "en"


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")


def see_flat(body: bytes, limits: Limits) -> None:
    """See that a JSON body is not nested or long beyond measure, before it is parsed.

    Raises:
        NoAnswerError: it is.
    """
    if body.count(b"[") + body.count(b"{") <= limits.depth and body.count(b",") <= limits.elements:
        return
    bare = _STRINGS.sub(b"", body)
    depth = 0
    for found in _BRACKETS.finditer(bare):
        depth += 1 if found[0] in b"[{" else -1
        if depth > limits.depth:
            raise NoAnswerError("body_too_deep")
    if bare.count(b",") > limits.elements:
        raise NoAnswerError("body_too_deep")


def read_json(body: bytes, limits: Limits) -> Any:
    """The JSON of a body.

    Raises:
        NoAnswerError: it is none, or nested or long beyond measure.
    """
    see_flat(body, limits)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("not_json") from error
