"""The service over real workers: what it answers is what the predictor answers, in every protocol."""

from __future__ import annotations

import array
import base64
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.builders import HISTORIES, QUESTIONS, RELATIONS
from tests.service.conftest import ENGINES, SERVED
from tests.service.running import Running
from tunesmith.data.records import Example
from tunesmith.evaluation.results import prediction_row
from tunesmith.inference.predictor import Predictor
from tunesmith.service import misreading, refusals
from tunesmith.service.questions import Mark, Message, Question, example_of, plain_question
from tunesmith.service.serving import listening
from tunesmith.service.trial import plain_examples

ASKED: dict[str, list[dict[str, Any]]] = {
    "questions": [{"text": one.text, "second": one.second} for one in QUESTIONS],
    "relations": [
        {"text": one.text, "marks": [{"start": m.start, "end": m.end, "label": m.label} for m in one.marks]}
        for one in RELATIONS
    ],
    "items": [{"history": list(one.history)} for one in HISTORIES],
    "chat": [{"messages": [{"role": "user", "content": text}]} for text in ("good film?", "今天天气好吗")],
    "pairs": [{"text": "good film", "second": "bad film"}, {"text": "张三在北京", "second": "good"}],
}
TEXTS = [{"text": text} for text in ("Anna went to Rome", "张三在北京 🎉 上海", "a bad bad day", "x")]


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest) -> Running:
    found: Running = request.getfixturevalue(f"{request.param}_service")
    return found


def as_example(number: int, given: dict[str, Any]) -> Example:

    marks = [Mark(**mark) for mark in given.get("marks", ())]
    messages = [Message(**one) for one in given.get("messages", ())]
    question = Question(**{**given, "marks": marks, "messages": messages})
    kinds = [name for name, there in (("turns", messages), ("marks", marks), ("history", question.history)) if there]
    return example_of(plain_question(question, [*kinds, "second?"], 0), str(number))


@pytest.mark.parametrize("name", SERVED)
def test_answers_are_the_predictors(name: str, service: Running, artifacts: dict[str, Path]) -> None:
    given = ASKED.get(name, TEXTS)
    answer = service.predict(name, *given)
    assert answer.status == 200, answer.text
    expected = Predictor.load(artifacts[name]).predict([as_example(n, one) for n, one in enumerate(given)])
    for found, right, asked in zip(answer.body["answers"], expected, given, strict=True):
        row = prediction_row(right)
        label = row["label"]
        if isinstance(label, list) and label and isinstance(label[0], dict):
            text = asked["text"]
            assert [span["text"] for span in found["label"]] == [text[s["start"] : s["end"]] for s in label]
            found["label"] = [{key: span[key] for key in ("start", "end", "label")} for span in found["label"]]
        assert found["label"] == (pytest.approx(label, abs=1e-4) if isinstance(label, float) else label)
        if row["confidence"] is not None:
            assert found["confidence"] == pytest.approx(row["confidence"], abs=1e-4)
    assert answer.headers["x-model-version"] == answer.body["version"]


def test_plain_texts_exist_for_every_task() -> None:
    for inputs in (("text",), ("text", "second"), ("text", "marks"), ("turns",)):
        assert all(example.text for example in plain_examples(inputs))


