"""What a connection may cost before and after its requests: bytes of a head, seconds of silence, answers nobody reads.

uvicorn waits for ever for the first byte, for the end of a head and for a client that does not read, sets no limit
to a head with its faster parser, and queues every request that was sent ahead. Around each of its connections stands
a guard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

_SLICE = 16_384
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a connection may cost.

    Attributes:
        head: bytes of a request line with its headers.
        head_seconds: from the first byte of a head to its end.
        idle_seconds: without a byte, before the first request and between two.
        write_seconds: in which a client must take something of what is sent to it.
        unread: bytes of a body that are still taken, and thrown away, once its request was refused.
        ahead: requests that may be sent before earlier ones are answered.
        connections: open at once; beyond them the one that idles longest is closed, or, if none does, the new one.
        every: seconds between two looks at the clock.
    """

    head: int = 32_768
    head_seconds: float = 10.0
    idle_seconds: float = 30.0
    write_seconds: float = 30.0
    unread: int = 8_000_000
    ahead: int = 32
    connections: int = 768
    every: float = 1.0


class Guard:
    """Stands between the socket of a connection and uvicorn's protocol, and ends what costs too much."""

    def __init__(self, inner: HttpToolsProtocol, patience: Patience, all_open: dict[Guard, None]) -> None:
        self._inner = inner
        self._patience = patience
        self._open = all_open
        self._clock = inner.loop.time
        self._bytes = 0
        self.waits_since: float | None = self._clock()
        self._stuck_since: float | None = None
        self._look: asyncio.TimerHandle | None = None

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The request that came last; None before the first."""
        return cast(RequestResponseCycle | None, self._inner.cycle)

    @property
    def _waits(self) -> bool:
        """Whether no request is being answered: a head has not come, or not whole."""
        cycle = self._cycle
        return cycle is None or (cycle.response_complete and not self._inner.pipeline)

    @property
    def _drains(self) -> bool:
        """Whether a body comes whose request was answered without it."""
        cycle = self._cycle
        return cycle is not None and cycle.response_complete and cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is there."""
        self._inner.connection_made(transport)
        if len(self._open) >= self._patience.connections and not self._made_room():
            self._end(_FULL)
        self._open[self] = None
        self._look = self._inner.loop.call_later(self._patience.every, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or was shown out."""
        self._open.pop(self, None)
        if self._look is not None:
            self._look.cancel()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on in pieces, so that no piece holds more than the limits allow."""
        for start in range(0, len(data), _SLICE):
            if self._inner.transport.is_closing():
                return
            piece = data[start : start + _SLICE]
            before = self._waits
            self._inner.data_received(piece)
            if not (before and self._waits):
                self._bytes, self.waits_since = 0, None
            elif not self._drains:
                self._came(len(piece), self._patience.head)
            else:
                self._came(len(piece), self._patience.unread)
            if len(self._inner.pipeline) > self._patience.ahead:
                self._inner.transport.abort()

    def eof_received(self) -> None:
        """The client says no more."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """What was sent is not taken."""
        self._stuck_since = self._clock()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """What was sent is taken again."""
        self._stuck_since = None
        self._inner.resume_writing()

    def close(self) -> None:
        """End a connection that waits."""
        self._inner.transport.close()

    def _came(self, count: int, limit: int) -> None:
        if not self._bytes:
            self.waits_since = self._clock()
        self._bytes += count
        if self._bytes > limit:
            self._end(_TOO_LARGE)

    def _end(self, answer: bytes) -> None:
        transport = self._inner.transport
        if not transport.is_closing():
            transport.write(answer)
            transport.close()

    def _made_room(self) -> bool:
        """Whether a connection that waits for its next request was closed; the one that waits longest."""
        waiting = [one for one in self._open if one.waits_since is not None and one._waits]
        if not waiting:
            return False
        longest = min(waiting, key=lambda one: one.waits_since or 0.0)
        longest.close()
        self._open.pop(longest, None)
        return True

    def _check(self) -> None:
        now, transport, patience = self._clock(), self._inner.transport, self._patience
        self._look = self._inner.loop.call_later(patience.every, self._check)
        if self._stuck_since is not None and now - self._stuck_since > patience.write_seconds:
            transport.abort()  # closing would wait for the client to read
        elif transport.is_closing():
            self._stuck_since = now if self._stuck_since is None else self._stuck_since
        elif not self._waits:
            self.waits_since = None
        elif self.waits_since is None:
            self.waits_since = now
        elif self._bytes and not self._drains and now - self.waits_since > patience.head_seconds:
            self._end(_TOO_LATE)
        elif now - self.waits_since > patience.idle_seconds:
            transport.close()


def guarded(patience: Patience) -> Callable[..., Any]:
    """What makes the protocol of each connection; `uvicorn.Config(http=...)` takes it."""
    all_open: dict[Guard, None] = {}

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Guard:
        return Guard(HttpToolsProtocol(config, server_state, app_state, _loop), patience, all_open)

    return make
