"""A small file from an https address that the configuration names; no address of a request ever comes here."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tunesmith.errors import ResourceError

MOST_BYTES = 262_144
SECONDS = 5.0
WELL_KNOWN = "/.well-known/openid-configuration"
Fetch = Callable[[str], bytes]


def fetch_https(address: str, trust: ssl.SSLContext | None = None) -> bytes:
    """The bytes at an address. No redirect is followed and no proxy is asked.

    Connecting may take 5 seconds, and the whole answer another 5, however slowly it comes.

    Raises:
        ResourceError: the address is not https, or what comes is an error, a redirect, too much or no HTTP.
        OSError: it cannot be reached, has no certificate that is trusted, or is too slow.
    """
    try:
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            raise ResourceError("The address is not https.", where=address, to_do="Give an https address.")
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=SECONDS, context=trust)
        status, found = _answer(connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    except OSError:  # an untrusted certificate is a ValueError too
        raise
    except (http.client.HTTPException, ValueError) as error:
        raise ResourceError(
            "The answer is no HTTP, or the address is none.", where=address, to_do="Check the address."
        ) from error
    if status != http.client.OK:
        raise ResourceError(
            f"The answer has the status {status}, not 200; redirects are not followed.",
            where=address,
            to_do="Check the address.",
        )
    if len(found) > MOST_BYTES:
        raise ResourceError(
            f"The answer has more than {MOST_BYTES:,} bytes.", where=address, to_do="Check the address."
        )
    return found


def by_discovery(issuer: str, fetch: Fetch) -> Fetch:
    """What fetches an OpenID provider's keys, given the address of its own description.

    The description must name the issuer letter by letter (OpenID Connect Discovery 1.0, section 4.3), or else one
    provider could answer for another. The keys may lie at another host, as Google's do.
    """

    def found(address: str) -> bytes:
        try:
            told = json.loads(fetch(address))
            named, keys = (told["issuer"], told["jwks_uri"]) if isinstance(told, dict) else (None, None)
        except (ValueError, KeyError, RecursionError) as error:
            raise ResourceError(
                "This describes no OpenID provider.", where=address, to_do="Check the issuer, or give jwks_url."
            ) from error
        if named != issuer:
            raise ResourceError(
                "The description is of another issuer.", where=address, to_do="Write the issuer as it writes itself."
            )
        if not isinstance(keys, str) or not keys.startswith("https://"):
            raise ResourceError("The keys are not at an https address.", where=address, to_do="Give jwks_file.")
        return fetch(keys)

    return found


def _answer(connection: http.client.HTTPSConnection, target: str) -> tuple[int, bytes]:
    """Status and body. A timeout of a socket is for each read; all of them together are cut off by a clock."""
    cut: threading.Timer | None = None
    try:
        connection.connect()
        began = time.monotonic()
        cut = threading.Timer(SECONDS, connection.sock.shutdown, [socket.SHUT_RDWR])
        cut.daemon = True
        cut.start()
        connection.request("GET", target, headers={"accept": "application/json", "connection": "close"})
        answer = connection.getresponse()
        found = answer.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException):
        if cut is not None and time.monotonic() - began >= SECONDS:
            raise TimeoutError("the answer did not come in time") from None
        raise
    finally:
        if cut is not None:
            cut.cancel()
        connection.close()
    if time.monotonic() - began >= SECONDS:
        raise TimeoutError("the answer did not come in time")
    return answer.status, found
