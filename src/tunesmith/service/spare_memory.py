"""Memory that is free, but that the C library keeps: handed back to the system from time to time.

What oneDNN remembers of each shape of batch (a small block, kept for long) lies between blocks as large as a batch that
are free again, so that the heap of a worker that reads texts of all lengths grows by hundreds of megabytes in an hour,
of which next to nothing is in use. glibc hands such pages back when it is asked to.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

EVERY = 10.0
"""Seconds between two times. One takes some milliseconds, and what is used again has to be fetched again."""


class SpareMemory:
    """What keeps a worker's memory from growing, where the C library can do it (glibc); elsewhere nothing happens."""

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._last = time.monotonic()
        self._trim: Callable[[int], object] | None = None
        try:
            self._trim = ctypes.CDLL(None).malloc_trim
        except (AttributeError, OSError, TypeError):  # macOS and musl have no such function, Windows no such library
            return

    def hand_back(self) -> None:
        """Hand back what is free, if the last time is long enough ago."""
        now = time.monotonic()
        if self._trim is not None and now - self._last >= self._every:
            self._trim(0)
            self._last = now
