"""A key set is fetched from the https address of the configuration: no redirect, no other scheme, no large answer."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest

from tests.access.makers import over_tls
from tunesmith.access.fetching import MOST_BYTES, WELL_KNOWN, by_discovery, fetch_https
from tunesmith.errors import ResourceError


class Answers(BaseHTTPRequestHandler):
    """One answer per path."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302 if self.path == "/moved" else 404 if self.path == "/gone" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/keys")
        self.end_headers()
        if self.path == "/slow":
            with contextlib.suppress(OSError):
                for _ in range(100):  # five seconds
                    self.wfile.write(b" ")
                    time.sleep(0.05)
        with contextlib.suppress(OSError):
            while self.path == "/endless":
                self.wfile.write(b"x" * 65_536)
        self.wfile.write(b"x" * (MOST_BYTES + 1) if self.path == "/large" else b'{"keys":[]}')

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ssl.SSLContext]]:
    """The address of an https server on this machine, and what trusts it."""
    with over_tls(Answers, tmp_path_factory.mktemp("issuer")) as (address, certificate):
        yield address, ssl.create_default_context(cafile=str(certificate))


def test_a_key_set_comes_over_tls_that_is_verified(issuer: tuple[str, ssl.SSLContext]) -> None:
    address, trust = issuer
    assert fetch_https(f"{address}/keys", trust) == b'{"keys":[]}'
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_https(f"{address}/keys")


def test_redirects_errors_and_large_answers_are_refused(issuer: tuple[str, ssl.SSLContext]) -> None:
    address, trust = issuer
    Answers.asked.clear()
    with pytest.raises(ResourceError, match="302"):
        fetch_https(f"{address}/moved", trust)
    assert Answers.asked == ["/moved"]
    with pytest.raises(ResourceError, match="404"):
        fetch_https(f"{address}/gone", trust)
    with pytest.raises(ResourceError, match="more than"):
        fetch_https(f"{address}/large", trust)


def test_no_more_is_read_of_an_endless_answer_than_is_allowed(
    issuer: tuple[str, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read to its end first and measured then is held in memory, and ends by the clock."""
    monkeypatch.setattr("tunesmith.access.fetching.SECONDS", 1.5)
    address, trust = issuer
    with pytest.raises(ResourceError, match="more than"):
        fetch_https(f"{address}/endless", trust)


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_no_proxy_is_asked(issuer: tuple[str, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    address, trust = issuer
    assert fetch_https(f"{address}/keys", trust) == b'{"keys":[]}'


def test_an_answer_that_drips_is_cut_off(issuer: tuple[str, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout of the socket alone would never come: each read brings something."""
    monkeypatch.setattr("tunesmith.access.fetching.SECONDS", 0.5)
    address, trust = issuer
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        fetch_https(f"{address}/slow", trust)
    assert time.monotonic() - began < 3


ISSUER = "https://issuer.example"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"issuer": ISSUER + "/", "jwks_uri": "https://keys.example/keys"}, "another issuer"),
        ({"issuer": ISSUER, "jwks_uri": "http://keys.example/keys"}, "not at an https"),
        ({"issuer": ISSUER, "jwks_uri": 7}, "not at an https"),
        ({"issuer": ISSUER}, "no OpenID provider"),
        ([ISSUER], "another issuer"),
        (None, "another issuer"),
    ],
)
def test_a_description_of_another_issuer_or_without_https_is_refused(told: object, said: str) -> None:
    with pytest.raises(ResourceError, match=said):
        by_discovery(ISSUER, lambda _: json.dumps(told).encode())(ISSUER + WELL_KNOWN)


def test_the_keys_are_where_the_issuer_says() -> None:
    pages = {
        ISSUER + WELL_KNOWN: b'{"issuer": "https://issuer.example", "jwks_uri": "https://k/x"}',
        "https://k/x": b"k",
    }
    assert by_discovery(ISSUER, pages.__getitem__)(ISSUER + WELL_KNOWN) == b"k"
    with pytest.raises(ResourceError, match="no OpenID provider"):
        by_discovery(ISSUER, lambda _: b"<html>")(ISSUER + WELL_KNOWN)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/keys", "file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "", "https://", "https://a:b@c/"],
)
def test_other_schemes_are_refused(address: str) -> None:
    with pytest.raises(ResourceError, match="not https"):
        fetch_https(address)
