"""Model workers on this machine: processes that are started quickly, watched, and started again when they end."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import itertools
import logging
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from tunesmith.errors import ArtifactError
from tunesmith.service.engine import (
    Answers,
    Part,
    Place,
    Slot,
    UnanswerableError,
    WorkerLostError,
    WorkerWatcher,
    loaded_by,
    on_thread,
)
from tunesmith.service.frames import awaited, packed

log = logging.getLogger(__name__)

_PROGRAM = "tunesmith.service.worker"
"""The module with the worker's program; it imports torch, which whoever starts workers need not hold."""
_QUICK, _WAIT, _LONGEST_WAIT = 5.0, 0.05, 5.0
"""A worker that ends within so many seconds is started again after a wait, which doubles up to the longest one."""


class LocalEngine:
    """So many workers, each with every model and with so many threads.

    New processes are forked from one that has imported everything and does nothing else (a "fork server"), which takes
    a tenth of the time of a new program; no thread and no model is in it when it forks.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_PROGRAM])
        self._threads = threads
        self._watcher: WorkerWatcher | None = None
        self._slots: dict[str, Slot] = {}
        self._places = [_Seat(self) for _ in range(workers)]
        self._free: set[_Seat] = set()
        self._freed = asyncio.Event()
        self._loading = asyncio.Lock()
        self._beginning = threading.Lock()
        self._closing = False
        # At its exit Python waits for all processes that it began; these end once their sockets are closed.
        atexit.register(self._cut)

    @property
    def width(self) -> int:
        """How many batches can be answered at once."""
        return len(self._places)

    @property
    def copies(self) -> int:
        """How many copies of each model this machine holds."""
        return len(self._places)

    @property
    def is_closing(self) -> bool:
        """Whether workers that end are to stay away."""
        return self._closing

    @property
    def alive(self) -> int:
        """How many workers are there now."""
        return sum(seat.is_alive for seat in self._places)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [seat.pid for seat in self._places if seat.is_alive]

    async def start(self, watcher: WorkerWatcher) -> None:
        """Start the workers; returns when all are there."""
        self._watcher = watcher
        begun = await asyncio.gather(*(seat.start() for seat in self._places), return_exceptions=True)
        for failure in filter(None, begun):  # only now: none is on its way any more
            raise failure
        for seat in self._places:
            self._put(seat)

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        """Load a model in one worker after the other; none of them stops answering meanwhile.

        Raises:
            ArtifactError: a worker refuses it; the others let go of it.
        """
        async with self._loading:
            try:
                facts = await loaded_by(self._places, slot)
            except ArtifactError:
                await self._dropped(slot.name)
                raise
            self._slots[slot.name] = slot
            return facts

    async def unload(self, name: str) -> None:
        """Let go of a model that nothing asks any more."""
        async with self._loading:
            self._slots.pop(name, None)
            await self._dropped(name)

    async def _dropped(self, name: str) -> None:
        for seat in self._places:
            with contextlib.suppress(WorkerLostError):
                await seat.asked({"do": "unload", "slot": name})

    async def take(self) -> Place:
        """A worker that is there and has nothing to do, as soon as one is."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
        return self._free.pop()

    def give(self, place: Place) -> None:
        """Hand a worker back; one that ended comes back by itself."""
        if isinstance(place, _Seat) and place.is_alive:
            self._put(place)

    def waits(self, texts: int) -> None:
        """Nothing comes of it: this machine has the cores that it has."""

    def _put(self, seat: _Seat) -> None:
        self._free.add(seat)
        self._freed.set()
        self._count()

    def _count(self) -> None:
        if self._watcher is not None:
            self._watcher.alive(self.alive)

    async def close(self) -> None:
        """End all workers."""
        self._closing = True
        await asyncio.gather(*(seat.close() for seat in self._places))
        atexit.unregister(self._cut)

    def _cut(self) -> None:
        for seat in self._places:
            seat.cut()

    def gone(self, seat: _Seat) -> None:
        """A worker ended; nothing more is asked of it."""
        self._free.discard(seat)
        self._count()

    async def lost(self, seat: _Seat, lived: float) -> None:
        """Start a worker again that ended, with all that is loaded."""
        wait = _WAIT
        while not self._closing:
            if self._watcher is not None:
                self._watcher.restarted("ended")
            if lived < _QUICK:
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            began = time.monotonic()
            try:
                await seat.start()
                async with self._loading:  # a model that is being loaded comes to this worker once, in either order
                    for slot in list(self._slots.values()):
                        await seat.load(slot)
            except (ArtifactError, WorkerLostError):
                lived = time.monotonic() - began
                await seat.close()
                continue
            self._put(seat)
            return

    def begun(self, channel: socket.socket) -> ForkServerProcess:
        """A new process that listens on this socket.

        Raises:
            WorkerLostError: what starts processes has ended; the next time it is started anew.
        """
        process = self._context.Process(target=_work, args=(channel, self._threads), daemon=True, name="model worker")
        try:
            with self._beginning:  # asked for by two threads at once, the fork server would be started twice
                resource_tracker.ensure_running()  # it takes the block away again when it is begun
                # A terminal sends Ctrl-C to the fork server too; what this thread begins never hears of it.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                try:
                    process.start()
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except (OSError, EOFError) as error:
            raise WorkerLostError(
                f"No model worker could be started ({type(error).__name__}): the process that starts them has ended.",
                where="the fork server",
                to_do="See whether it was killed, and whether there is enough memory.",
            ) from error
        return process


