"""Texts on which a model fails stand in batches with others: only they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchmarks.broken_models import poisoned

from tests.service.running import Running, running
from tunesmith.inference.predictor import Predictor
from tunesmith.service.local import LocalEngine
from tunesmith.service.versions import read_version

TEXTS = ["good film", "a bad bad day", "old man", "met the old man in rome and went on"]


@pytest.fixture(scope="module")
def place(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A classifier whose answer to texts with a certain word is no number, and that word."""
    folder = tmp_path_factory.mktemp("poison") / "classes"
    return folder, poisoned(artifacts["classes"], folder, TEXTS)


@pytest.fixture(scope="module")
def service(place: tuple[Path, str]) -> Iterator[Running]:
    with running([read_version(place[0], name="classes")], LocalEngine(1, 1)) as found:
        yield found


def test_an_answer_that_is_no_number_is_refused_on_every_route(place: tuple[Path, str], service: Running) -> None:
    text = f"good {place[1]}"
    refused = service.predict("classes", text)
    assert (refused.status, refused.body["code"]) == (422, "unanswerable")
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    assert service.post("/v2/models/classes/infer", {"inputs": [tensor]}).status == 400
    for path, body in (
        ("/predict", {"inputs": text}),
        ("/embed?model=classes", {"inputs": [text]}),
        ("/v1/embeddings", {"model": "classes", "input": text}),
    ):
        assert service.post(path, body).status == 422, path


def test_neighbours_of_a_poisonous_text_are_answered_as_if_alone(place: tuple[Path, str], service: Running) -> None:
    alone = dict(zip(TEXTS, Predictor.load(place[0]).predict_texts(TEXTS), strict=True))
    asked = [[text] for text in TEXTS * 8] + [[f"{place[1]} day"], ["good film", f"old {place[1]}", "old man"]] * 4
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda inputs: service.predict("classes", *inputs), asked))
    for inputs, reply in zip(asked, replies, strict=True):
        bad = [number for number, text in enumerate(inputs) if place[1] in text.split()]
        if not bad:
            answer, expected = reply.body["answers"][0], alone[inputs[0]]
            assert answer["label"] == expected.label
            assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        else:
            assert (reply.status, reply.body["code"]) == (422, "unanswerable"), reply.text
            assert reply.body.get("where", "") == (f"inputs[{bad[0]}]" if len(inputs) > 1 else "")
