"""Clients that leave, and time that is up: what nobody waits for is not asked, and later ones are none the worse."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, Running, running
from tunesmith.service.engine import Part
from tunesmith.service.jobs import Limits
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version


class Writer(FakeEngine):
    """Writes a word every 50 ms, without end, and keeps count."""

    def __init__(self) -> None:
        super().__init__(seconds=0.05)
        self.words = 0
        self.writing = 0

    async def write(self, slot: str, question: Mapping[str, Any]) -> AsyncGenerator[Part, None]:
        self.writing += 1
        try:
            while True:
                await asyncio.sleep(self.seconds)
                self.words += 1
                yield Part("word ")
        finally:
            self.writing -= 1


def request(path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content


def asked(service: Running, path: str, body: Any) -> socket.socket:
    channel = socket.create_connection(("127.0.0.1", service.port), timeout=5)
    channel.sendall(request(path, body))
    return channel


def shed(service: Running, reason: str) -> float:
    lines = service.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("tunesmith_shed_total") and f'"{reason}"' in line]
    return float(found[0].split()[-1]) if found else 0.0


def until(true: Any, seconds: float = 10) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)


PREDICT = "/v1/models/classes/predict"


def test_texts_of_clients_that_left_are_not_asked(artifacts: dict[str, Path]) -> None:
    engine = FakeEngine(seconds=0.3)
    with running([read_version(artifacts["classes"])], engine) as service:
        clients = [asked(service, PREDICT, {"inputs": [f"leaver {n}", f"leaver too {n}"]}) for n in range(200)]
        until(lambda: len(engine.batches) >= 1)
        time.sleep(0.2)
        for client in clients:
            client.close()
        until(lambda: shed(service, "left") > 0)
        began = time.monotonic()
        answer = service.predict("classes", "I stayed")
        assert (answer.status, answer.body["answers"][0]["label"]) == (200, "I stayed")
        assert time.monotonic() - began < 3
        until(lambda: shed(service, "left") + sum(map(len, engine.batches)) - 1 >= 400)
        left = shed(service, "left")
        dead = sum("leaver" in text for batch in engine.batches for text in batch)
        assert left + dead == 400
        assert dead < 150  # what was with the model when they left; a batch holds some fifty
        assert [service.predict("classes", "later").status for _ in range(20)] == [200] * 20


def test_what_is_too_late_is_not_asked(artifacts: dict[str, Path]) -> None:
    engine = FakeEngine(seconds=0.5)
    with running([read_version(artifacts["classes"])], engine, Settings(batch_tokens=1)) as service:
        statuses: list[int] = []

        def ask(number: int) -> None:
            headers = {"x-request-timeout-ms": "300"} if number else {}
            statuses.append(service.ask("POST", PREDICT, {"inputs": [f"n{number}"]}, headers).status)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] + [504] * 19
        assert sum(map(len, engine.batches)) <= 2
        assert shed(service, "deadline") + shed(service, "left") >= 18
        assert service.predict("classes", "later").status == 200


@pytest.fixture
def writing(artifacts: dict[str, Path]) -> Iterator[tuple[Running, Writer]]:
    engine = Writer()
    settings = Settings(limits=Limits(deadline=1.0, writing=2.0))
    with running([read_version(artifacts["chat"])], engine, settings) as service:
        yield service, engine


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": "good film?"}], **more}


@pytest.mark.parametrize("stream", [True, False])
def test_writing_stops_when_the_client_leaves(stream: bool, writing: tuple[Running, Writer]) -> None:
    service, engine = writing
    client = asked(service, "/v1/chat/completions", chat(stream=stream))
    until(lambda: engine.words >= 2)
    client.close()
    until(lambda: engine.writing == 0, 1.5)
    words = engine.words
    time.sleep(0.3)
    assert engine.words == words


def test_writing_has_an_end_and_so_has_waiting_for_it(writing: tuple[Running, Writer]) -> None:
    service, engine = writing
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(service.post("/v1/chat/completions", chat())))
    first.start()
    until(lambda: engine.words >= 1)
    second = service.post("/v1/chat/completions", chat())
    assert (second.status, second.body["error"]["code"]) == (504, "deadline")
    streamed = service.post("/v1/chat/completions", chat(stream=True), x_request_timeout_ms="200")
    assert (streamed.status, streamed.body["error"]["code"]) == (504, "deadline"), "it had not begun"
    first.join()
    assert (answers[0].status, answers[0].body["error"]["code"]) == (504, "deadline")
    assert engine.writing == 0
    short = service.post("/v1/chat/completions", chat(stream=True), x_request_timeout_ms="300")
    assert short.status == 200
    assert '"code":"deadline"' in short.text
    assert short.text.endswith("data: [DONE]\n\n")


def test_a_streamed_chat_is_refused_before_it_begins(service: Running) -> None:
    body = chat(stream=True) | {"messages": [{"role": "user", "content": "a" * 20_001}]}
    answer = service.post("/v1/chat/completions", body)
    assert (answer.status, answer.body["error"]["code"]) == (400, "context_length_exceeded")


def test_a_real_worker_stops_writing_and_is_free_again(artifacts: dict[str, Path]) -> None:
    with running([read_version(artifacts["chat"])], LocalEngine(1, 1)) as service:
        for _ in range(10):
            client = asked(service, "/v1/chat/completions", chat(stream=True, max_tokens=1000))
            assert b"200 OK" in client.recv(4096)
            client.close()
        began = time.monotonic()
        assert service.post("/v1/chat/completions", chat(max_tokens=3)).status == 200
        assert time.monotonic() - began < 5
