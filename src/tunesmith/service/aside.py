"""Work that takes as long as a model's pass, done beside the loop: on one thread, a text at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from tunesmith.service.refusals import NoAnswerError

T = TypeVar("T")
MOST_CHARACTERS = 262_144
"""Characters of all texts that may wait; a text has far fewer."""


class Aside:
    """A thread on which one piece of work after the other is done, in the order in which they came.

    What nobody waits for any more, since its client left or its deadline passed, is not begun.
    """

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        self._most = most
        self._waiting = 0

    async def done(self, work: Callable[[], T], size: int) -> T:
        """What some work on that many characters returns.

        Raises:
            NoAnswerError: too much waits already.
        """
        if self._waiting and self._waiting + size > self._most:
            raise NoAnswerError("overloaded", seconds=1)
        self._waiting += size
        try:
            return await asyncio.wrap_future(self._thread.submit(work))
        finally:
            self._waiting -= size

    def close(self) -> None:
        """End the thread, once what it does now is done; called where that may be waited for."""
        self._thread.shutdown(cancel_futures=True)


@asynccontextmanager
async def in_time(until: float) -> AsyncIterator[None]:
    """What is not done by then is given up.

    Raises:
        NoAnswerError: it was not done.
    """
    seconds = until - time.monotonic()
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + seconds):
            yield
    except TimeoutError as error:
        raise NoAnswerError("deadline", limit=max(0, round(1000 * seconds))) from error
