"""The client: typed answers, errors with their code, and what is tried again."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.service.running import Running
from tunesmith.client import Client, RequestError
from tunesmith.errors import TunesmithError


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    found = Client(f"http://127.0.0.1:{service.port}", "any")
    yield found
    found.close()


def test_answers_are_typed(client: Client) -> None:
    assert "classes" in client.models()
    assert client.describe("spans")["task"] == "token_classification"
    one, other = client.predict("classes", ["good film", {"text": "坏"}])
    assert one.label in {"good", "bad"}
    assert one.scores[one.label] == one.confidence
    assert (one.number, other.number) == (0, 1)
    assert one.request_id == other.request_id
    (found,) = client.predict("questions", [{"text": "Anna went to Rome", "second": "who?"}])
    assert found.answer is not None
    assert len(client.embed("classes", ["a", "b"])) == 2
    assert isinstance(client.chat("chat", [{"role": "user", "content": "hi"}], max_tokens=3), str)


def test_refusals_have_a_code(client: Client) -> None:
    with pytest.raises(RequestError) as wrong:
        client.predict("classes", [""])
    assert (wrong.value.status, wrong.value.code) == (422, "missing_field")
    assert wrong.value.request_id
    with pytest.raises(RequestError) as unknown:
        client.chat("nobody", [{"role": "user", "content": "hi"}])
    assert unknown.value.code == "unknown_model"


def test_keys_do_not_travel_in_the_clear() -> None:
    with pytest.raises(TunesmithError, match="in the clear"):
        Client("http://example.com", "secret")


class _Busy(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        fine = len(self.asked) > 2
        body = json.dumps({"data": []} if fine else {"code": "overloaded", "detail": "busy"}).encode()
        self.send_response(200 if fine else 429)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


def test_a_busy_service_is_asked_again() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}", "key")
        assert client.models() == []
        assert len(_Busy.asked) == 3
        client.close()
        server.shutdown()


class _Store(http.server.BaseHTTPRequestHandler):
    """Answers with doubt, and is busy the first time that it gets feedback."""

    given: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told: dict[str, Any] = {"answers": [{"unknown": {"en": "I don't know."}}], "request_id": "r1", "version": "v"}
        if self.path == "/v1/feedback":
            self.given.append(body)
            told = {"id": "f1", "status": "new", "repeated": False}
        content = json.dumps(told).encode()
        self.send_response(503 if len(self.given) == 1 else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


def test_feedback_that_is_sent_again_is_the_same() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}", "key")
        (answer,) = client.predict("films", ["很好"])
        assert (answer.label, answer.unknown) == (None, {"en": "I don't know."})
        assert client.feedback(answer, "wrong", {"label": "good"}) == "f1"
        client.close()
        server.shutdown()
    first, second = _Store.given
    assert first == second
    assert (first["request_id"], first["item"], first["verdict"], first["right"]) == (
        "r1",
        0,
        "wrong",
        {"label": "good"},
    )
    assert first["idempotency_key"]


def test_feedback_without_a_store_is_refused_with_its_reason(client: Client) -> None:
    (answer,) = client.predict("classes", ["good film"])
    with pytest.raises(RequestError) as refused:
        client.feedback(answer, "correct")
    assert refused.value.code == "no_store"


def test_one_text_is_not_taken_for_many(client: Client) -> None:
    for ask in (lambda: client.predict("classes", "good film"), lambda: client.embed("classes", "good film")):
        with pytest.raises(TunesmithError, match="no list"):
            ask()


def test_nobody_there_is_said() -> None:
    client = Client("http://127.0.0.1:9", "key", tries=2)
    with pytest.raises(RequestError, match=r"The service at http://127.0.0.1:9 cannot be reached: .*refused"):
        client.models()
    with pytest.raises(TunesmithError, match=r"Write http://127.0.0.1:8080"):
        Client("127.0.0.1:8080", "key")
