"""Standard error while a service runs: libraries write there what they like, texts of users among it; it is counted."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from tunesmith.access.logs import json_handler

log = logging.getLogger(__name__)
_EVERY = 0.5
"""Seconds between two looks, so that a library that writes much makes few lines."""
_TALKATIVE = ("uvicorn", "alembic")
"""Loggers whose everyday lines say nothing that whoever runs the service can use."""


@contextmanager
def hushed() -> Iterator[IO[str]]:
    """Count what this process and those that it starts write to descriptor 2 while the block runs; show none of it.

    A panic of a tokenizer, a trace of Python or a complaint of an allocator may hold what was read. Gives the stream
    that is shown, for log lines. If the process crashes, the places of the trace are still written to it, no values.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    threading.Thread(target=_count, args=(reading,), daemon=True, name="standard error").start()
    with os.fdopen(os.dup(shown), "w", encoding="utf-8", errors="backslashreplace", buffering=1) as stream:
        faulthandler.enable(stream)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = cast(Any, _warned)
                yield stream
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            faulthandler.disable()
            os.dup2(shown, 2)
            os.close(shown)


@contextmanager
def logged_to(stream: IO[str]) -> Iterator[None]:
    """Write log lines as JSON to a stream that is shown, and nowhere else, while the block runs."""
    root, talkative = logging.getLogger(), [logging.getLogger(name) for name in _TALKATIVE]
    handlers, level, levels = root.handlers[:], root.level, [one.level for one in talkative]
    root.handlers[:] = [json_handler(stream)]
    root.setLevel(logging.INFO)
    for one in talkative:
        one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for one, before in zip(talkative, levels, strict=True):
            one.setLevel(before)


def _warned(*told: Any) -> None:
    """Tell a warning's kind and place: `told` is message, category, file, line, as `warnings.showwarning` has it."""
    _, category, filename, lineno = told[:4]
    log.warning("%s at %s:%s", category.__name__, Path(filename).name, lineno)


def _count(descriptor: int) -> None:
    """Read until nobody writes any more; the reading never stops, since a full pipe would stop the writers."""
    while part := os.read(descriptor, 1 << 20):
        fields = {"bytes": len(part), "lines": part.count(b"\n")}
        log.warning("Standard error was written to; it may hold texts, and is not shown.", extra={"fields": fields})
        time.sleep(_EVERY)
    os.close(descriptor)
