"""A small file from an https address that the configuration names; no address of a request ever comes here."""

from __future__ import annotations

import http.client
import ssl
import urllib.request

from tunesmith.errors import ResourceError

MOST_BYTES = 262_144
SECONDS = 5.0


def fetch_https(address: str, trust: ssl.SSLContext | None = None) -> bytes:
    """The bytes at an address. No redirect is followed and no proxy is asked.

    Raises:
        ResourceError: the address is not https, or what comes is too much or no HTTP.
        OSError: it cannot be reached, answers with an error or a redirect, or not within 5 seconds.
    """
    if not address.startswith("https://"):
        raise ResourceError("The address is not https.", where=address, to_do="Give an https address.")
    try:
        with _opener(trust).open(address, timeout=SECONDS) as answer:
            found: bytes = answer.read(MOST_BYTES + 1)
    except http.client.HTTPException as error:
        raise ResourceError("The answer is no HTTP.", where=address, to_do="Check the address.") from error
    if len(found) > MOST_BYTES:
        raise ResourceError(
            f"The answer has more than {MOST_BYTES:,} bytes.", where=address, to_do="Check the address."
        )
    return found


def _opener(trust: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """What opens https addresses and nothing else: the handlers of files, redirects and proxies are not in it."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPSHandler(context=trust),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
