"""Requests to chat completions over HTTP: limits on time and size, and tries with waits between them."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tunesmith.errors import ModelError

LARGEST = 4 << 20
"""The most bytes of an answer that are read."""

LONGEST_WAIT = 60.0
"""The longest wait between two tries, in seconds, also where the server asks for more."""

_LOCAL = ("localhost", "127.0.0.1", "::1")

_PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
_MEANING = {401: "the key is not accepted", 403: "the key does not allow it", 404: "there is no such place or model",
            429: "too many requests, or no credit"}  # fmt: skip


@dataclass(frozen=True)
class Requests:
    """Where and how requests are made."""

    url: str
    model: str
    key: str = field(repr=False)
    temperature: float
    max_new_tokens: int
    timeout: float
    tries: int

    def answer(self, text: str) -> str:
        """What the model answers to a text; empty where it had not ended after the most tokens.

        Raises:
            ModelError: it refuses, or no try succeeds, or what comes is no answer.
        """
        for number in range(self.tries):
            try:
                return _said(self._read(text), self.url)
            except urllib.error.HTTPError as error:
                with error:
                    reason, wait = self._reason(error), error.headers.get("Retry-After", "")
                if error.code not in _PASSING:
                    raise self._failed(reason) from None
            except (OSError, http.client.HTTPException) as error:
                reason, wait = f"{error.__class__.__name__}: {error}", ""
            if number + 1 < self.tries:
                time.sleep(_pause(number, wait))
        raise self._failed(f"{reason}, {self.tries} times")

    def _read(self, text: str) -> bytes:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": 0,
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            f"{self.url}/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        ends = time.monotonic() + self.timeout
        with _opener(self.url).open(request, timeout=self.timeout) as response:
            parts: list[bytes] = []
            while part := response.read1(65536):
                parts.append(part)
                if sum(map(len, parts)) > LARGEST:
                    raise self._failed(f"the answer has more than {LARGEST >> 20} MiB")
                if time.monotonic() > ends:
                    raise TimeoutError(f"the answer took longer than {self.timeout:g} s")
            return b"".join(parts)

    def _reason(self, error: urllib.error.HTTPError) -> str:
        if 300 <= error.code < 400:
            return f"it answers {error.code} and points elsewhere, which is not followed"
        # What it says besides may repeat the text that was sent, which must not get into logs.
        meaning = _MEANING.get(error.code, "")
        return f"it answers {error.code}" + (f" ({meaning})" if meaning else "")

    def _failed(self, reason: str) -> ModelError:
        known = f"The endpoint gives no answer: {reason.replace(self.key, '...') if self.key else reason}"
        return ModelError(known, where=self.url, to_do="What was answered before is kept; mend it and run again.")


def is_local(url: str) -> bool:
    """Whether a URL is of this machine."""
    return urlsplit(url).hostname in _LOCAL


def _opener(url: str) -> urllib.request.OpenerDirector:
    """What opens URLs without following them elsewhere: the key and the texts go to this place alone.

    What is on this machine is reached without a proxy.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if is_local(url) else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _pause(number: int, asked: str) -> float:
    """Seconds before the next try: what the server asks for, or ever longer, with some chance in it."""
    wanted = float(asked) if asked.isascii() and asked.isdigit() else 2.0**number * (0.5 + random.random() / 2)
    return min(LONGEST_WAIT, wanted)


def _said(content: bytes, url: str) -> str:
    """The text of an answer; empty where it was cut.

    Raises:
        ModelError: it has not the form of a chat completion.
    """
    try:
        choice = json.loads(content)["choices"][0]
        said, is_cut = choice["message"]["content"], choice.get("finish_reason") == "length"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        said, is_cut = None, False
    if not isinstance(said, str):
        raise ModelError(
            "The endpoint's answer is no chat completion.", where=url, to_do="See that the url ends before /chat."
        )
    return "" if is_cut else said
