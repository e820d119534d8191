"""What a service does beside its requests: every some minutes, on a thread, and once more when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from tunesmith.errors import TunesmithError

log = logging.getLogger(__name__)
EVERY = 300.0


class Chores:
    """Work that is done again and again. What fails is logged, and done the next time."""

    def __init__(self, work: Sequence[Callable[[], object]], seconds: float = EVERY) -> None:
        self._work = tuple(work)
        self._seconds = seconds
        self._doing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._doing = asyncio.create_task(self._again())

    async def close(self) -> None:
        """Do all of it once more, and no more."""
        if self._doing is not None:
            self._doing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._doing
        await asyncio.to_thread(self._do)

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await asyncio.to_thread(self._do)

    def _do(self) -> None:
        for work in self._work:
            try:
                work()
            except TunesmithError as error:
                log.error("Work beside the requests failed.", exc_info=error)
