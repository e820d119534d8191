"""Routes for those who run the service: is it alive, is it ready, and which version answers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from tunesmith.service.answers import Problem
from tunesmith.service.changing import BODILESS, VERBS, Change
from tunesmith.service.desk import Desk
from tunesmith.service.openapi import body_of
from tunesmith.service.own_routes import json_response
from tunesmith.service.refusals import NoAnswerError

_CHANGE = TypeAdapter(Change)
_EXAMPLES = {"load or promote": {"version": "2026-11-28"}, "canary": {"version": "4f3a9c0d1e2b", "share": 0.1}}


def routes(desk: Desk) -> APIRouter:
    """The routes of operation."""
    router = APIRouter(tags=["operation"])

    @router.get("/livez")
    async def live() -> Response:
        """The process is there; says nothing of models, so that nobody restarts it for a slow one."""
        return json_response({"live": True})

    @router.get("/readyz", responses={503: {"model": Problem}})
    async def ready() -> Response:
        """Every model is loaded, was tried, and there are workers to answer."""
        fine = desk.front.is_ready
        return json_response({"ready": fine, "models": list(desk.front.registry.names)}, status=200 if fine else 503)

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """What is counted, for Prometheus."""
        await desk.admit(request, "metrics")
        text, kind = desk.metrics.text()
        return Response(text, media_type=None, headers={"content-type": kind})

    @router.post(
        "/admin/models/{name}:{verb}",
        openapi_extra=body_of(Change, _EXAMPLES),
        responses={code: {"model": Problem} for code in (400, 401, 403, 404, 409, 422, 507)},
    )
    async def change(request: Request, name: str, verb: str) -> Response:
        """Change who answers: load, promote, rollback, canary, shadow, unload.

        Where the model has golden examples, `promote` and a `canary` that gets more of the requests than before let
        both versions answer them first, and the reply says what they showed.
        """
        who = await desk.admit(request, "admin")
        if verb not in VERBS:
            raise NoAnswerError("unknown_verb", given=", ".join(VERBS))
        given = Change() if verb in BODILESS and not await request.body() else await desk.read(request, _CHANGE)
        changed = await desk.changes.make(who, name, verb, given)
        served = desk.front.registry[name]
        told = {**changed.version.plain, "roles": served.roles, "versions": sorted(served.held)}
        figures = {"figures": changed.figures} if changed.figures else {}
        return json_response({**told, **await desk.changes.told(name), **figures, "model": name})

    return router
