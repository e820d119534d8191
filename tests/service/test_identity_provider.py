"""Tokens of an identity provider, end to end: a provider over TLS on this machine, `tunesmith serve` as a program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.access.makers import over_tls, unsigned
from tests.service.running import FakeEngine, Response, Running, running, said_until
from tunesmith.access.bearer_tokens import TokenRules, TokenVerifier
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import Limits
from tunesmith.service.serving import Doors
from tunesmith.service.versions import read_version

SIGNER, STRANGER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
KEYS = {"now": SIGNER}
"""What the provider signs with, by key id."""


class Provider(BaseHTTPRequestHandler):
    """An OpenID provider: its description and its keys."""

    def do_GET(self) -> None:
        address = f"https://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        pages: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": address, "jwks_uri": f"{address}/keys"},
            "/keys": {"keys": [public(kid, key) for kid, key in KEYS.items()]},
        }
        self.send_response(200 if self.path in pages else 404)
        self.end_headers()
        self.wfile.write(json.dumps(pages.get(self.path, {})).encode())

    def log_message(self, format: str, *args: object) -> None: ...


def public(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


@dataclass
class Signing:
    """Makes tokens of a provider."""

    issuer: str

    def claims(self, **changes: Any) -> dict[str, Any]:
        told = {"iss": self.issuer, "aud": "tunesmith", "sub": "ana@example.org", "exp": int(time.time()) + 600}
        return {**told, "scope": "openid predict", **changes}

    def token(self, key: Any = SIGNER, kid: str = "now", algorithm: str = "RS256", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), key, algorithm, headers={"kid": kid})

    def by_the_public_key(self) -> str:
        """Signed by HMAC with the public key, which everybody knows (RFC 8725, section 2.1)."""
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        mac = hmac.HMAC(SIGNER.public_key().public_bytes(*form), hashes.SHA256())
        head, body, _ = unsigned({"alg": "HS256", "kid": "now"}, self.claims()).split(".")
        mac.update(f"{head}.{body}".encode())
        return f"{head}.{body}.{jwt.utils.base64url_encode(mac.finalize()).decode()}"


def asked(service: Running, credential: str, path: str = "/v1/models/classes/predict") -> Response:
    return service.post(path, {"inputs": ["a film"]}, authorization=f"Bearer {credential}")


@contextmanager
def served(artifact: Path, *options: str, environment: Mapping[str, str]) -> Iterator[tuple[Running, str]]:
    """`tunesmith serve` as a program, and what it printed until it was ready."""
    command = [sys.executable, "-m", "tunesmith", "serve", f"classes={artifact}", "--port", "0", "--workers", "1"]
    told = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=told) as process:
        said = said_until(process, "Tokens of")
        (listening,) = [line for line in said.splitlines() if line.startswith("Listening at")]
        try:
            yield Running(int(listening.rpartition(":")[2])), said
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_tokens_of_a_provider_let_in_and_wrong_ones_do_not(artifacts: dict[str, Path], tmp_path: Path) -> None:
    with over_tls(Provider, tmp_path) as (issuer, certificate):
        options = ("--issuer", issuer, "--audience", "tunesmith", "--state", str(tmp_path / "state"))
        signing = Signing(issuer)
        trust = {"SSL_CERT_FILE": str(certificate)}
        with served(artifacts["classes"], *options, environment=trust) as (service, said):
            assert f"Tokens of {issuer} for 'tunesmith' are taken" in said
            assert "could not" not in said
            good = asked(service, signing.token())
            assert good.status == 200, good.text
            assert asked(service, signing.token(), "/admin/models/classes:load").status == 403
            assert asked(service, signing.token(scope="openid")).status == 403
            secret = said.partition("Key ")[2].split()[0]
            assert asked(service, secret).status == 200, "keys hold beside tokens"
            expired = asked(service, signing.token(exp=int(time.time()) - 60))
            assert (expired.status, expired.body["code"]) == (401, "expired_token")
            wrong = {
                "audience": signing.token(aud="another"),
                "issuer": signing.token(iss="https://another.example"),
                "signer": signing.token(STRANGER),
                "key id": signing.token(STRANGER, kid="stranger"),
                "unsigned": unsigned({"alg": "none", "kid": "now"}, signing.claims()),
                "public key as secret": signing.by_the_public_key(),
            }
            for what, token in wrong.items():
                answer = asked(service, token)
                assert (answer.status, answer.body["code"]) == (401, "invalid_token"), what
                assert answer.headers["www-authenticate"] == "Bearer"


@dataclass
class SlowIssuer:
    """Keys that come when the test lets them, or never."""

    may: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    asked: int = 0
    is_down: bool = False

    def __call__(self, address: str) -> bytes:
        self.asked += 1
        self.begun.set()
        if self.is_down:
            raise ConnectionRefusedError
        assert self.may.wait(30)
        return json.dumps({"keys": [public("now", SIGNER)]}).encode()


@contextmanager
def with_issuer(issuer: SlowIssuer, artifact: Path, state: Path) -> Iterator[tuple[Running, str]]:
    """A service in this process whose keys of tokens come from there, and a key of its own."""
    rules = TokenRules("https://issuer.example", "tunesmith", ("RS256",), jwks_url="https://issuer.example/keys")
    store = KeyStore(state)
    _, secret = store.create(("predict",), Limits(), name="", by="test", lifetime=None)
    gate = Gate(store, TokenVerifier(rules, rules.signing_keys(issuer)))
    version = read_version(artifact, name="classes")
    with running([version], FakeEngine(), doors=Doors(gate, store.audit)) as service:
        yield service, secret


def test_others_are_answered_while_keys_are_fetched(artifacts: dict[str, Path], tmp_path: Path) -> None:
    issuer, signing = SlowIssuer(), Signing("https://issuer.example")
    with with_issuer(issuer, artifacts["classes"], tmp_path / "state") as (service, secret):
        statuses: list[int] = []
        waiting = [
            threading.Thread(target=lambda: statuses.append(asked(service, signing.token()).status)) for _ in range(12)
        ]
        for one in waiting:
            one.start()
        assert issuer.begun.wait(10)
        for _ in range(5):
            assert asked(service, secret).status == 200, "the loop is not blocked"
        assert not statuses
        issuer.may.set()
        for one in waiting:
            one.join(30)
        assert statuses == [200] * 12
        assert issuer.asked == 1, "one fetch for all that wait"


def test_an_issuer_that_cannot_be_reached_is_said_and_breaks_nothing(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    issuer, signing = SlowIssuer(is_down=True), Signing("https://issuer.example")
    with with_issuer(issuer, artifacts["classes"], tmp_path / "state") as (service, secret):
        for _ in range(30):  # more than wrong keys would be let try
            answer = asked(service, signing.token())
            assert (answer.status, answer.body["code"]) == (503, "signers_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        chinese = service.post(
            "/v1/models/classes/predict", {}, authorization=f"Bearer {signing.token()}", accept_language="zh"
        )
        assert "公钥" in chinese.body["detail"]
        assert asked(service, secret).status == 200
        assert issuer.asked == 1


def test_a_service_starts_without_its_issuer_and_says_so(artifacts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "tokens.yaml").write_text(
        "issuer: https://127.0.0.1:9\naudience: tunesmith\nalgorithms: [RS256]\n", encoding="utf-8"
    )
    options = ("--tokens", str(tmp_path / "tokens.yaml"), "--state", str(tmp_path / "state"))
    with served(artifacts["classes"], *options, environment={}) as (service, said):
        secret = said.partition("Key ")[2].split()[0]
        assert asked(service, secret).status == 200
        assert asked(service, Signing("https://127.0.0.1:9").token()).status == 503
