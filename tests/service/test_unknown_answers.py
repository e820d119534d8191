"""A guard's "I don't know" in the words of each protocol: a reason, never a failure or an answer that says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, Running, running
from tunesmith.components import build
from tunesmith.guarding import GUARDS
from tunesmith.guarding.guards import Guards
from tunesmith.service.serving import Behind
from tunesmith.service.versions import read_version


def sure_of_all_but_hm(slot: str, text: str) -> Mapping[str, Any]:
    share = 0.5 if text == "hm" else 0.9
    return {"label": "good", "confidence": share, "scores": {"good": share, "bad": 1 - share}, "vector": [1.0, 0.0]}


@pytest.fixture(scope="module")
def unsure(artifacts: dict[str, Path]) -> Iterator[Running]:
    rows = [{"name": "size", "most_characters": 20}, {"name": "confidence_floor", "least": 0.7}]
    guards = Guards([build(GUARDS, row, "guards") for row in rows])
    engine = FakeEngine()
    engine.said = sure_of_all_but_hm
    versions = [read_version(artifacts["classes"], name="mood")]
    with running(versions, engine, behind=Behind(guards={"mood": guards})) as found:
        yield found


def test_a_tei_client_is_told_which_texts_have_no_answer_and_why(unsure: Running) -> None:
    assert unsure.post("/predict", {"inputs": "good film"}).body[0]["label"] == "good"
    refused = unsure.post("/predict", {"inputs": [["good film"], ["hm"], ["fine"], ["hm"]]})
    assert (refused.status, refused.body["error_type"], refused.body["code"]) == (422, "validation", "unknown_answer")
    assert "text 1, 3 (counted from 0)" in refused.body["error"]
    chinese = unsure.post("/predict", {"inputs": "hm"}, accept_language="zh")
    assert chinese.status == 422
    assert "我不知道" in chinese.body["error"]


def test_a_client_of_the_open_inference_protocol_is_told_why(unsure: Running) -> None:
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["fine", "hm"]}
    told = unsure.post("/v2/models/mood/infer", {"inputs": [tensor]}).body
    assert told["outputs"][0]["data"] == ["good", "null"]
    why = json.loads(told["parameters"]["unknown"])
    assert list(why) == ["1"]
    assert set(why["1"]) == {"code", "en", "zh"}
    sure = unsure.post("/v2/models/mood/infer", {"inputs": [{**tensor, "shape": [1], "data": ["fine"]}]}).body
    assert "parameters" not in sure


def test_embeddings_pass_the_guards_of_texts_and_none_of_answers(unsure: Running) -> None:
    body = {"model": "mood", "input": ["hm"]}
    assert unsure.post("/v1/embeddings", body).body["data"][0]["embedding"] == [1.0, 0.0]
    long = unsure.post("/v1/embeddings", {"model": "mood", "input": ["fine", "a" * 30]})
    assert (long.status, long.body["error"]["code"]) == (400, "context_length_exceeded")
