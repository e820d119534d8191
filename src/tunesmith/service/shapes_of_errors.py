"""Why a request was not answered, in the shape that its protocol's clients read."""

from __future__ import annotations

from typing import Any

from tunesmith.service.openai_routes import openai_error
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.surroundings import problem

_KINDS = {413: "validation", 422: "validation", 424: "backend", 429: "overloaded", 503: "unhealthy"}


def shaped(
    error: NoAnswerError, path: str, request_id: str, language: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of the answer to a request at this path; problem details (RFC 9457) for our own."""
    status, body, headers = problem(error, request_id, language)
    if path.startswith("/v2"):
        return (400 if status == 422 else status), {"error": body["detail"]}, headers
    if path in {"/predict", "/embed", "/info"}:
        return status, {"error": body["detail"], "error_type": _KINDS.get(status, "validation")}, headers
    if path in {"/v1/chat/completions", "/v1/embeddings"}:
        too_long = error.code in {"too_many_tokens", "too_many_characters"}
        told = openai_error(error, language) | ({"code": "context_length_exceeded"} if too_long else {})
        return (400 if too_long else status), {"error": told}, headers
    return status, body, {**headers, "content-type": "application/problem+json"}
