"""A client of the service: typed answers, errors with their code, and tries again where that is safe.

client = Client("http://127.0.0.1:8080", key)
(answer,) = client.predict("sentiment", ["A good film."])
print(answer.label, answer.confidence)
client.feedback(answer, "wrong", {"label": "bad"})
"""

from __future__ import annotations

import http.client
import json
import random
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from tunesmith.errors import TunesmithError

TRIED_AGAIN = (429, 502, 503)
"""Statuses after which the same request is sent again: nothing was answered, and answers change nothing."""


class RequestError(TunesmithError):
    """A request was not answered.

    Attributes:
        status: the HTTP status; 0 where the service could not be reached.
        code: the service's stable code.
        request_id: by which the service's log knows the request.
    """

    def __init__(self, what: str, *, status: int = 0, code: str = "unreachable", request_id: str = "") -> None:
        super().__init__(what, where=f"request {request_id}" if request_id else "")
        self.status = status
        self.code = code
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question; see `Prediction` for what label, confidence and scores mean.

    Attributes:
        request_id, number: by which feedback names this answer.
        version: the version of the model that answered.
        label: a class or a written text, a number, several classes, or spans as mappings; None where a guard had it
            say that it does not know.
        confidence: the probability of the answer; None where there is none.
        scores: the probability of each class, or of the best answers or items.
        answer: the answer to a question about a passage; empty for "no answer", None for other tasks.
        unknown: by language ("en", "zh") what a guard says in the place of an answer; empty where there is one.
    """

    request_id: str
    number: int
    version: str
    label: Any
    confidence: float | None
    scores: Mapping[str, float]
    answer: str | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


class Client:
    """Asks one service over one connection, which is opened anew when it breaks; not for several threads at once.

    Args:
        address: such as "http://127.0.0.1:8080"; keys travel by https alone, or within this machine.
        key: the service's key.
        seconds: the most for one try.
        tries: how often a request that was not answered is sent.
    """

    def __init__(self, address: str, key: str, *, seconds: float = 30.0, tries: int = 4) -> None:
        parts = urlsplit(address)
        if not parts.hostname:
            raise TunesmithError(
                "The address has no scheme.",
                where=address,
                to_do=f"Write http://{address}, or https:// for other machines.",
            )
        is_local = parts.hostname in {"127.0.0.1", "::1", "localhost"}
        if parts.scheme not in {"http", "https"} or (parts.scheme == "http" and not is_local):
            raise TunesmithError(
                "The key would travel in the clear.",
                where=address,
                to_do="Use https, or an address of this machine (a tunnel, a proxy).",
            )
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port or (443 if secure else 80), timeout=seconds)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._address = address
        self._seconds = seconds
        self._tries = tries

    def models(self) -> list[str]:
        """The names of the served models."""
        return [str(one["id"]) for one in self._told("GET", "/v1/models")["data"]]

    def describe(self, model: str) -> dict[str, Any]:
        """What a model is: task, labels, what a question must have, versions."""
        return self._told("GET", f"/v1/models/{quote(model, safe='')}")

    def predict(self, model: str, inputs: Sequence[str | Mapping[str, Any]], *, version: str = "") -> list[Answer]:
        """Answer texts, or questions as mappings ({"text": ..., "second": ...}), in the order given.

        Raises:
            RequestError: they were not answered.
        """
        _see_several(inputs, "inputs")
        body = {"inputs": list(inputs), **({"version": version} if version else {})}
        told = self._told("POST", f"/v1/models/{quote(model, safe='')}/predict", body)
        return [
            Answer(
                told["request_id"],
                number,
                told["version"],
                one.get("label"),
                one.get("confidence"),
                one.get("scores", {}),
                one.get("answer"),
                one.get("unknown", {}),
            )
            for number, one in enumerate(told["answers"])
        ]

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """The texts' embeddings, each with a length of 1."""
        _see_several(texts, "texts")
        told = self._told("POST", "/v1/embeddings", {"model": model, "input": list(texts)})
        return [list(one["embedding"]) for one in told["data"]]

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> str:
        """What a model that writes answers to a dialogue; where nothing is said it writes as its artifact says."""
        wishes = {"max_tokens": max_tokens, "temperature": temperature}
        wanted = {name: value for name, value in wishes.items() if value is not None}
        body = {"model": model, "messages": list(messages), **wanted}
        return str(self._told("POST", "/v1/chat/completions", body)["choices"][0]["message"]["content"])

    def feedback(
        self,
        answer: Answer,
        verdict: Literal["correct", "wrong"],
        right: Mapping[str, Any] | None = None,
        *,
        comment: str = "",
    ) -> str:
        """Say whether an answer was right; the id of what is on disk by then. Sent again, it is stored once.

        Args:
            answer: as `predict` gave it.
            verdict: "correct" or "wrong".
            right: of a wrong answer the right one, as {"label": "bad"} or {"spans": [...]}, where it is known.
            comment: in your words.

        Raises:
            RequestError: it was not taken; the service may have been started without --store.
        """
        body = {
            "request_id": answer.request_id,
            "item": answer.number,
            "verdict": verdict,
            "comment": comment,
            "idempotency_key": secrets.token_hex(8),
            **({"right": right} if right is not None else {}),
        }
        return str(self._told("POST", "/v1/feedback", body)["id"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _told(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        error = RequestError("The service was not asked.")
        for wait in self._waits():
            try:
                self._connection.request(method, path, content, self._headers)
                response = self._connection.getresponse()
                raw = response.read()
            except (OSError, http.client.HTTPException) as broken:
                self._connection.close()
                error = RequestError(
                    f"The service at {self._address} cannot be reached: {str(broken) or type(broken).__name__}."
                )
                time.sleep(wait)
                continue
            if response.status < 400:
                told: dict[str, Any] = json.loads(raw)
                return told
            error = _error(response, raw)
            if response.status not in TRIED_AGAIN:
                break
            time.sleep(min(self._seconds, max(wait, float(response.headers.get("Retry-After") or 0))) if wait else 0)
        raise error

    def _waits(self) -> Iterator[float]:
        """Seconds to wait after each try: twice as long each time, spread, none after the last."""
        for number in range(self._tries):
            yield random.uniform(0.5, 1.0) * 0.2 * 2**number if number + 1 < self._tries else 0.0


def _see_several(given: object, name: str) -> None:
    if isinstance(given, str | Mapping):
        raise TunesmithError(f"One {name[:-1]} alone is no list.", where=name, to_do="Give a list, of one if need be.")


def _error(response: http.client.HTTPResponse, raw: bytes) -> RequestError:
    try:
        told = json.loads(raw)
    except ValueError:
        told = {}
    inner = told.get("error") if isinstance(told.get("error"), dict) else told
    said = inner.get("detail") or inner.get("message") or f"The service answered with status {response.status}."
    return RequestError(
        str(said),
        status=response.status,
        code=str(inner.get("code") or response.status),
        request_id=response.headers.get("X-Request-ID") or "",
    )
