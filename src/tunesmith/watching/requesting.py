"""Requests to an address that a user gave: https or this machine, no private network unless named, no redirects."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from tunesmith.errors import RecipeError

TIMEOUT = 5.0
LARGEST_ANSWER = 16_000_000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RequestFailedError(Exception):
    """A request that got no answer: no such host, no connection, too slow, too large. It may be tried again."""


@dataclass(frozen=True)
class Answer:
    """Status, body and the seconds that the server asks to wait before another try."""

    status: int
    body: bytes
    retry_after: float = 0.0


@dataclass(frozen=True)
class Address:
    """Where requests go. Its host is looked up, and checked, at each request."""

    url: str
    allowed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        parts = self.parts
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise RecipeError(
                "The address is none of http or https, or holds a password.",
                where=_shown(self.url),
                to_do="Write it like https://host/path; keys belong into files.",
            )
        try:
            numeric = ipaddress.ip_address(parts.hostname)
        except ValueError:
            numeric = None
        is_here = parts.hostname == "localhost" or (numeric is not None and numeric.is_loopback)
        if parts.scheme == "http" and not is_here and parts.hostname not in self.allowed:
            raise RecipeError(
                "Plain http is for this machine only: others could read and change what is sent.",
                where=_shown(self.url),
                to_do="Use https, or name the host under deliver.allowed_hosts.",
            )
        if numeric is not None:
            self._check(str(numeric))

    @property
    def parts(self) -> SplitResult:
        """The address in its parts; a port that is none is an error of the user."""
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise RecipeError("The address cannot be read.", to_do="Write it like https://host:443/path.") from error
        return parts

    def ask(self, method: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Ask, and give the answer whatever its status; a redirect is not followed.

        Raises:
            RequestFailedError: there was no answer.
            RecipeError: the host stands for an address that is refused.
        """
        parts = self.parts
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        try:
            connection.sock = self._connected(host, port, secure=secure)
            connection.request(method, path, body=body or None, headers={"Host": parts.netloc, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, _read(response), _seconds(response.getheader("Retry-After")))
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
            raise RequestFailedError(f"{type(error).__name__}") from error
        finally:
            connection.close()

    def _connected(self, host: str, port: int, *, secure: bool) -> socket.socket:
        # The address that was checked is the one that is connected to: a name may stand for another a moment later.
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for address in found:
            self._check(address)
        plain = socket.create_connection((found[0], port), timeout=TIMEOUT)
        if not secure:
            return plain
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        except (OSError, ValueError):
            plain.close()
            raise

    def _check(self, address: str) -> None:
        host = self.parts.hostname or ""
        number = ipaddress.ip_address(address.partition("%")[0])
        mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
        number = mapped or number
        if host in self.allowed or _is_public(number) or (number.is_loopback and _names_loopback(host)):
            return
        raise RecipeError(
            f"The host '{host}' stands for {number}, which is no public address.",
            where=_shown(self.url),
            to_do="If it is yours, name the host under deliver.allowed_hosts.",
        )


def _is_public(number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # NAT64 and 6to4 carry an IPv4 address, which may be a private one, in a global address.
    if isinstance(number, ipaddress.IPv6Address) and (number in _NAT64 or number.sixtofour is not None):
        return False
    return number.is_global and not number.is_multicast


def _names_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body, within size and time: a timeout of the socket alone bounds only the wait for each piece."""
    until = time.monotonic() + 2 * TIMEOUT
    pieces, size = [], 0
    while piece := response.read1(65536):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_ANSWER or time.monotonic() > until:
            raise ValueError("the answer is too large or too slow")
    return b"".join(pieces)


def _seconds(header: str | None) -> float:
    return float(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 6 else 0.0


def _shown(url: str) -> str:
    """Scheme and host only: the path of a webhook is often its secret."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}"
    except ValueError:
        return "address"
