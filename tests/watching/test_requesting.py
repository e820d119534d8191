"""Where requests may go: https or this machine, no private network unless named; e-mail in clear nowhere else."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.watching.receivers import post_office, serving
from tunesmith.components import from_settings
from tunesmith.errors import RecipeError
from tunesmith.watching import requesting
from tunesmith.watching.delivering import Mail, MailServer, Webhook
from tunesmith.watching.evaluator import Alert
from tunesmith.watching.requesting import Address, RequestFailedError
from tunesmith.watching.rules import shipped

ALERT = Alert("NoWorkers", "page", (), 0.0, "firing", 0.0)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user:secret-word@example.org/",
        "https://",
        "https://[::1",
        "https://example.org:99999/",
        "127.0.0.1:8080/metrics",
        "https://10.0.0.1/hook",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
    ],
)
def test_an_address_that_may_not_be_asked_is_refused_at_once(url: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        Address(url)
    assert "secret-word" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8080/metrics", []),
        ("http://localhost:8080/metrics", []),
        ("http://[::1]:8080/metrics", []),
        ("https://hooks.example.org/a?b=c", []),
        ("http://tunesmith:8080/metrics", ["tunesmith"]),
        ("https://10.0.0.1/hook", ["10.0.0.1"]),
    ],
)
def test_an_address_that_may_be_asked_is_taken(url: str, allowed: list[str]) -> None:
    assert Address(url, frozenset(allowed)).url == url


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[Any]:
    """Let every name stand for these addresses; returns the connections that are tried."""
    tried: list[Any] = []

    def lookup(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    def connect(address: tuple[str, int], **_: object) -> socket.socket:
        tried.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.getaddrinfo", lookup)
    monkeypatch.setattr("socket.create_connection", connect)
    return tried


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0"])
def test_a_name_that_stands_for_a_private_address_is_refused_when_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = resolving_to(monkeypatch, "93.184.216.34", address)
    with pytest.raises(RecipeError, match="no public address"):
        Address("https://inside.example.org/hook").ask("GET")
    assert not tried


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = resolving_to(monkeypatch, "93.184.216.34")
    with pytest.raises(RequestFailedError):
        Address("https://example.org/hook").ask("GET")
    assert tried == [("93.184.216.34", 443)]


def test_localhost_must_be_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "10.0.0.1")
    with pytest.raises(RecipeError):
        Address("http://localhost:1/").ask("GET")


def test_a_host_that_is_named_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = resolving_to(monkeypatch, "10.0.0.1")
    with pytest.raises(RequestFailedError):
        Address("http://tunesmith:8080/", frozenset(["tunesmith"])).ask("GET")
    assert tried == [("10.0.0.1", 8080)]


def test_a_refusal_met_while_sending_is_said_and_final(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "10.0.0.1")
    hook = Webhook(Address("https://inside.example.org/secret-path"), shipped(), "en", "u")
    outcome = hook.send([ALERT])
    assert outcome.result == "refused"
    assert "secret-path" not in outcome.why


def test_a_redirect_is_not_followed() -> None:
    with serving(lambda path, _: (302, b"", {"Location": "/other"})) as web:
        assert Address(web.url + "/first").ask("GET").status == 302
        assert [path for path, _, _ in web.asked] == ["/first"]
        assert web.asked[0][1]["Host"] == f"127.0.0.1:{web.port}"


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requesting, "LARGEST_ANSWER", 1000)
    with serving(lambda *_: (200, b"x" * 2000, {})) as web, pytest.raises(RequestFailedError):
        Address(web.url).ask("GET")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and a server's context with it."""
    x509 = pytest.importorskip("cryptography.x509")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    tools = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    secret = key.private_bytes(tools.Encoding.PEM, tools.PrivateFormat.PKCS8, tools.NoEncryption())
    path.write_bytes(made.public_bytes(tools.Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    authority = folder / "ca.pem"
    authority.write_bytes(made.public_bytes(tools.Encoding.PEM))
    return authority, context


def test_e_mail_says_nothing_before_starttls(tmp_path: Path) -> None:
    authority, context = certificate(tmp_path)
    password = tmp_path / "password"
    password.write_text("pass-word", encoding="utf-8")
    password.chmod(0o600)
    with post_office(context=context, login=True) as post:
        server = MailServer(
            port=post.port, user="u", password_file=str(password), starttls=True, ca_file=str(authority)
        )
        assert Mail(server, ("a@example.org",), shipped(), "zh").send([ALERT]).result == "sent"
    assert {line.split(" ")[0].upper() for secret, line in post.lines if not secret} == {"EHLO", "STARTTLS"}
    assert [line.split(" ")[0] for secret, line in post.lines if secret][:2] == ["ehlo", "AUTH"]
    assert len(post.messages) == 1


def test_e_mail_is_not_sent_to_a_server_with_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    with post_office(context=context) as post:
        server = MailServer(port=post.port, starttls=True)
        assert Mail(server, ("a@example.org",), shipped(), "en").send([ALERT]).result == "failed"
    assert not post.messages


def test_e_mail_is_not_sent_in_clear_where_starttls_is_needed() -> None:
    with post_office() as post:
        server = MailServer(port=post.port, starttls=True)
        assert Mail(server, ("a@example.org",), shipped(), "en").send([ALERT]).result == "failed"
    assert not [line for _, line in post.lines if line.upper().startswith(("MAIL", "RCPT", "DATA"))]


def test_a_server_that_speaks_no_smtp_is_a_failure_that_is_tried_again() -> None:
    with serving(lambda *_: (200, b"", {})) as web:
        outcome = Mail(MailServer(port=web.port), ("a@example.org",), shipped(), "en").send([ALERT])
    assert outcome.result == "failed"


def test_a_server_elsewhere_always_needs_tls() -> None:
    assert MailServer(host="mail.example.org", port=587).needs_starttls
    assert not MailServer(host="mail.example.org", port=465).needs_starttls
    assert not MailServer().needs_starttls
    with pytest.raises(RecipeError, match="needs TLS"):
        from_settings(MailServer, {"host": "mail.example.org", "starttls": False})


@pytest.mark.parametrize("receiver", ["", "a", "a@b@c", "a@b\r\nBcc: c@d", "a@b,c@d", "<a@b>", "a b@c"])
def test_a_receiver_that_is_no_address_is_refused(receiver: str) -> None:
    with pytest.raises(RecipeError):
        Mail(MailServer(), (receiver,), shipped(), "en")
