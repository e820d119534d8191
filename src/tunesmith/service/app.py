"""The ASGI app: all routes, and what stands around them. It is the same under uvicorn and under Ray."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from tunesmith.access.refusals import RefusedError
from tunesmith.remembered.refusals import FeedbackError
from tunesmith.service import (
    feedback_routes,
    inference_routes,
    open_inference,
    openai_routes,
    operation_routes,
    own_routes,
    playground,
)
from tunesmith.service.changing import Change
from tunesmith.service.desk import Desk, Gone
from tunesmith.service.feedback_routes import FeedbackRequest
from tunesmith.service.inference_routes import TeiEmbed, TeiPredict
from tunesmith.service.open_inference import InferRequest
from tunesmith.service.openai_routes import ChatRequest, EmbeddingRequest
from tunesmith.service.openapi import describe
from tunesmith.service.own_routes import json_response
from tunesmith.service.protection import GuardedError
from tunesmith.service.questions import PredictRequest
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.shapes_of_errors import Refusing, shaped, why
from tunesmith.service.surroundings import SECURITY, BodyCap, Named, language_of
from tunesmith.service.tracing import Traced
from tunesmith.watching.traces import Tracer

log = logging.getLogger(__name__)
CLIENT_LEFT = 499
"""The status noted of a request whose client left; nobody receives it."""


def create_app(
    desk: Desk,
    *,
    begin: Callable[[], Awaitable[None]],
    end: Callable[[], Awaitable[None]],
    tracer: Tracer | None = None,
) -> FastAPI:
    """The app over a desk; `begin` and `end` are awaited before the first and after the last request.

    Its state has `front`, and `beginning`, the task of `begin`: what ails it, uvicorn tells nobody.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.beginning = asyncio.ensure_future(begin())
        await app.state.beginning
        try:
            yield
        finally:
            await end()

    span: Callable[[FastAPI], AbstractAsyncContextManager[None]] = lifespan
    app = FastAPI(title="Tunesmith", version="1", lifespan=span, docs_url=None, redoc_url=None, openapi_url=None)
    modules = (own_routes, feedback_routes, openai_routes, open_inference, inference_routes, operation_routes)
    routers = [*(module.routes(desk) for module in modules), playground.routes()]
    for router in routers:
        app.include_router(router)
    describe(
        app,
        (PredictRequest, FeedbackRequest, Change, ChatRequest, EmbeddingRequest, InferRequest, TeiPredict, TeiEmbed),
    )

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        await desk.admit(request, "predict")
        return json_response(app.openapi())

    _explain(app, desk)
    limits = desk.front.limits
    app.add_middleware(BodyCap, limits=limits.body, seconds=limits.body_seconds, held=limits.held_bytes)
    if tracer is not None:
        routes = [route for router in (*routers, app) for route in router.routes if isinstance(route, Route)]
        app.add_middleware(Traced, tracer=tracer, registry=desk.front.registry, routes=routes)
    app.add_middleware(Named, metrics=desk.metrics, front=desk.front)
    app.state.front, app.state.beginning = desk.front, None
    return app


def _explain(app: FastAPI, desk: Desk) -> None:
    """Answer whatever goes wrong in the words of the protocol that was asked, and count it."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusing)
        found = why(error, language_of(request.headers))
        if found.status == 429:
            desk.metrics.shed(found.code) if found.code == "overloaded" else desk.metrics.limit_refused(found.code)
        status, body, headers = shaped(found, request.url.path, request.state.request_id)
        response = json_response(body, status=status)
        response.headers.update(headers)
        return response

    async def foreign(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        told = NoAnswerError(code) if code else NoAnswerError("bad_request", detail="it cannot be read")
        response = await refused(request, told)
        response.headers.update(error.headers or {})
        return response

    async def unread(request: Request, _: Exception) -> Response:
        return await refused(request, NoAnswerError("bad_request", detail="a parameter is not of its form"))

    async def failed(request: Request, error: Exception) -> Response:
        log.error("A request failed.", exc_info=error, extra={"fields": {"request": request.state.request_id}})
        response = await refused(request, NoAnswerError("internal"))
        for name, value in (*SECURITY, (b"x-request-id", request.state.request_id.encode())):
            response.headers[name.decode()] = value.decode()
        return response

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=CLIENT_LEFT)

    for kind in (NoAnswerError, RefusedError, GuardedError, FeedbackError):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(HTTPException, foreign)
    app.add_exception_handler(RequestValidationError, unread)
    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(Gone, gone)
    app.add_exception_handler(ClientDisconnect, gone)
