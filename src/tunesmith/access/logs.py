"""Log lines of the service as JSON, without texts of users, keys, and messages of foreign errors.

What is not known to be harmless is left out: of errors their kind and the places of the trace, of values other than
numbers, words and their lists the kind, of other packages' messages the words that were put into them.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, cast

from tunesmith.access.refusals import RefusedError
from tunesmith.access.secrets_in_text import without_secrets
from tunesmith.access.user_text import UserText

LONGEST_EVENT = 500
LONGEST_FIELD = 200
MOST_FIELDS = 40
DEEPEST = 3
MOST_FRAMES = 30

FIXED = ("uvicorn", "asyncio")
"""Loggers of others whose messages begin with a line that holds nothing of a request."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered; "" outside of one."""


class JsonLines:
    """A formatter: one JSON object per record, with time, level, logger, event, request id, fields, error.

    `own` are the loggers whose words are ours; of all others the words put into a message are replaced by their length,
    and only its first line is kept. A message of others that has no places to put words in may have been put together
    before: its length and place are told alone, but for `FIXED`. Fields are given as `extra={"fields": {...}}`.
    """

    def __init__(self, own: Sequence[str] = ("tunesmith",)) -> None:
        self._own = tuple(own)

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._event(record),
        }
        if request := request_id.get():
            line["request_id"] = _word(request, LONGEST_FIELD)
        fields = record.__dict__.get("fields")
        if isinstance(fields, Mapping) and fields:
            line["fields"] = harmless(fields)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = told_error(record.exc_info[1])
        # Half of a surrogate pair is no Unicode; as an escape it is.
        return json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace").decode("utf-8")

    def _event(self, record: logging.LogRecord) -> str:
        is_own = any(record.name == name or record.name.startswith(f"{name}.") for name in self._own)
        given = record.args or ()
        form = record.msg if isinstance(record.msg, str) else str(_argument(record.msg, is_own))
        if not is_own and not given and not record.name.startswith(FIXED):
            return f"{UserText(form)!r} at {record.module}:{record.lineno}"
        if isinstance(given, Mapping):
            args: object = {key: _argument(value, is_own) for key, value in given.items()}
        else:
            args = tuple(_argument(value, is_own) for value in given)
        try:
            said = form % args if given else form
        except (TypeError, ValueError, KeyError):
            said = f"{form} <its values do not fit>"
        return _word(said if is_own else said.partition("\n")[0], LONGEST_EVENT)


def harmless(value: object, depth: int = 0) -> object:
    """A value of a field with everything left out that might hold a user's text or a secret."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _word(value, LONGEST_FIELD)
    if isinstance(value, UserText):
        return repr(value)
    if isinstance(value, BaseException):
        return told_error(value)
    if depth < DEEPEST and isinstance(value, Mapping):
        kept = list(value.items())[:MOST_FIELDS]
        return {_word(str(key), LONGEST_FIELD): harmless(item, depth + 1) for key, item in kept}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [harmless(item, depth + 1) for item in list(value)[:MOST_FIELDS]]
    return f"<{type(value).__name__}>"


def told_error(error: BaseException) -> dict[str, object]:
    """An error by its kind, the length of its message, and the places of its trace; of our refusals the code too."""
    told: dict[str, object] = {"kind": type(error).__name__}
    if isinstance(error, RefusedError):
        told["code"] = error.code
    else:
        told["message"] = repr(UserText(str(error)))
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    told["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        told["cause"] = type(cause).__name__
    return told


def json_handler(stream: IO[str], own: Sequence[str] = ("tunesmith",)) -> logging.Handler:
    """A handler that writes such lines to a stream; nothing else of a record reaches it."""
    handler = logging.StreamHandler(stream)
    # `Handler.format` asks a formatter for `format` alone.
    handler.setFormatter(cast(logging.Formatter, JsonLines(own)))
    handler.handleError = _say_that_it_failed  # type: ignore[method-assign]
    return handler


def _say_that_it_failed(record: logging.LogRecord) -> None:
    """What a handler does that cannot write; logging's own way prints the record with all that was put into it."""
    sys.stderr.write(f"a log line of {record.name} could not be written\n")


def _argument(value: object, is_own: bool) -> object:
    """What is put into a message: numbers as they are, own words without secrets, of all else the kind or length."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return without_secrets(value) if is_own else repr(UserText(value))
    if isinstance(value, BaseException):
        return type(value).__name__
    return repr(value) if isinstance(value, UserText) else f"<{type(value).__name__}>"


def _word(text: str, longest: int) -> str:
    kept = without_secrets(text)
    return kept if len(kept) <= longest else f"{kept[:longest]} <{len(kept) - longest} more characters>"