REFUSED = {
    "an unknown model": ("/v1/models/nobody/predict", {"inputs": ["a"]}, 404, "unknown_model"),
    "an unknown version": ("/v1/models/classes/predict", {"inputs": ["a"], "version": "0"}, 404, "unknown_version"),
    "nothing": ("/v1/models/classes/predict", {"inputs": []}, 400, "no_items"),
    "no JSON": ("/v1/models/classes/predict", b"{", 400, "not_json"),
    "an unknown key": ("/v1/models/classes/predict", {"inputs": ["a"], "sekret": 1}, 400, "bad_request"),
    "a number for a text": ("/v1/models/classes/predict", {"inputs": [7]}, 400, "bad_request"),
    "no second text": ("/v1/models/pairs/predict", {"inputs": ["a"]}, 422, "missing_field"),
    "a field of no use": (
        "/v1/models/classes/predict",
        {"inputs": [{"text": "a", "second": "b"}]},
        422,
        "unused_field",
    ),
    "an empty text": ("/v1/models/classes/predict", {"inputs": [""]}, 422, "missing_field"),
    "too many": ("/v1/models/classes/predict", {"inputs": ["a"] * 65}, 413, "too_many_items"),
    "a long text": ("/v1/models/classes/predict", {"inputs": ["a" * 20_001]}, 413, "text_too_long"),
    "many tokens": ("/v1/models/classes/predict", {"inputs": ["a " * 5000]}, 413, "tokens_above_limit"),
    "a large body": ("/v1/models/classes/predict", b" " * 2_000_001, 413, "body_too_large"),
    "deep JSON": ("/v1/models/classes/predict", b"[" * 100_000, 400, "json_too_deep"),
    "a long array": ("/v1/models/classes/predict", json.dumps([0] * 60_000).encode(), 413, "json_too_large"),
    "a span beyond the text": (
        "/v1/models/relations/predict",
        {"inputs": [{"text": "ab", "marks": [{"start": 0, "end": 9, "label": "e1"}]}]},
        422,
        "bad_span",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_requests_say_why_and_repeat_nothing(case: str, service: Running) -> None:
    path, body, status, code = REFUSED[case]
    answer = service.post(path, body)
    assert (answer.status, answer.body["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "sekret" not in answer.text
    chinese = service.post(path, body, accept_language="zh-CN,zh;q=0.9")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese.body["detail"])


def test_a_misspelt_field_names_the_nearest_one_in_both_languages(service: Running) -> None:
    body = {"input": ["a"]}
    assert "'inputs'" in service.post("/v1/models/classes/predict", body).body["detail"]
    chinese = service.post("/v1/models/classes/predict", body, accept_language="zh").body["detail"]
    assert "“inputs”" in chinese
    assert "unknown" not in chinese
    nested = service.post("/v1/models/classes/predict", {"inputs": [{"txt": "a"}]}).body
    assert "txt" not in nested["detail"] + nested.get("where", "")


def told_details() -> set[str]:
    bounds = {said for _, said in misreading._BOUNDS.values()}
    own = {misreading.UNKNOWN, misreading.INSIDE, misreading.ABOVE}
    return {*misreading._WANTED.values(), *misreading._EITHER.values(), *bounds, *own}


MISREAD: dict[str, tuple[str, Any, str, str, str]] = {
    "a share above 1": ("/admin/models/classes:canary", {"version": "a", "share": 50}, "share", "the most is 1", "1"),
    "another verdict": (
        "/v1/feedback",
        {"request_id": "a", "verdict": "Secret"},
        "verdict",
        "'correct' or 'wrong'",
        "'wrong'",
    ),
    "a text for a list": ("/v1/models/classes/predict", {"inputs": "Secret"}, "inputs", "a list is wanted", "列表"),
    "a number for a text": ("/v1/models/classes/predict", {"inputs": [7]}, "inputs.0", "a text, or an object", "文本"),
    "a field of each input at the top": (
        "/v1/models/classes/predict",
        {"inputs": ["Secret"], "subject": "Secret"},
        "subject",
        "'subject' stands in the wrong place: it belongs into each entry of 'inputs'",
        "“inputs”",
    ),
    "a field of the request in an input": (
        "/v1/models/classes/predict",
        {"inputs": [{"text": "Secret", "vectors": True}]},
        "inputs.0.vectors",
        "'vectors' stands in the wrong place: it belongs at the top",
        "最外层",
    ),
    "another field in an input": (
        "/v1/models/classes/predict",
        {"inputs": [{"text": "Secret", "histories": []}]},
        "inputs.0",
        "'history'",
        "“history”",
    ),
    "a role that is none": (
        "/v1/chat/completions",
        {"model": "chat", "messages": [{"role": "Secret", "content": "a"}]},
        "messages.0.role",
        "'system', 'user', 'assistant' or 'tool'",
        "'tool'",
    ),
    "numbers for TEI": ("/predict", {"inputs": [7]}, "", "a text or a list is wanted", "文本或列表"),
    "an id that is too long": (
        "/v1/feedback",
        {"request_id": "Secret" * 20, "verdict": "wrong"},
        "request_id",
        "at most 64 characters",
        "64",
    ),
}


@pytest.mark.parametrize("case", MISREAD)
def test_a_value_of_another_form_is_told_what_is_wanted(case: str, local_service: Running) -> None:
    path, body, where, english, chinese = MISREAD[case]
    answer = local_service.post(path, body)
    assert answer.status == 400
    assert english in answer.text
    told = answer.body.get("error", answer.body)
    found = told.get("where") or told.get("param") if isinstance(told, dict) else ""
    assert (found or "") == where
    assert "Secret" not in answer.text
    assert chinese in local_service.post(path, body, accept_language="zh").text


def test_every_detail_can_be_told_in_chinese() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in Path(refusals.__file__).parent.glob("*.py"))
    assert not [one for one in told_details() if one not in refusals.DETAILS]
    given = re.findall(r'detail="([^"]+)"', code) + re.findall(r'(?:detail|said) = "([^"]+)"', code)
    assert len(given) > 10
    lacking = [one for one in given if one not in refusals.DETAILS]
    assert not lacking


def test_a_lone_surrogate_is_refused(service: Running) -> None:
    answer = service.post("/v1/models/classes/predict", b'{"inputs": ["a \\ud800 b", "fine"]}')
    assert (answer.status, answer.body["code"]) == (400, "bad_request")


def test_deadlines_are_read(service: Running) -> None:
    assert service.post("/v1/models/classes/predict", {"inputs": ["a"]}, x_request_timeout_ms="x").status == 400
    late = service.post("/v1/models/classes/predict", {"inputs": ["a long text " * 60] * 64}, x_request_timeout_ms="1")
    assert (late.status, late.body["code"]) == (504, "deadline")


def test_request_ids_are_kept_or_made(service: Running) -> None:
    assert service.get("/livez", x_request_id="mine-1").headers["x-request-id"] == "mine-1"
    made = service.get("/livez", x_request_id="not an id!").headers["x-request-id"]
    assert made.isalnum()


def test_answers_carry_security_headers_and_no_cross_origin_permission(service: Running) -> None:
    headers = service.ask("OPTIONS", "/v1/models/classes/predict", None, {"origin": "http://elsewhere.example"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert not any(name.startswith("access-control") for name in headers)


def test_open_inference_protocol(service: Running) -> None:
    assert service.get("/v2").body["name"] == "tunesmith"
    assert service.get("/v2/health/ready").body == {"live": True, "ready": True}
    told = service.get("/v2/models/classes").body
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    body = {"id": "q1", "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["good film", "坏"]}]}
    answer = service.post("/v2/models/classes/infer", body)
    own = service.predict("classes", "good film", "坏").body
    assert answer.body["id"] == "q1"
    outputs = {one["name"]: one for one in answer.body["outputs"]}
    assert outputs["label"]["data"] == [one["label"] for one in own["answers"]]
    assert outputs["scores"]["shape"] == [2, 2]
    assert len(outputs["scores"]["data"]) == 4
    by_version = service.post(f"/v2/models/classes/versions/{own['version']}/infer", body)
    assert by_version.body["model_version"] == own["version"]


@pytest.mark.parametrize(
    "tensor",
    [
        {"name": "text", "shape": [3], "datatype": "BYTES", "data": ["a"]},
        {"name": "text", "shape": [1], "datatype": "FP32", "data": ["a"]},
        {"name": "other", "shape": [1], "datatype": "BYTES", "data": ["a"]},
    ],
)
def test_open_inference_protocol_refuses_in_its_own_shape(tensor: dict[str, Any], service: Running) -> None:
    answer = service.post("/v2/models/classes/infer", {"inputs": [tensor]})
    assert answer.status == 400
    assert set(answer.body) == {"error"}


def test_text_embeddings_inference(service: Running) -> None:
    one = service.post("/predict", {"inputs": "good film"}).body
    assert [set(score) for score in one] == [{"score", "label"}] * 2
    assert one[0]["score"] >= one[1]["score"]
    many = service.post("/predict", {"inputs": [["good film"], ["坏"]]}).body
    assert [score["score"] for score in many[0]] == pytest.approx([score["score"] for score in one], abs=1e-4)
    pair = service.post("/predict?model=pairs", {"inputs": ["good film", "bad film"]})
    assert {score["label"] for score in pair.body} == {"other", "same"}
    wrong = service.post("/predict", {"inputs": ["a", "b", "c"]})
    assert (wrong.status, wrong.body["error_type"]) == (400, "validation")
    assert service.post("/predict?model=spans", {"inputs": "a"}).status == 424
    vectors = service.post("/embed?model=classes", {"inputs": ["good film", "坏"]}).body
    assert len(vectors) == 2
    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-5)
    assert service.get("/info?model=classes").body["model_type"]["classifier"]["id2label"]


def test_openai_models_and_embeddings(service: Running) -> None:
    assert [one["id"] for one in service.get("/v1/models").body["data"]] == list(SERVED)
    answer = service.post("/v1/embeddings", {"model": "classes", "input": ["good film"]}).body
    assert answer["data"][0]["embedding"] == service.post("/embed?model=classes", {"inputs": "good film"}).body[0]
    assert answer["usage"]["prompt_tokens"] > 0


def test_openai_embeddings_in_base64_and_of_other_dimensions(local_service: Running) -> None:
    body = {"model": "classes", "input": ["good film", "坏"]}
    plain = local_service.post("/v1/embeddings", body).body["data"]
    packed = local_service.post("/v1/embeddings", {**body, "encoding_format": "base64"}).body["data"]
    for one, other in zip(plain, packed, strict=True):
        values = array.array("f", base64.b64decode(other["embedding"]))
        assert list(values) == pytest.approx(one["embedding"], abs=1e-6)
    width = len(plain[0]["embedding"])
    assert local_service.post("/v1/embeddings", {**body, "dimensions": width}).status == 200
    cut = local_service.post("/v1/embeddings", {**body, "dimensions": width - 1})
    assert (cut.status, cut.body["error"]["param"]) == (400, "dimensions")
    assert "not supported" in cut.body["error"]["message"]
    strange = local_service.post("/v1/embeddings", {**body, "encoding_format": "int8"})
    assert "'float' or 'base64'" in strange.body["error"]["message"]


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": "good film?"}], **more}


def test_chat_whole_and_streamed_say_the_same(service: Running, artifacts: dict[str, Path]) -> None:
    whole = service.post("/v1/chat/completions", chat(max_tokens=12)).body
    said = whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] <= 12
    streamed = service.post("/v1/chat/completions", chat(max_tokens=12, stream=True))
    assert streamed.headers["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    parts = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert "".join(part["delta"].get("content", "") for part in parts) == said
    assert parts[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_chat_answers_as_the_artifact_does(service: Running, artifacts: dict[str, Path]) -> None:
    told = service.post("/v1/chat/completions", chat()).body["choices"][0]["message"]["content"]
    (answer,) = Predictor.load(artifacts["chat"]).predict_texts(["good film?"])
    assert told == answer.label


def test_chat_errors_have_openais_shape(service: Running) -> None:
    wrong = service.post("/v1/chat/completions", chat() | {"model": "classes"})
    assert (wrong.status, wrong.body["error"]["code"]) == (424, "wrong_task")
    long = service.post("/v1/chat/completions", chat() | {"messages": [{"role": "user", "content": "a " * 9000}]})
    assert (long.status, long.body["error"]["code"]) == (400, "context_length_exceeded")


def test_the_page_of_the_interface_is_whole(service: Running) -> None:
    page = service.get("/openapi.json").body
    names = set(page["components"]["schemas"])
    refs = {part.split('"')[0] for part in json.dumps(page).split("#/components/schemas/")[1:]}
    assert refs <= names
    main = page["paths"]["/v1/models/{name}/predict"]["post"]
    assert (main["summary"], main["operationId"]) == ("Predict", "predict")
    assert "Documented" not in json.dumps(page)
    assert main["requestBody"]["content"]["application/json"]["schema"]["title"] == "PredictRequest"


def test_bodies_do_not_wait_for_acknowledgements() -> None:
    """asyncio turns Nagle's algorithm off only on sockets that name TCP; with it each answer took 40 ms more."""
    channel = listening("127.0.0.1", 0)
    assert channel.proto == socket.IPPROTO_TCP
    channel.close()
