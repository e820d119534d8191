"""A key set is fetched from the https address of the configuration: no redirect, no other scheme, no large answer."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tunesmith.access.fetching import MOST_BYTES, fetch_https
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
        self.wfile.write(b"x" * (MOST_BYTES + 1) if self.path == "/large" else b'{"keys":[]}')

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ssl.SSLContext]]:
    """The address of an https server on this machine, and what trusts it."""
    place: Path = tmp_path_factory.mktemp("issuer")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (place / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "key.pem").write_bytes(key.private_bytes(*plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", ssl.create_default_context(cafile=str(place / "cert.pem"))
        server.shutdown()
        thread.join()


def test_a_key_set_comes_over_tls_that_is_verified(issuer: tuple[str, ssl.SSLContext]) -> None:
    address, trust = issuer
    assert fetch_https(f"{address}/keys", trust) == b'{"keys":[]}'
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_https(f"{address}/keys")


def test_redirects_errors_and_large_answers_are_refused(issuer: tuple[str, ssl.SSLContext]) -> None:
    address, trust = issuer
    Answers.asked.clear()
    with pytest.raises(OSError, match="302") as moved:
        fetch_https(f"{address}/moved", trust)
    moved.value.close()  # type: ignore[attr-defined]
    assert Answers.asked == ["/moved"]
    with pytest.raises(OSError, match="404") as gone:
        fetch_https(f"{address}/gone", trust)
    gone.value.close()  # type: ignore[attr-defined]
    with pytest.raises(ResourceError, match="more than"):
        fetch_https(f"{address}/large", trust)


@pytest.mark.parametrize("address", ["http://127.0.0.1/keys", "file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", ""])
def test_other_schemes_are_refused(address: str) -> None:
    with pytest.raises(ResourceError, match="not https"):
        fetch_https(address)
