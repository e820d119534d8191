"""A span for each request, with its waits and its model's work below it; only where the service was given a tracer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.service.batching import Waiting
from tunesmith.service.engine import Part
from tunesmith.service.versions import Registry, Version
from tunesmith.watching.traces import Attribute, Span, Tracer

SILENT = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Routes that machines ask every few seconds; they have no spans."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"})
_current: ContextVar[Span | None] = ContextVar("span", default=None)
"""The span of the request that is being answered; None where nobody traces."""


class Traced:
    """Opens a span around each request, below the caller's where that sent a `traceparent`; the answer has its own.

    Names and attributes are those of OpenTelemetry's semantic conventions for HTTP servers. The route stands there as
    its pattern, such as /v1/models/{name}/predict, a model's name only where such a model is served: paths may hold
    anything.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer, registry: Registry, routes: Sequence[Route]) -> None:
        self._app = app
        self._tracer = tracer
        self._registry = registry
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http" or scope["path"] in SILENT:
            await self._app(scope, receive, send)
            return
        verb = scope["method"] if scope["method"] in _METHODS else ""
        route = next((one.path for one in self._routes if one.matches(scope)[0] is Match.FULL), "")
        known: dict[str, Attribute] = {"http.request.method": verb or "_OTHER", "url.scheme": scope["scheme"]}
        known |= {"request_id": scope["state"]["request_id"], **({"http.route": route} if route else {})}
        given = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        name = f"{verb or 'HTTP'} {route}".strip()
        with self._tracer.span(name, known, given) as span:
            token = _current.set(span)

            async def headed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_answer(span, message["status"])
                    message["headers"] = [*message["headers"], (b"traceparent", span.traceparent.encode())]
                await send(message)

            try:
                await self._app(scope, receive, headed)
            finally:
                self._note_model(span, scope["state"])
                _current.reset(token)

    def _note_model(self, span: Span, state: dict[str, Any]) -> None:
        if state.get("model") in self._registry.names:
            span.note("model", state["model"])
            if state.get("version"):
                span.note("version", state["version"])


def _note_answer(span: Span, status: int) -> None:
    span.note("http.response.status_code", status)
    if status >= 500:
        span.note("error.type", str(status))
        span.fail()


def note_batches(version: Version, waiting: Iterable[Waiting]) -> None:
    """Put the waits and batches of texts below the span of their request, a pair for each batch that they were in."""
    span = _current.get()
    if span is None:
        return
    batches: dict[tuple[float, float], list[Waiting]] = {}
    for one in waiting:
        if one.begun and one.ended:
            batches.setdefault((one.begun, one.ended), []).append(one)
    shift = time.time() - time.monotonic()
    for (begun, ended), texts in batches.items():
        known: dict[str, Attribute] = {"model": version.model, "version": version.id, "texts": len(texts)}
        known |= {"tokens": sum(one.tokens for one in texts)}
        span.child("queue", known, shift + min(one.since for one in texts), shift + begun)
        span.child("inference", {**known, "batch": texts[0].beside}, shift + begun, shift + ended)


def note_writing(version: Version, times: tuple[float, float], last: Part) -> None:
    """Put the wait and the writing of an answer below the span of its request.

    Args:
        version: what writes.
        times: since when it waited and when a worker took it up, by `time.monotonic`.
        last: the last part, which has the counts of tokens; without them where nobody listened to the end.
    """
    span = _current.get()
    if span is None:
        return
    now = time.time()
    since, begun = (now - time.monotonic() + one for one in times)
    span.child("queue", {"model": version.model, "version": version.id}, since, begun)
    told: dict[str, Attribute] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": version.model}
    if last.finished:
        told |= {"gen_ai.usage.input_tokens": last.read, "gen_ai.usage.output_tokens": last.written}
    span.child(f"chat {version.model}", {**told, "version": version.id}, begun, now)