def _work(channel: socket.socket, threads: int) -> None:
    importlib.import_module(_PROGRAM).work(channel, threads)


class _Seat:
    """The place of one worker, whichever process fills it."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._process: ForkServerProcess | None = None
        self._socket: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._parts: dict[int, asyncio.Queue[dict[str, Any] | None]] = {}
        self._numbers = itertools.count()
        self._listening: asyncio.Task[None] | None = None
        self._restoring: asyncio.Task[None] | None = None
        self._ended = False
        self.is_alive = False

    @property
    def pid(self) -> int:
        return self._process.pid or 0 if self._process else 0

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as unless_begun:
            unless_begun.callback(ours.close)  # a process that is not wanted any more ends by that
            with theirs:
                # The process is made on a thread: the first one waits until the fork server has imported everything.
                self._process = await on_thread(lambda: self._engine.begun(theirs))
            unless_begun.pop_all()
        self._socket = ours
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self.is_alive = True
        self._listening = asyncio.create_task(self._listen(reader, time.monotonic()))

    async def _listen(self, reader: asyncio.StreamReader, began: float) -> None:
        while (message := await awaited(reader)) is not None:
            if cause := message.get("ends"):
                log.error("A model worker ends because of %s.", cause)
            if (parts := self._parts.get(message["id"])) is not None:
                parts.put_nowait(message)
                continue
            waiting = self._waiting.pop(message["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        self.is_alive = False
        self._engine.gone(self)
        for parts in self._parts.values():
            parts.put_nowait(None)
        lost, self._waiting = self._waiting, {}
        for future in lost.values():
            if not future.done():
                future.set_exception(WorkerLostError("A model worker ended."))
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.join)
            if not self._engine.is_closing:
                log.warning("A model worker ended with exit code %s.", self._process.exitcode)
        # No second restoring begins while one is on its way: it loads anew until it holds all models.
        if not self._ended and (self._restoring is None or self._restoring.done()):
            self._restoring = asyncio.create_task(self._engine.lost(self, time.monotonic() - began))

    async def asked(self, message: Mapping[str, object]) -> dict[str, Any]:
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._send({**message, "id": number})
            return await future
        finally:
            self._waiting.pop(number, None)

    async def _send(self, message: Mapping[str, object]) -> None:
        if not self.is_alive or self._writer is None:
            raise WorkerLostError("A model worker ended.")
        try:
            self._writer.write(packed(message))
            await self._writer.drain()
        except ConnectionError as error:
            raise WorkerLostError("A model worker ended.") from error

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        found = await self.asked({"do": "load", **slot.plain})
        if refused := found.get("refused"):
            what, where, to_do = refused
            raise ArtifactError(what, where=where, to_do=to_do)
        facts: Mapping[str, Any] = found["facts"]
        return facts

    async def answer(self, slot: str, questions: Sequence[Mapping[str, Any]]) -> Answers:
        found = await self.asked({"do": "answer", "slot": slot, "questions": questions})
        if failure := found.get("failure"):
            raise UnanswerableError(f"The model failed on a batch: {failure}.", where=slot)
        return Answers(found["rows"], found["seconds"], found["tokens"], found["padding"])

    async def write(self, slot: str, question: Mapping[str, Any]) -> AsyncGenerator[Part, None]:
        number = next(self._numbers)
        parts: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._parts[number] = parts
        await self._send({"do": "write", "slot": slot, "question": question, "id": number})
        ended = False
        told = ""
        try:
            while not ended:
                message = await parts.get()
                ended = message is None or "part" not in message
                if message is None:
                    raise WorkerLostError("A model worker ended.")
                if failure := message.get("failure"):
                    raise UnanswerableError(f"The model failed while writing: {failure}.", where=slot)
                told += message.get("part", "")
                if not ended:
                    yield Part(message["part"])
                    continue
                rest = message["row"]["label"][len(told.rstrip()) :] if told else message["row"]["label"]
                yield Part(rest, message["finished"], message["read"], message["written"])
        finally:
            if not ended and self.is_alive:  # the worker is free only when it has stopped
                await self._send({"do": "stop", "of": number})
                while (message := await parts.get()) is not None and "part" in message:
                    pass
            del self._parts[number]

    def cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        self._ended = self._engine.is_closing
        if self._restoring is not None and self._ended:
            self._restoring.cancel()
        if self._writer is not None:
            self._writer.close()
        if self._listening is not None:
            await self._listening
