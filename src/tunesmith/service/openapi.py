"""The OpenAPI page: bodies that are read by hand are described from the same records, with examples for each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from tunesmith.service.answers import Problem

_REF = "#/components/schemas/{model}"
_OPEN = {"/livez", "/readyz", "/v2", "/v2/health/live", "/v2/health/ready"}
"""Routes that ask for no key."""
_CODES = (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 424, 429, 500, 503, 504)
_TEXT, _NUMBER, _YES = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_VECTOR = {"type": "array", "items": _NUMBER}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _list(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_USAGE = {"type": "object", "additionalProperties": {"type": "integer"}}
_SCORES = _list(_object(score={"type": ["number", "null"]}, label=_TEXT))
_MODEL = _object(id=_TEXT, object={"const": "model"}, created={"type": "integer"}, owned_by=_TEXT)
_MESSAGE = _object(role={"const": "assistant"}, content=_TEXT)
_CHOICE = _object(index={"type": "integer"}, message=_MESSAGE, finish_reason={"enum": ["stop", "length"]})
_TENSOR = _object(name=_TEXT, datatype=_TEXT, shape=_list({"type": "integer"}))
_ITEM = _object(object={"const": "embedding"}, index={"type": "integer"}, embedding={"anyOf": [_VECTOR, _TEXT]})
_METADATA = _object(name=_TEXT, versions=_TEXTS, platform=_TEXT, inputs=_list(_TENSOR), outputs=_list(_TENSOR))
_SERVED = {
    **_object(version=_TEXT, task=_TEXT, inputs=_TEXTS, labels=_TEXTS, versions=_TEXTS),
    "description": "A model.",
}
_OUTPUT = {**_TENSOR, "properties": {**_TENSOR["properties"], "data": {"type": "array"}}}
_INFERRED = _object(model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_list(_OUTPUT))
_INFERRED["properties"]["parameters"] = _object()
_CHAT = _object(id=_TEXT, object=_TEXT, created={"type": "integer"}, model=_TEXT, choices=_list(_CHOICE), usage=_USAGE)
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "/livez": _object(live=_YES),
    "/readyz": _object(ready=_YES, models=_TEXTS),
    "/v2": _object(name=_TEXT, version=_TEXT, extensions=_TEXTS),
    "/v2/health/live": _object(live=_YES),
    "/v2/health/ready": _object(live=_YES, ready=_YES),
    "/v2/models/{name}": _METADATA,
    "/v2/models/{name}/versions/{version}": _METADATA,
    "/v2/models/{name}/ready": _object(name=_TEXT, ready=_YES),
    "/v2/models/{name}/versions/{version}/ready": _object(name=_TEXT, ready=_YES),
    "/v2/models/{name}/infer": _INFERRED,
    "/v2/models/{name}/versions/{version}/infer": _INFERRED,
    "/predict": {"anyOf": [_SCORES, _list(_SCORES)]},
    "/embed": _list(_VECTOR),
    "/info": _object(model_id=_TEXT, model_sha=_TEXT, model_type={"type": "object"}, version=_TEXT),
    "/v1/models": _object(object={"const": "list"}, data=_list(_MODEL)),
    "/v1/models/{name}": _SERVED,
    "/v1/embeddings": _object(object={"const": "list"}, data=_list(_ITEM), model=_TEXT, usage=_USAGE),
    "/v1/chat/completions": _CHAT,
    "/v1/feedback": _object(id=_TEXT, status=_TEXT, repeated=_YES),
    "/admin/models/{name}:{verb}": _SERVED,
}
"""What the routes answer that have no record of it; each protocol's own words."""
_TYPES = {"/metrics": "text/plain"}
_PARAMETERS = {
    "name": "The name of a served model.",
    "version": "The id of a loaded version of the model.",
    "verb": "load, promote, rollback, canary, shadow or unload.",
    "model": "The name of a served model; the first that fits, if left out.",
}


def body_of(record: type, examples: Mapping[str, Any]) -> dict[str, Any]:
    """What a route says of the body that it reads."""
    schema = TypeAdapter(record).json_schema(ref_template=_REF)
    schema.pop("$defs", None)
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": shown}}}}


def describe(app: FastAPI, records: tuple[type, ...]) -> None:
    """Give the page the records that bodies refer to, what routes answer, every refusal in its shape, and the key."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        page = plain()
        parts = page.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        for record in records:
            schemas.update(TypeAdapter(record).json_schema(ref_template=_REF).get("$defs", {}))
        schemas["Problem"] = TypeAdapter(Problem).json_schema(ref_template=_REF)
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "A key, or a token."}}
        for path, operations in page["paths"].items():
            for operation in operations.values():
                _complete(path, operation)
        return page

    app.openapi = whole  # type: ignore[method-assign]


def _complete(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if path in ANSWERS:
        answered: dict[str, Any] = {"application/json": {"schema": ANSWERS[path]}}
        if path == "/v1/chat/completions":
            answered["text/event-stream"] = {"schema": {"type": "object", "description": "Of each event."}}
        responses["200"] = {"description": "The answer.", "content": answered}
    elif path in _TYPES:
        responses["200"] = {"description": "The answer.", "content": {_TYPES[path]: {"schema": _TEXT}}}
    kind, schema = error_of(path)
    for code in _CODES:
        if path in {"/readyz", "/v2/health/ready"} and code == 503:
            responses["503"] = {**responses["200"], "description": "Not ready."}
        else:
            refused = {"description": "Why there is no answer.", "content": {kind: {"schema": schema}}}
            responses[str(code)] = refused
    for parameter in operation.get("parameters", ()):
        parameter.setdefault("description", _PARAMETERS.get(parameter["name"], ""))
    if path not in _OPEN:
        operation["security"] = [{"key": []}]


def error_of(path: str) -> tuple[str, dict[str, Any]]:
    """The media type and form of refusals at a path, in the words of its protocol."""
    if path.startswith("/v2"):
        return "application/json", _object(error=_TEXT)
    if path in {"/predict", "/embed", "/info"}:
        return "application/json", _object(error=_TEXT, error_type=_TEXT, code=_TEXT)
    if path in {"/v1/chat/completions", "/v1/embeddings"}:
        told = _object(message=_TEXT, type=_TEXT, param={"type": ["string", "null"]}, code=_TEXT)
        return "application/json", _object(error=told)
    return "application/problem+json", {"$ref": _REF.format(model="Problem")}


def example_bodies() -> dict[str, Any]:
    """A request for each kind of task."""
    return {
        "texts with a class, or with spans": {"inputs": ["Harbour Bank took £45.90 twice.", "今天天气很好。"]},
        "a question about a passage": {"inputs": [{"text": "Anna went to Rome.", "second": "Who went to Rome?"}]},
        "two texts": {"inputs": [{"text": "A good film.", "second": "The film was good."}]},
        "two marked entities": {
            "inputs": [
                {
                    "text": "Anna works in Rome.",
                    "marks": [{"start": 0, "end": 4, "label": "e1"}, {"start": 14, "end": 18, "label": "e2"}],
                }
            ]
        },
        "a dialogue": {"inputs": [{"messages": [{"role": "user", "content": "Good morning!"}]}]},
        "what a user had": {"inputs": [{"history": ["50", "181"]}]},
    }
