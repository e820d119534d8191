"""Servers on this machine that stand for others: a service's /metrics, a webhook, an SMTP server."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Web:
    """Answers each request by `answer`, and keeps what was asked."""

    answer: Callable[[str, dict[str, str]], tuple[int, bytes, dict[str, str]]]
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.asked]


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], tuple[int, bytes, dict[str, str]]]) -> Iterator[Web]:
    """A web server on a free port."""
    web = Web(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = dict(self.headers.items())
            web.asked.append((self.path, headers, body))
            status, content, more = web.answer(self.path, headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def accepting(_path: str, _headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    """What a webhook says that is content."""
    return 200, b"", {}


@dataclass
class Post:
    """An SMTP server's memory: each line that a client said, in clear or not, and the messages."""

    port: int = 0
    lines: list[tuple[bool, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@contextmanager
def post_office(*, context: ssl.SSLContext | None = None, refuse: str = "", login: bool = False) -> Iterator[Post]:
    """An SMTP server on a free port: with STARTTLS if it has a context; it answers RCPT by `refuse` if given."""
    post = Post()
    listener = socket.create_server(("127.0.0.1", 0))
    post.port = listener.getsockname()[1]

    def talk(connection: socket.socket) -> None:
        secret = False
        connection.sendall(b"220 test ESMTP\r\n")
        stream = connection.makefile("rb")
        in_message: list[str] | None = None
        while line := stream.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if in_message is not None:
                if text == ".":
                    post.messages.append("\n".join(in_message))
                    in_message = None
                    connection.sendall(b"250 kept\r\n")
                else:
                    in_message.append(text)
                continue
            post.lines.append((secret, text))
            word = text.split(" ")[0].upper()
            if word == "EHLO":
                can = ["test"] + (["STARTTLS"] if context and not secret else []) + (["AUTH PLAIN"] if login else [])
                more = "".join(f"250-{one}\r\n" for one in can[:-1])
                connection.sendall(f"{more}250 {can[-1]}\r\n".encode())
            elif word == "STARTTLS" and context:
                connection.sendall(b"220 go\r\n")
                connection = context.wrap_socket(connection, server_side=True)
                stream, secret = connection.makefile("rb"), True
            elif word == "AUTH":
                connection.sendall(b"235 yes\r\n")
            elif word == "RCPT" and refuse:
                connection.sendall(f"{refuse}\r\n".encode())
            elif word == "DATA":
                in_message = []
                connection.sendall(b"354 go on\r\n")
            elif word == "QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            else:
                connection.sendall(b"250 ok\r\n")
        stream.close()
        connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                talk(connection)
            except OSError:
                connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield post
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
