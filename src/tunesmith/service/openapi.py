"""The OpenAPI page: bodies that are read by hand are described from the same records, with examples for each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

_REF = "#/components/schemas/{model}"


def body_of(record: type, examples: Mapping[str, Any]) -> dict[str, Any]:
    """What a route says of the body that it reads."""
    schema = TypeAdapter(record).json_schema(ref_template=_REF)
    schema.pop("$defs", None)
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": shown}}}}


def describe(app: FastAPI, records: tuple[type, ...]) -> None:
    """Give the page the records that bodies refer to."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        page = plain()
        schemas = page.setdefault("components", {}).setdefault("schemas", {})
        for record in records:
            schemas.update(TypeAdapter(record).json_schema(ref_template=_REF).get("$defs", {}))
        return page

    app.openapi = whole  # type: ignore[method-assign]


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
