"""How large a request may be, looked at before anything is made of it.

A body is counted as it comes in, its JSON is scanned once before it is parsed, and texts are measured in characters
before they are tokenised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from tunesmith.access.refusals import RefusedError
from tunesmith.errors import TunesmithError

# All repeats are possessive, and what lacks its end is matched to the body's: no character is looked at twice.
_TOKENS = re.compile(
    rb"""[^"\[\]{},0-9+.-]*+("[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]|,|[-+.0-9][-+.0-9eE]*+|\Z)""", re.DOTALL
)
_TOKENS_PER_VALUE = 4
"""A value in an object has at most a key, its own text or bracket, a closing bracket and a comma."""


@dataclass(frozen=True)
class BodyLimits:
    """The most of everything.

    Attributes:
        bytes: of a body.
        depth: levels of brackets in it.
        values: values in it, counted as commas and opening brackets and one.
        number: characters of one number.
        items: texts of a request.
        characters: of one text.
        all_characters: of all texts of a request.
    """

    bytes: int = 4_000_000
    depth: int = 16
    values: int = 50_000
    number: int = 40
    items: int = 256
    characters: int = 100_000
    all_characters: int = 1_000_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise TunesmithError(
                    f"{name} is {value}.", where=f"limits.{name}", to_do="Give a whole number above 0."
                )


class BodyCounter:
    """The bytes of a body so far. What its header says of its length is not asked."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limit = limits.bytes
        self.count = 0

    def add(self, chunk: bytes) -> None:
        """Count a part of a body.

        Raises:
            RefusedError: it is too much (`body_too_large`); the rest need not be read.
        """
        self.count += len(chunk)
        if self.count > self._limit:
            raise RefusedError("body_too_large", {"limit": self._limit})


def check_json(body: bytes, limits: BodyLimits) -> None:
    """Scan JSON, in time that grows with its length alone, without making anything of it.

    Raises:
        RefusedError: `body_too_large`, `json_too_deep`, `json_too_large`, `json_number_too_long`; `not_json` where it
            is not UTF-8: in UTF-16 brackets could hide from the scan.
    """
    BodyCounter(limits).add(body)
    if b"\0" in body:
        raise RefusedError("not_json")
    depth, values = 0, 1
    for count, found in enumerate(_TOKENS.finditer(body)):
        token = found[1]
        first = token[:1]
        if first in (b"[", b"{"):
            depth += 1
            values += 1
            if depth > limits.depth:
                raise RefusedError("json_too_deep", {"limit": limits.depth})
        elif first in (b"]", b"}"):
            depth -= 1
        elif first == b",":
            values += 1
        elif first != b'"' and len(token) > limits.number:
            raise RefusedError("json_number_too_long", {"limit": limits.number})
        if values > limits.values or count > _TOKENS_PER_VALUE * limits.values + 1:
            raise RefusedError("json_too_large", {"limit": limits.values})
        if depth < 0:
            raise RefusedError("not_json")


def read_json(body: bytes, limits: BodyLimits) -> object:
    """The value that a body holds, scanned first.

    Raises:
        RefusedError: what `check_json` raises; `not_json` where it is none, a key stands twice in an object, or a
            number is none (NaN).
    """
    check_json(body, limits)
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        # The parser's error holds what was sent.
        raise RefusedError("not_json") from None


def check_texts(texts: Sequence[str], limits: BodyLimits) -> None:
    """Measure the texts of a request before they are tokenised.

    Raises:
        RefusedError: `no_items`, `too_many_items`, `text_too_long` (with its place, from 1) or `texts_too_long`.
    """
    if not texts:
        raise RefusedError("no_items")
    if len(texts) > limits.items:
        raise RefusedError("too_many_items", {"given": len(texts), "limit": limits.items})
    for item, text in enumerate(texts, 1):
        if len(text) > limits.characters:
            raise RefusedError("text_too_long", {"item": item, "given": len(text), "limit": limits.characters})
    total = sum(len(text) for text in texts)
    if total > limits.all_characters:
        raise RefusedError("texts_too_long", {"given": total, "limit": limits.all_characters})


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number")
