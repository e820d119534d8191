"""Key stores, clocks and tokens for the tests of access."""

from __future__ import annotations

import base64
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tunesmith.access.key_store import KeyStore
from tunesmith.access.keys import Key
from tunesmith.access.principal import Limits


@dataclass
class Time:
    """A clock that is moved by hand."""

    at: datetime = field(default_factory=lambda: datetime(2026, 1, 1, 12, 30, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.at

    def move(self, **amount: float) -> None:
        self.at += timedelta(**amount)


@dataclass
class Watch:
    """A monotonic clock that is moved by hand."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


def store(folder: Path, now: Time | None = None) -> KeyStore:
    return KeyStore(folder / "state", now or Time())


def key_in(keys: KeyStore, *scopes: str, hours: float | None = 24) -> tuple[Key, str]:
    lifetime = None if hours is None else timedelta(hours=hours)
    return keys.create(scopes or ("predict",), Limits(1000, 10), name="test", by="ana", lifetime=lifetime)


def unsigned(header: dict, claims: dict, signature: str = "") -> str:
    """A token by hand, for what no library signs."""
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, claims)]
    return ".".join([*parts, signature])


@contextmanager
def over_tls(handler: type[BaseHTTPRequestHandler], place: Path) -> Iterator[tuple[str, Path]]:
    """The address of an https server on this machine, and the certificate that it is known by."""
    certificate = _certificate(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, place / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", certificate
        server.shutdown()
        thread.join()


def _certificate(place: Path) -> Path:
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
    return place / "cert.pem"
