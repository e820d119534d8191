"""A translator and an endpoint that are not there: a script on PATH, and a server in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """#!/bin/sh
echo "$@" >> "{calls}"
case "$1 $2" in
  "-l ") printf '  eng-spa\\n  spa-eng\\n' ;;
  "-V ") echo 'Apertium 0.0' ;;
  "-u eng-spa") sed 's/good/bueno/g; s/film/*pelicula/g; s/[.]$/ ./' ;;
  "-u spa-eng") sed 's/bueno/fine/g; s/pelicula/movie/g' ;;
  *) echo 'no such mode' >&2; exit 1 ;;
esac
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where answers are kept."""
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rewritten"


@pytest.fixture
def apertium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A script that is called as Apertium is; gives the file in which its calls are."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    (folder / "apertium").write_text(SCRIPT.replace("{calls}", str(calls)), encoding="utf-8")
    (folder / "apertium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return calls


class Chat:
    """An endpoint: `answer` gives a status, headers and a body for what was asked; `asked` are the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most_together = 0
        self.answer: Callable[[str], tuple[int, dict[str, str], bytes]] = lambda text: said(f"{text}, so to speak")


def said(text: str) -> tuple[int, dict[str, str], bytes]:
    """An answer as a chat completion."""
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture
def chat(cache: Path) -> Iterator[Chat]:
    """A server of chat completions on this machine."""
    busy, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                busy[0] += 1
                served.most_together = max(served.most_together, busy[0])
                served.asked.append({"path": self.path, **body})
                served.keys.append(self.headers.get("Authorization", ""))
            status, headers, content = served.answer(body["messages"][0]["content"])
            with lock:
                busy[0] -= 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # who hung up may have
    served = Chat(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
