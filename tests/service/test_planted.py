"""Secrets planted in everything that a client sends; no log, metric, error, file of the state, or stream holds one."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import Response, Running
from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import SCOPES, Limits


@dataclass
class Program:
    """The service as a program, all that it wrote, and all secrets that were sent to it."""

    process: subprocess.Popen[str]
    state: Path
    key: str
    service: Running
    planted: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def secret(self) -> str:
        self.planted.append(f"planted{secrets.token_hex(8)}")
        return self.planted[-1]

    def ask(self, verb: str, path: str, body: Any = None, /, **headers: str) -> Response:
        given = {"authorization": f"Bearer {self.key}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = self.service.ask(verb, path, body, given)
        if answer.status >= 400:
            self.told.append(answer.text)
        self.told.append(json.dumps(dict(answer.headers)))
        return answer


@pytest.fixture(scope="module")
def program(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("planted")
    state = folder / "state"
    limits = Limits(10**9, 10**6)
    _, key = KeyStore(state).create(tuple(SCOPES), limits, name="test", by="test", lifetime=None)
    names = ("classes", "pairs", "chat", "spans", "items")
    (folder / "root").mkdir()
    command = [sys.executable, "-m", "tests.service.planted", "serve", *(str(artifacts[name]) for name in names)]
    command += ["--port", "0", "--state", str(state), "--workers", "1", "--root", str(folder / "root")]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        try:
            began = time.monotonic()
            while not (found := re.search(r":(\d+)/?\n", (folder / "out").read_text())):
                assert process.poll() is None, (folder / "err").read_text()
                assert time.monotonic() - began < 120
                time.sleep(0.1)
            yield Program(process, state, key, Running(int(found[1])))
        finally:
            process.kill()
            process.wait()


PLANTED = re.compile("planted[0-9a-f]{16}", re.IGNORECASE)
TEXTS = (
    "is fine",
    "chatter",
    "fails",
    "panics",
    "kills",
    "aborts",
    "unhandled",
    "front panics",
    "\ud800",
    "a" * 30_000,
)


def bodies(text: str, more: str) -> dict[str, Any]:
    """A request with a text for each route that takes one."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return {
        "/v1/models/classes/predict": {"inputs": [text]},
        "/v1/models/pairs/predict": {"inputs": [{"text": text, "second": more, "subject": more}]},
        "/v1/models/spans/predict": {"inputs": [text]},
        "/v1/models/items/predict": {"inputs": [{"history": [text]}]},
        "/v1/models/chat/predict": {"inputs": [{"messages": [{"role": "user", "content": text}]}]},
        "/v2/models/classes/infer": {"id": more, "inputs": [tensor]},
        "/predict": {"inputs": text},
        "/predict?model=pairs": {"inputs": [text, more]},
        "/embed?model=classes": {"inputs": [text]},
        "/v1/embeddings": {"model": "classes", "input": text, "user": more},
        "/v1/chat/completions": {"model": "chat", "messages": [{"role": "user", "content": text}], "user": more},
    }


def wrong(secret: str) -> list[tuple[str, str, Any]]:
    """Requests that are refused, with a secret in every place of them."""
    return [
        ("POST", "/v1/models/classes/predict", {"inputs": ["a"], secret: secret}),
        ("POST", "/v1/models/classes/predict", {"inputs": [{"text": "a", secret: 1}]}),
        ("POST", "/v1/models/classes/predict", {"inputs": {secret: secret}}),
        ("POST", "/v1/models/classes/predict", {"inputs": ["a"], "version": secret}),
        ("POST", "/v1/models/classes/predict", {"inputs": [{"text": "a", "second": secret}]}),
        ("POST", "/v1/models/classes/predict", f'{{"inputs": ["{secret}"'.encode()),
        ("POST", "/v1/models/classes/predict", f'{{"{secret}": 1, "{secret}": 2}}'.encode()),
        ("POST", "/v1/models/classes/predict", secret.encode() + b"\xff\x00"),
        ("POST", f"/v1/models/{secret}/predict", {"inputs": ["a"]}),
        ("GET", f"/v1/models/{secret}", None),
        ("GET", f"/{secret}?{secret}={secret}", None),
        ("POST", f"/predict?model={secret}", {"inputs": "a"}),
        ("POST", f"/embed?model={secret}&key={secret}", {"inputs": "a"}),
        ("GET", f"/info?model={secret}", None),
        ("POST", "/predict", {"inputs": [secret, secret, secret]}),
        ("POST", "/predict", {"inputs": secret, "truncate": secret}),
        ("POST", "/v2/models/classes/infer", {"inputs": [{"name": secret, "datatype": secret, "shape": []}]}),
        ("POST", f"/v2/models/{secret}/versions/{secret}/infer", {"inputs": []}),
        ("POST", "/v1/chat/completions", {"model": secret, "messages": [{"role": "user", "content": secret}]}),
        ("POST", "/v1/chat/completions", {"model": "chat", "messages": [{"role": secret, "content": secret}]}),
        ("POST", "/v1/embeddings", {"model": "classes", "input": secret, "encoding_format": secret}),
        ("POST", f"/admin/models/classes:{secret}", {"version": secret}),
        ("POST", "/admin/models/classes:load", {"version": secret}),
        ("POST", "/admin/models/classes:promote", {"version": secret}),
        ("POST", f"/admin/models/{secret}:load", {"version": f"../{secret}"}),
        ("DELETE", f"/v1/models/{secret}", None),
        (secret.upper(), "/livez", None),
    ]  # fmt: skip


