"""The texts of rows encrypted and opened: which columns hold any, and for which rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.remembered.stored_text import OWN_TEXT, WRITTEN
from tunesmith.remembered.text_keys import TextKeys, is_sealed, lost

ENCRYPTED = ("raw",)
"""The policies under which texts are encrypted."""
OF_ANSWERS = ("text", "further", "answer")
OF_FEEDBACK = ("right_answer", "comment")
_JSON = ("further", "answer", "right_answer")
_SAYS_LABELS = ("answer", "right_answer")
"""Columns that hold labels, which stay in the clear, or written texts and words of spans, which do not."""


def sealed_row(
    row: Mapping[str, Any], columns: Sequence[str], keys: TextKeys | None, *identity: str | int
) -> dict[str, Any]:
    """A row with the texts of these columns encrypted under the newest key.

    Raises:
        StoreError: there are no keys.
    """
    sealed = dict(row)
    for name in columns:
        value = row[name]
        if _says_text(name, value):
            if keys is None:
                raise lost("(none)", None)
            said = json.dumps(value, ensure_ascii=False) if name in _JSON else value
            sealed[name] = keys.sealed(said, *identity, name)
    return sealed


def opened_row(
    row: Mapping[str, Any], columns: Sequence[str], keys: TextKeys | None, *identity: str | int
) -> dict[str, Any]:
    """A row with the texts of these columns as they came.

    Raises:
        StoreError: a key is not there, or a value was changed or stood in another row.
    """
    opened = dict(row)
    for name in columns:
        if is_sealed(row[name]):
            if keys is None:
                raise lost(key_of(row[name]), None)
            said = keys.opened(row[name], *identity, name)
            opened[name] = json.loads(said) if name in _JSON else said
    return opened


def key_of(value: str) -> str:
    """The id of the key under which a value was encrypted."""
    return value.split(":", 3)[2]


def is_clear(name: str, value: object) -> bool:
    """Whether a column's value holds a text that is not encrypted."""
    return not is_sealed(value) and _says_text(name, value)


def _says_text(name: str, value: object) -> bool:
    return bool(value) and (name not in _SAYS_LABELS or holds_text(value))


def holds_text(value: object) -> bool:
    """Whether an answer holds more than labels, numbers and places: written text, or the words of spans."""
    if isinstance(value, Mapping):
        return any(key in (*WRITTEN, *OWN_TEXT) or holds_text(inner) for key, inner in value.items())
    return isinstance(value, Sequence) and not isinstance(value, str) and any(holds_text(one) for one in value)
