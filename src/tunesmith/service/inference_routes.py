"""The routes of Text Embeddings Inference: /predict, /embed, /info. `?model=` names a model where several are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from tunesmith.access.principal import Principal
from tunesmith.guarding.messages import Language
from tunesmith.service.desk import Desk
from tunesmith.service.openapi import body_of
from tunesmith.service.own_routes import json_response
from tunesmith.service.questions import Question, plain_question
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.versions import Version


@dataclass(frozen=True, slots=True)
class TeiPredict:
    """What `/predict` takes. A list of texts is texts one by one; two texts are ONE pair; a list of lists are many.

    Attributes:
        inputs: a text, a pair [text, text], or a list of texts, each in a list of its own ([[text], [text]]), or
            of pairs.
        truncate: refused when true: Tunesmith reads long texts in windows and cuts nothing.
        raw_scores: refused when true: scores here are calibrated probabilities.
    """

    inputs: str | Sequence[str] | Sequence[Sequence[str]]
    truncate: bool = False
    raw_scores: bool = False


@dataclass(frozen=True, slots=True)
class TeiEmbed:
    """What `/embed` takes: a text or several; embeddings have a length of 1."""

    inputs: str | Sequence[str]
    truncate: bool = False
    normalize: bool = True


_PREDICT, _EMBED = TypeAdapter(TeiPredict), TypeAdapter(TeiEmbed)
_CLASSES = ("class", "classes")


def routes(desk: Desk) -> APIRouter:
    """The routes at the top, as that server has them."""
    router = APIRouter(tags=["text embeddings inference"])

    @router.post("/predict", openapi_extra=body_of(TeiPredict, {"a text": {"inputs": "A good film."}}))
    async def predict(request: Request, model: str = "") -> Response:
        who = await desk.admit(request, "predict")
        given = await desk.read(request, _PREDICT)
        _as_is(truncate=given.truncate, raw_scores=given.raw_scores)
        version = _model(desk, model, _CLASSES)
        single, asked = _texts(given.inputs)
        questions = [plain_question(one, version.inputs, place) for place, one in enumerate(asked)]
        job = desk.job(request, who, version.model, questions)
        answered = await desk.answered(request, job)
        _see_known(answered.rows, job.language)
        rows = [_scores(row) for row in answered.rows]
        return json_response(rows[0] if single else rows, version=answered.version.id, seconds=answered.seconds)

    @router.post("/embed", openapi_extra=body_of(TeiEmbed, {"texts": {"inputs": ["A good film.", "今天天气很好。"]}}))
    async def embed(request: Request, model: str = "") -> Response:
        who = await desk.admit(request, "embed")
        given = await desk.read(request, _EMBED)
        _as_is(truncate=given.truncate, normalize=not given.normalize)
        texts = [given.inputs] if isinstance(given.inputs, str) else list(given.inputs)
        version, vectors, seconds = await embeddings(desk, request, who, model, texts)
        return json_response(vectors, version=version.id, seconds=seconds)

    @router.get("/info")
    async def info(request: Request, model: str = "") -> Response:
        await desk.admit(request, "predict")
        version, limits = _model(desk, model, ()), desk.front.limits
        kind = {"classifier": {"id2label": dict(enumerate(version.labels))}} if version.labels else {"embedding": {}}
        body = {
            "model_id": version.model,
            "model_sha": version.sha256,
            "model_type": kind,
            "max_input_length": limits.tokens,  # not the model's own length: longer texts are read in windows
            "max_client_batch_size": limits.body.items,
            "version": "tunesmith",
        }
        return json_response(body)

    return router


async def embeddings(
    desk: Desk, request: Request, who: Principal, model: str, texts: Sequence[str]
) -> tuple[Version, list[list[float]], float]:
    """The texts' embeddings, and who made them in how many seconds."""
    version = _model(desk, model, ())
    if "text" not in version.inputs or version.label_kind == "text":
        raise NoAnswerError("wrong_task")
    questions: list[dict[str, Any]] = [{"text": text, "embed": True} for text in texts]
    if any(not text for text in texts):
        raise NoAnswerError("missing_field", where="inputs", field="text")
    asked = desk.job(request, who, version.model, questions)
    answered = await desk.answered(request, asked)
    _see_known(answered.rows, asked.language)
    return answered.version, [row["vector"] for row in answered.rows], answered.seconds


def _model(desk: Desk, name: str, kinds: Sequence[str]) -> Version:
    """The model that is named, or the first whose answers are of such a kind."""
    registry = desk.front.registry
    fitting = [one for one in registry.names if not kinds or registry[one].champion.label_kind in kinds]
    if not name and not fitting:
        raise NoAnswerError("wrong_task")
    version = registry[name or fitting[0]].champion
    if kinds and version.label_kind not in kinds:
        raise NoAnswerError("wrong_task")
    return version


def _as_is(**wished: bool) -> None:
    for name, value in wished.items():
        if value:
            raise NoAnswerError("bad_request", where=name, detail="this is not done here; leave it out")


def _texts(given: str | Sequence[str] | Sequence[Sequence[str]]) -> tuple[bool, list[Question]]:
    """The questions, and whether there is a single one."""
    if isinstance(given, str):
        return True, [Question(text=given)]
    rows = list(given)
    if rows and all(isinstance(row, str) for row in rows):
        if len(rows) > 2:
            detail = "a flat list is one pair; send many texts as [[text], [text]]"
            raise NoAnswerError("bad_request", where="inputs", detail=detail)
        return True, [_question([str(row) for row in rows])]
    if any(isinstance(row, str) for row in rows):
        raise NoAnswerError("bad_request", where="inputs", detail="texts and lists are mixed")
    return False, [_question(row) for row in rows]


def _question(row: Sequence[str]) -> Question:
    if not 1 <= len(row) <= 2:
        raise NoAnswerError("bad_request", where="inputs", detail="one text, or a pair of two")
    return Question(text=row[0], second=row[1] if len(row) == 2 else "")


def _see_known(rows: Sequence[Mapping[str, Any]], language: Language) -> None:
    """See that each text has an answer: a list of scores, all that this protocol has, cannot say "I don't know".

    Raises:
        NoAnswerError: one has none; it says which ones, so that the others can be asked without them.
    """
    unknown = [place for place, row in enumerate(rows) if "unknown" in row]
    if unknown:
        places = ", ".join(map(str, unknown))
        said = rows[unknown[0]]["unknown"][language]
        raise NoAnswerError("unknown_answer", where=f"inputs[{unknown[0]}]", given=places, detail=said)


def _scores(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    ranked = sorted(row["scores"].items(), key=lambda pair: -(pair[1] or 0.0))
    return [{"score": score, "label": label} for label, score in ranked]
