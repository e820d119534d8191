"""What clients say of answers: acknowledged once it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, TypeAdapter, with_config

from tunesmith.remembered.records import Feedback
from tunesmith.service.answers import Problem
from tunesmith.service.desk import Desk
from tunesmith.service.openapi import body_of
from tunesmith.service.own_routes import json_response
from tunesmith.service.refusals import NoAnswerError


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """What `POST /v1/feedback` takes.

    Attributes:
        request_id: of the answer, as it was given.
        item: the answer's number in its request, from 0.
        verdict: "correct" or "wrong".
        right: of a wrong answer the right one: {"label": ...}, {"spans": [{"start", "end", "label"}, ...]}, or
            {"answer": "..."} for written texts.
        comment: in the client's words.
        idempotency_key: the client's own id of this feedback; repeated, it is stored once.
    """

    request_id: Annotated[str, Field(max_length=64)]
    verdict: Literal["correct", "wrong"]
    item: Annotated[int, Field(ge=0, le=100_000)] = 0
    right: Mapping[str, Any] | None = None
    comment: str = ""
    idempotency_key: Annotated[str, Field(max_length=200)] = ""


@dataclass(frozen=True, slots=True)
class FeedbackResponse:
    """Feedback is on disk: its id, its status, and whether it was there before."""

    id: str
    status: str
    repeated: bool


_FEEDBACK = TypeAdapter(FeedbackRequest)
_EXAMPLES = {
    "a right answer": {"request_id": "b557e2b889b7deb4fd77d5e8", "verdict": "correct"},
    "a wrong class": {"request_id": "b557e2b889b7deb4fd77d5e8", "verdict": "wrong", "right": {"label": "refund"}},
}


def routes(desk: Desk) -> APIRouter:
    """The route of feedback."""
    router = APIRouter(tags=["tunesmith"])

    @router.post(
        "/v1/feedback",
        openapi_extra=body_of(FeedbackRequest, _EXAMPLES),
        responses={
            200: {"model": FeedbackResponse},
            **{code: {"model": Problem} for code in (400, 401, 403, 404, 409, 410, 413, 422, 429, 503)},
        },
    )
    async def feedback(request: Request) -> Response:
        """Say whether an answer was right; answered once this is on disk."""
        who = await desk.admit(request, "feedback")
        given = await desk.read(request, _FEEDBACK)
        store = desk.protection.store
        if store is None:
            raise NoAnswerError("no_store")
        said = Feedback(
            given.request_id,
            given.item,
            who.id,
            given.verdict,
            given.right,
            given.comment,
            given.idempotency_key,
        )
        receipt = await store.feedback_async(said)
        if not receipt.is_repeated:
            desk.metrics.feedback(given.verdict)
        return json_response({"id": receipt.id, "status": receipt.status, "repeated": receipt.is_repeated})

    return router
