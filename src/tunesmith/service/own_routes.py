"""The service's own routes: what is served, and typed answers for every task."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter
from starlette.routing import Route

from tunesmith.service.answers import PredictResponse, Problem, plain_answer
from tunesmith.service.desk import Desk
from tunesmith.service.openapi import body_of, example_bodies
from tunesmith.service.questions import PredictRequest, plain_question

_PREDICT = TypeAdapter(PredictRequest)


def routes(desk: Desk) -> APIRouter:
    """The routes below /v1 that are Tunesmith's own."""
    router = APIRouter(tags=["tunesmith"])

    @router.get("/v1/models/{name}", responses={404: {"model": Problem}})
    async def describe(request: Request, name: str) -> Response:
        """What a model is: task, labels, what a question must have, and which versions are loaded."""
        await desk.admit(request, "predict")
        return json_response({"name": name, **desk.front.registry[name].plain})

    @router.post(
        "/v1/models/{name}/predict",
        summary="Predict",
        operation_id="predict",
        openapi_extra=body_of(PredictRequest, example_bodies()),
        responses={200: {"model": PredictResponse}, **{code: {"model": Problem} for code in _CODES}},
    )
    async def documented(request: Request, name: str) -> Response:
        """Answer texts, pairs, questions, dialogues or histories, in the order given, all by one version."""
        assert name == request.path_params["name"]
        return await predict(request)

    async def predict(request: Request) -> Response:
        name = request.path_params["name"]
        who = await desk.admit(request, "predict")
        given = await desk.read(request, _PREDICT)
        inputs = desk.front.registry[name].champion.inputs
        questions = [plain_question(one, inputs, place) for place, one in enumerate(given.inputs)]
        asked = desk.job(request, who, name, questions, given.version)
        answered = await desk.answered(request, asked)
        pairs = zip(answered.rows, questions, strict=True)
        body = {
            "request_id": asked.id,
            "model": name,
            "version": answered.version.id,
            "answers": [plain_answer(row, question, vectors=given.vectors) for row, question in pairs],
        }
        response = json_response(body, version=answered.version.id, seconds=answered.seconds)
        response.headers.update(answered.allowance.headers())
        return response

    # Nearly all requests come here. Asked directly, without FastAPI's search for parameters, each takes a third less.
    router.routes.insert(0, Route("/v1/models/{name}/predict", predict, methods=["POST"]))
    return router


_CODES = (400, 401, 403, 404, 413, 422, 424, 429, 503, 504)


def json_response(body: Any, *, status: int = 200, version: str = "", seconds: float = 0.0) -> Response:
    """JSON with the headers that say who answered, and how long it took."""
    headers = {"X-Model-Version": version, "X-Compute-Time": f"{seconds:.6f}"} if version else {}
    content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(content, status, headers, "application/json")
