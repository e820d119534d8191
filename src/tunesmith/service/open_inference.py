"""The Open Inference Protocol, version 2 (KServe, Triton, MLServer, Seldon): tensors of texts in, tensors out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from tunesmith.service.desk import Desk
from tunesmith.service.jobs import Answered
from tunesmith.service.openapi import body_of
from tunesmith.service.own_routes import json_response
from tunesmith.service.questions import Question, plain_question
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.versions import Version


@dataclass(frozen=True, slots=True)
class InputTensor:
    """Texts: `datatype` is BYTES, `shape` is [N], `data` has N strings."""

    name: str
    shape: Sequence[int]
    datatype: str
    data: Sequence[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedTensor:
    """An output that is wanted."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What `/v2/models/{name}/infer` takes: an input "text", and for pairs and questions an input "second"."""

    inputs: Sequence[InputTensor]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[WantedTensor] = ()


_INFER = TypeAdapter(InferRequest)
_EXAMPLE = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["A good film.", "今天天气很好。"]}]}


def routes(desk: Desk) -> APIRouter:
    """The routes below /v2."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])

    @router.get("")
    async def server() -> Response:
        return json_response({"name": "tunesmith", "version": "2", "extensions": []})

    @router.get("/health/live")
    async def live() -> Response:
        return json_response({"live": True})

    @router.get("/health/ready")
    async def ready() -> Response:
        fine = desk.front.is_ready
        return json_response({"live": fine, "ready": fine}, status=200 if fine else 503)

    @router.get("/models/{name}")
    @router.get("/models/{name}/versions/{version}")
    async def describe(request: Request, name: str, version: str = "") -> Response:
        await desk.admit(request, "predict")
        served = desk.front.registry[name]
        return json_response(metadata(served.chosen("", version), sorted(served.held)))

    @router.get("/models/{name}/ready")
    @router.get("/models/{name}/versions/{version}/ready")
    async def model_ready(request: Request, name: str, version: str = "") -> Response:
        await desk.admit(request, "predict")
        desk.front.registry[name].chosen("", version)
        return json_response({"name": name, "ready": desk.front.is_ready})

    @router.post("/models/{name}/infer", openapi_extra=body_of(InferRequest, {"texts": _EXAMPLE}))
    @router.post("/models/{name}/versions/{version}/infer", openapi_extra=body_of(InferRequest, {"texts": _EXAMPLE}))
    async def infer(request: Request, name: str, version: str = "") -> Response:
        who = await desk.admit(request, "predict")
        given = await desk.read(request, _INFER)
        inputs = desk.front.registry[name].champion.inputs
        questions = [plain_question(one, inputs, place) for place, one in enumerate(questions_of(given))]
        asked = desk.job(request, who, name, questions, version)
        answered = await desk.answered(request, asked)
        wanted = [one.name for one in given.outputs]
        body: dict[str, Any] = {
            "model_name": name,
            "model_version": answered.version.id,
            "id": given.id or asked.id,
            "outputs": [one for one in tensors(answered) if not wanted or one["name"] in wanted],
        }
        if unknown := {place: row["unknown"] for place, row in enumerate(answered.rows) if "unknown" in row}:
            body["parameters"] = {"unknown": json.dumps(unknown, ensure_ascii=False)}
        return json_response(body, version=answered.version.id, seconds=answered.seconds)

    return router


def questions_of(given: InferRequest) -> list[Question]:
    """The questions that tensors hold.

    Raises:
        NoAnswerError: a tensor is unknown, missing, of another type, or its shape does not fit its data.
    """
    columns: dict[str, Sequence[str]] = {}
    for tensor in given.inputs:
        where = f"inputs.{tensor.name}" if tensor.name in {"text", "second"} else "inputs"
        if tensor.name not in {"text", "second"}:
            raise NoAnswerError("bad_request", where=where, detail="inputs are named text and second")
        if tensor.datatype != "BYTES":
            raise NoAnswerError("bad_request", where=where, detail="the datatype of texts is BYTES")
        sizes = [size for size in tensor.shape if size != 1] or [1]
        if sizes != [len(tensor.data)] and list(tensor.shape) != [len(tensor.data)]:
            raise NoAnswerError("bad_request", where=where, detail="the shape does not fit the number of texts")
        columns[tensor.name] = tensor.data
    texts = columns.get("text", ())
    seconds = columns.get("second", [""] * len(texts))
    if not texts or len(seconds) != len(texts):
        raise NoAnswerError(
            "bad_request", where="inputs", detail="an input text, and as many of second where there is one"
        )
    return [Question(text=text, second=second) for text, second in zip(texts, seconds, strict=True)]


def tensors(answered: Answered) -> list[dict[str, Any]]:
    """The answers as tensors: a label (BYTES or FP64) and its confidence; spans and sets of labels as JSON texts."""
    count, labels = len(answered.rows), [row["label"] for row in answered.rows]
    if answered.version.label_kind == "number":
        return [{"name": "label", "shape": [count], "datatype": "FP64", "data": labels}]
    plain = [label if isinstance(label, str) else json.dumps(label, ensure_ascii=False) for label in labels]
    found = [
        {"name": "label", "shape": [count], "datatype": "BYTES", "data": plain},
        {
            "name": "confidence",
            "shape": [count],
            "datatype": "FP64",
            "data": [row["confidence"] for row in answered.rows],
        },
    ]
    names = answered.version.labels
    if names and all(set(row.get("scores", ())) == set(names) for row in answered.rows):
        flat = [row["scores"][name] for row in answered.rows for name in names]
        found.append({"name": "scores", "shape": [count, len(names)], "datatype": "FP64", "data": flat})
    return found


def metadata(version: Version, versions: Sequence[str]) -> dict[str, Any]:
    """What the protocol wants to know of a model."""
    inputs = ["text", *(["second"] if any(name.startswith("second") for name in version.inputs) else [])]
    is_number = version.label_kind == "number"
    outputs = [{"name": "label", "datatype": "FP64" if is_number else "BYTES", "shape": [-1]}]
    outputs += [] if is_number else [{"name": "confidence", "datatype": "FP64", "shape": [-1]}]
    return {
        "name": version.model,
        "versions": list(versions),
        "platform": f"tunesmith_{version.form.replace('-', '_')}",
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in inputs],
        "outputs": outputs,
    }
