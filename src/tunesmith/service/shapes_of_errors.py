"""Why a request was not answered, in the shape that its protocol's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.access.refusals import RefusedError
from tunesmith.guarding.messages import Language
from tunesmith.remembered.refusals import FeedbackError
from tunesmith.service.openai_routes import openai_error
from tunesmith.service.protection import GuardedError
from tunesmith.service.refusals import NoAnswerError

_FEEDBACK = {"unknown_request": 404, "gone": 410, "idempotency_conflict": 409, "feedback_unavailable": 503}
_TOO_LONG = {"tokens_above_limit", "text_too_long", "texts_too_long"}
_CONTEXT = "context_length_exceeded"
_KINDS = {413: "validation", 422: "validation", 424: "backend", 429: "overloaded", 503: "unhealthy"}


@dataclass(frozen=True, slots=True)
class Why:
    """Why a request was not answered, in one language."""

    status: int
    code: str
    detail: str
    where: str = ""
    seconds: float = 0.0
    figures: Mapping[str, object] = field(default_factory=dict)


Refusing = NoAnswerError | RefusedError | GuardedError | FeedbackError
"""The errors that say why a request is not answered."""


def why(error: Refusing, language: Language) -> Why:
    """What an error says to the client."""
    if isinstance(error, GuardedError):
        return Why(422, error.verdict.code, error.verdict.message(language), error.where)
    if isinstance(error, FeedbackError):
        seconds = 1.0 if error.code == "feedback_unavailable" else 0.0
        return Why(_FEEDBACK.get(error.code, 422), error.code, error.said(language), seconds=seconds)
    if isinstance(error, NoAnswerError):
        return Why(error.status, error.code, error.said(language), error.where, error.seconds, error.figures)
    told = error.told(language)
    between = "" if language == "zh" else " "
    detail = between.join(part for part in (told["message"], told["to_do"]) if part)
    return Why(error.status, told["code"], detail, seconds=float(error.numbers.get("retry_after", 0)))


def shaped(found: Why, path: str, request_id: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of the answer to a request at this path; problem details (RFC 9457) for our own."""
    status = found.status
    headers = {"retry-after": str(max(1, round(found.seconds)))} if found.seconds else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if path.startswith("/v2"):
        return (400 if status == 422 else status), {"error": found.detail}, headers
    if path in {"/predict", "/embed", "/info"}:
        kind = _KINDS.get(status, "validation")
        return status, {"error": found.detail, "error_type": kind, "code": found.code}, headers
    if path in {"/v1/chat/completions", "/v1/embeddings"}:
        too_long = found.code in _TOO_LONG
        told = openai_error(found.status, found.code, found.detail, found.where)
        return (400 if too_long else status), {"error": told | ({"code": _CONTEXT} if too_long else {})}, headers
    body = {"title": found.code.replace("_", " "), "status": status, "code": found.code, "detail": found.detail}
    body |= {"request_id": request_id, **({"where": found.where} if found.where else {})}
    body |= {"figures": found.figures} if found.figures else {}
    return status, body, {**headers, "content-type": "application/problem+json"}