def test_no_secret_is_anywhere(program: Program) -> None:
    held: set[int] = set()
    for word in TEXTS:
        for number, path in enumerate(bodies("", "")):
            if word in {"kills", "aborts", "panics"} and number not in {0, 9}:
                continue  # each costs three workers
            secret = program.secret()
            body = bodies(f"{secret} {word} {secret}", program.secret())[path]
            held.add(program.ask("POST", path, body).status)
    for method, path, body in wrong(program.secret()):
        held.add(program.ask(method, path, body, accept_language=program.secret()).status)
    for name in ("x_request_timeout_ms", "traceparent", "content_encoding", "content_type", "cookie", "x_api_key"):
        held.add(program.ask("POST", "/predict", {"inputs": "a"}, **{name: program.secret()}).status)
    for value in ("Bearer {}", "Bearer ts_aaaaaaaaaaaa_{}{}{}", "Basic {}", "{}"):
        held.add(
            program.ask("POST", "/predict", {"inputs": "a"}, authorization=value.format(*[program.secret()] * 3)).status
        )
    cut(program)
    assert {200, 400, 401, 404, 405, 413, 415, 422, 500} <= held
    assert program.ask("POST", "/predict", {"inputs": "fine"}).status == 200
    program.told.append(program.ask("GET", "/metrics").text)
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(60) in {0, -signal.SIGTERM}
    folder = program.state.parent
    files = [file for file in folder.rglob("*") if file.is_file()]
    places = {file.name: file.read_text("utf-8", "replace") for file in files} | {"answers": "\n".join(program.told)}
    assert {"err", "out", "answers", "audit.jsonl", "keys.json"} <= set(places)
    key = program.key.rpartition("_")[2]
    for place, text in places.items():
        assert not [line for line in text.splitlines() if key in line or PLANTED.search(line)], place
    check_lines((folder / "err").read_text())


def cut(program: Program) -> None:
    """Leave in the midst of a body, of an answer, and with what is no HTTP."""
    for content in (
        (
            f"POST /predict HTTP/1.1\r\nauthorization: Bearer {program.key}\r\n"
            f"content-length: 99\r\n\r\n{program.secret()}"
        ),
        f"GET /{program.secret()} HTTP/1.1\r\nhost: {program.secret()}\r\n\r\n",
        f"{program.secret()} {program.secret()}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", program.service.port), timeout=5) as channel:
            channel.sendall(content.encode())
    time.sleep(0.3)


def check_lines(errors: str) -> None:
    """Every line of standard error is JSON, and what happened is told without words of the clients."""
    lines = [json.loads(line) for line in errors.splitlines()]
    events = {line["event"] for line in lines}
    assert "A request failed." in events
    assert "Standard error was written to; it may hold texts, and is not shown." in events
    assert any(event.startswith("A model worker ends because of Panic at planted.py") for event in events)
    assert "A model worker ended with exit code -9." in events
    assert "A model worker ended with exit code -6." in events
    failed = next(line for line in lines if line["event"] == "A request failed.")
    assert failed["error"]["kind"] == "KeyError"
    assert any("planted.py" in place for place in failed["error"]["trace"])
