"""The routes of OpenAI's API that fit: models, embeddings, and chat, whole or as it is written."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, TypeAdapter

from tunesmith.access.principal import Principal
from tunesmith.service.desk import Desk
from tunesmith.service.engine import Part
from tunesmith.service.inference_routes import embeddings
from tunesmith.service.jobs import Asked
from tunesmith.service.openapi import body_of
from tunesmith.service.own_routes import json_response
from tunesmith.service.protection import GuardedError
from tunesmith.service.questions import Message
from tunesmith.service.refusals import NoAnswerError


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What `/v1/chat/completions` takes.

    Attributes:
        model: a served model that writes.
        messages: the dialogue; the last message is a user's.
        max_tokens, max_completion_tokens: the most tokens of the answer; the artifact's own setting if left out.
        temperature: 0 takes the likeliest token each time; the artifact's own setting if left out.
        top_p: draw from the likeliest tokens up to this probability.
        stream: send the answer as it is written.
        n: 1.
        user: whom it is for, as the client knows the person.
    """

    model: str
    messages: Annotated[Sequence[Message], Field(min_length=1)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    stream: bool = False
    n: Annotated[int, Field(ge=1, le=1)] = 1
    user: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What `/v1/embeddings` takes.

    Attributes:
        model: a served model.
        input: a text or several.
        encoding_format: numbers, or the base64 of their little-endian float32 values.
        dimensions: the model's own; others are refused, for no embedding is cut here.
        user: whom it is for, as the client knows the person.
    """

    model: str
    input: str | Sequence[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int | None, Field(ge=1)] = None
    user: str = ""


_CHAT, _EMBEDDING = TypeAdapter(ChatRequest), TypeAdapter(EmbeddingRequest)
_HELLO = {"model": "my-model", "messages": [{"role": "user", "content": "Good morning!"}]}
MOST_NEW_TOKENS = 1024


def routes(desk: Desk) -> APIRouter:
    """The routes below /v1 that OpenAI's clients know."""
    router = APIRouter(prefix="/v1", tags=["openai"])
    since = int(time.time())

    @router.get("/models")
    async def models(request: Request) -> Response:
        await desk.admit(request, "predict")
        listed = [
            {"id": name, "object": "model", "created": since, "owned_by": "tunesmith"}
            for name in desk.front.registry.names
        ]
        return json_response({"object": "list", "data": listed})

    @router.post("/embeddings", openapi_extra=body_of(EmbeddingRequest, {"a text": {"model": "m", "input": "A film."}}))
    async def embed(request: Request) -> Response:
        who = await desk.admit(request, "embed")
        given = await desk.read(request, _EMBEDDING)
        texts = [given.input] if isinstance(given.input, str) else list(given.input)
        version, vectors, seconds = await embeddings(desk, request, who, given.model, texts)
        if given.dimensions not in {None, len(vectors[0])}:
            detail = "other dimensions than the model's {limit} are not supported"
            raise NoAnswerError("bad_request", where="dimensions", limit=len(vectors[0]), detail=detail)
        tokens = version.counter.count(texts)
        shown = [in_base64(vector) for vector in vectors] if given.encoding_format == "base64" else vectors
        data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(shown)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        body = {"object": "list", "data": data, "model": given.model, "usage": usage}
        return json_response(body, version=version.id, seconds=seconds)

    @router.post("/chat/completions", openapi_extra=body_of(ChatRequest, {"a greeting": _HELLO}))
    async def chat(request: Request) -> Response:
        who = await desk.admit(request, "predict")
        given = await desk.read(request, _CHAT)
        asked = _asked(desk, request, who, given)
        if given.stream:
            parts = desk.front.write(asked)
            # What is refused while it waits is refused by its status: nothing is sent before the first part.
            first = await desk.unless_gone(request, anext(parts, None))
            return StreamingResponse(_events(asked, given.model, first, parts), media_type="text/event-stream")
        whole = await desk.unless_gone(request, _whole(desk.front.write(asked)))
        usage = {"prompt_tokens": whole.read, "completion_tokens": whole.written}
        usage["total_tokens"] = whole.read + whole.written
        message = {"role": "assistant", "content": whole.text}
        choice = {"index": 0, "message": message, "finish_reason": whole.finished}
        return json_response({**_head(asked, given.model, "chat.completion"), "choices": [choice], "usage": usage})

    return router


def in_base64(vector: Sequence[float]) -> str:
    """A vector as openai-python asks for it: the base64 of its little-endian float32 values."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _asked(desk: Desk, request: Request, who: Principal, given: ChatRequest) -> Asked:
    version = desk.front.registry[given.model].champion
    if "turns" not in version.inputs:
        raise NoAnswerError("wrong_task")
    most = given.max_completion_tokens or given.max_tokens
    if most is not None and most > MOST_NEW_TOKENS:
        raise NoAnswerError("bad_request", where="max_tokens", limit=MOST_NEW_TOKENS, detail="at most {limit}")
    wishes = {"max_new_tokens": most, "sampling_temperature": given.temperature, "top_p": given.top_p}
    if not given.temperature:
        wishes["top_p"] = 1.0 if given.temperature is not None else None
    question: dict[str, Any] = {
        "text": given.messages[-1].content,
        "turns": [[one.role, one.content] for one in given.messages],
        "writing": {name: value for name, value in wishes.items() if value is not None},
    }
    return desk.job(request, who, given.model, [question])


async def _whole(parts: AsyncGenerator[Part, None]) -> Part:
    """All parts of an answer as one."""
    text, finished, read, written = "", "stop", 0, 0
    async with aclosing(parts) as given:
        async for part in given:
            text += part.text
            finished, read, written = part.finished or finished, part.read or read, part.written or written
    return Part(text, finished, read, written)


def _head(asked: Asked, model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{asked.id}", "object": kind, "created": int(time.time()), "model": model}


async def _events(
    asked: Asked, model: str, first: Part | None, parts: AsyncGenerator[Part, None]
) -> AsyncIterator[bytes]:
    """The parts of an answer as server-sent events; what goes wrong after the first is one too."""

    def event(delta: Mapping[str, Any], finished: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finished}
        return _event({**_head(asked, model, "chat.completion.chunk"), "choices": [choice]})

    yield event({"role": "assistant", "content": ""})
    async with aclosing(parts) as whole:
        try:
            part = first
            while part is not None:
                if part.text:
                    yield event({"content": part.text})
                if part.finished:
                    yield event({}, part.finished)
                part = await anext(whole, None)
        except NoAnswerError as error:
            yield _event({"error": openai_error(error.status, error.code, error.said(asked.language), error.where)})
        except GuardedError as error:
            said = error.verdict.message(asked.language)
            yield _event({"error": openai_error(422, error.verdict.code, said, error.where)})
    yield b"data: [DONE]\n\n"


def _event(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def openai_error(status: int, code: str, detail: str, where: str = "") -> dict[str, Any]:
    """Why there is no answer, as OpenAI's clients read it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status, kind)
    return {"message": detail, "type": kind, "param": where or None, "code": code}
