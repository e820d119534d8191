"""Replicas on the machines of a Ray cluster: placed by Ray, watched, replaced and counted by us.

Ray finds machines with free processors, starts processes there and tells when they are gone. Queue, batches, deadlines
and asking again stay in the front, so that a batch that is lost with a machine is answered by another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Mapping
from typing import Any

from pydantic.dataclasses import dataclass as checked

from tunesmith.errors import ArtifactError, import_extra
from tunesmith.service.engine import Place, ServiceError, Slot, WorkerLostError, WorkerWatcher, loaded_by, on_thread
from tunesmith.service.ray_seat import Seat
from tunesmith.service.scaling import Load, Scaler, Scaling

log = logging.getLogger(__name__)

LOCAL_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # also on Linux: a cluster of this machine alone listens at 127.0.0.1
    "RAY_AUTH_MODE": "token",
}
"""What the environment holds when Ray is imported, for a cluster that is this machine, whatever it held before."""
OBJECT_STORE = 300_000_000
"""Bytes of shared memory that Ray books; batches are small and go past it. Its own default is 30 % of the memory."""
_LOOK = 0.5
_REACHED = 5.0
"""Seconds in which a cluster's address must take a connection; Ray itself tries for minutes, and says nothing."""
_WAIT, _LONGEST_WAIT = 0.2, 10.0
"""Seconds before a replica that could not be started is tried again, doubled up to the longest."""


@checked(frozen=True)
class RaySettings:
    """Which cluster, and what a replica takes of it.

    Attributes:
        address: of a cluster that runs already ("auto" for the one that this machine belongs to); empty starts one that
            is this machine alone.
        processors: of this machine that replicas may take, for a cluster that is started; Ray counts them wrongly in
            containers.
        threads: of each replica, and the processors that it takes.
        start: seconds in which the first replica must be there.
        stuck: seconds without an answer to a batch after which a replica is ended and replaced.
    """

    address: str = ""
    processors: int = 1
    threads: int = 1
    start: float = 120.0
    stuck: float = 60.0


class RayEngine:
    """Between so many and so many replicas, each with every model."""

    def __init__(self, settings: RaySettings, scaling: Scaling) -> None:
        self.ray = import_extra("ray", "ray")
        self.settings = settings
        self._scaling = scaling
        self._scaler = Scaler(scaling)
        self._watcher: WorkerWatcher | None = None
        self._slots: dict[str, Slot] = {}
        self._seats: list[Seat] = []
        self._free: set[Seat] = set()
        self._freed = asyncio.Event()
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = self._taking = 0
        self._closing = self._began_ray = False

    @property
    def width(self) -> int:
        """How many batches can be answered at once."""
        return max(1, self.alive)

    @property
    def copies(self) -> int:
        """How many copies of each model this machine holds; none is counted where the cluster has others."""
        return 0 if self.settings.address else len(self._seats)

    @property
    def alive(self) -> int:
        """How many replicas are there now."""
        return sum(seat.is_ready for seat in self._seats)

    @property
    def pids(self) -> list[int]:
        """The replicas' process ids, each on its machine."""
        return [seat.pid for seat in self._seats if seat.is_ready]

    async def start(self, watcher: WorkerWatcher) -> None:
        """Join or start the cluster and ask it for the least replicas; returns when one is there.

        Raises:
            ServiceError: there is no such cluster, or it has no room in time.
        """
        self._watcher = watcher
        await on_thread(self._join)
        for _ in range(self._scaling.least):
            self._grow()
        until = time.monotonic() + self.settings.start
        while not self.alive:
            if time.monotonic() > until:
                room = await asyncio.to_thread(self.ray.available_resources)
                await self.close()
                raise ServiceError(
                    f"No replica came up within {self.settings.start:g} s; {room.get('CPU', 0):g} processors are free.",
                    where=f"the Ray cluster {self.settings.address or 'of this machine'}",
                    to_do=f"A replica takes {self.settings.threads}: free them, add machines, or take fewer --threads.",
                )
            await asyncio.sleep(0.05)
        self._keep(self._scale())

    def _join(self) -> None:
        if self.ray.is_initialized():
            return
        _see_reachable(self.settings.address)
        own = {
            "num_cpus": self.settings.processors,
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
        told = {"address": self.settings.address} if self.settings.address else {"address": "local", **own}
        try:
            self.ray.init(**told, namespace="tunesmith", log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            given = self.settings.address
            # Ray would name options of its own.
            is_found = given != "auto" or not isinstance(error, ConnectionError)
            raise ServiceError(
                f"Ray cannot be used: {error}" if is_found else "This machine belongs to no Ray cluster that runs.",
                where=f"--ray-address {given}" if given else "this machine",
                to_do="Look whether the cluster runs (ray status), and whether this machine belongs to it (ray start)"
                + ("; without --ray-address one is started that is this machine alone." if given else "."),
            ) from error
        self._began_ray = True

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        """Load a model in one replica after the other; none of them stops answering meanwhile.

        Raises:
            ArtifactError: a replica refuses it; the others let go of it.
        """
        async with self._loading:
            try:
                facts = await loaded_by([one for one in self._seats if one.is_ready], slot)
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
        for seat in [one for one in self._seats if one.is_ready]:
            with contextlib.suppress(WorkerLostError):
                await seat.unload(name)

    async def take(self) -> Place:
        """A replica that is there and has nothing to do, as soon as one is."""
        self._taking += 1
        try:
            while not self._free:
                self._freed.clear()
                await self._freed.wait()
            seat = self._free.pop()
            seat.is_taken = True
            return seat
        finally:
            self._taking -= 1

    def give(self, place: Place) -> None:
        """Hand a replica back; one that ended is replaced by itself."""
        if isinstance(place, Seat):
            place.is_taken = False
            self._changed(place, 0)

    def waits(self, texts: int) -> None:
        """So many texts wait for a replica."""
        self._waiting = texts

    async def close(self) -> None:
        """End all replicas, and the cluster if it was started here."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for seat in self._seats:
            seat.end()
        if self._began_ray:
            await asyncio.to_thread(self.ray.shutdown)

    def _count(self) -> None:
        if self._watcher is not None:
            self._watcher.alive(self.alive)

    def _keep(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _grow(self) -> None:
        seat = Seat(self.ray, self.settings.threads, self.settings.stuck)
        self._seats.append(seat)
        self._keep(self._filled(seat))

    async def _filled(self, seat: Seat) -> None:
        """Keep a replica in a place: started with all that is loaded, and again whenever its actor ends."""
        wait = _WAIT
        while not self._closing and seat in self._seats:
            listening = None
            try:
                await seat.start()
                listening = asyncio.create_task(seat.listen(lambda restarts: self._changed(seat, restarts)))
                async with self._loading:  # a model that is being loaded comes to this replica once, in either order
                    for slot in list(self._slots.values()):
                        await seat.load(slot)
                    seat.fill()
                self._changed(seat, 0)
                wait = _WAIT
                await listening
            except (ArtifactError, WorkerLostError) as error:
                log.warning("A replica could not be started: %s", error.what)
            finally:
                if listening is not None:
                    listening.cancel()
                seat.end()
                self._changed(seat, 0)
            if seat in self._seats and self._watcher is not None:
                self._watcher.restarted("ended")
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _changed(self, seat: Seat, restarts: int) -> None:
        """A replica, or its worker, came or went."""
        if not seat.is_ready:
            self._free.discard(seat)
        elif not seat.is_taken and seat in self._seats:
            self._free.add(seat)
            self._freed.set()
        self._count()
        for _ in range(restarts):
            if self._watcher is not None:
                self._watcher.restarted("ended")

    async def _scale(self) -> None:
        """Look again and again whether there should be more replicas, or fewer."""
        while True:
            await asyncio.sleep(_LOOK)
            there = [seat for seat in self._seats if seat.is_ready]
            busy = [seat for seat in there if seat.is_taken]
            texts = self._waiting + sum(seat.texts for seat in busy) + max(0, self._taking - 1)
            wanted = self._scaler.wanted(time.monotonic(), Load(texts, len(self._seats), len(busy)))
            for _ in range(wanted - len(self._seats)):
                log.info("%d texts wait or are in work: one replica more than %d", texts, len(self._seats))
                self._grow()
            if wanted < len(self._seats) and self._free:
                log.info("One replica less than %d", len(self._seats))
                self._shrink()

    def _shrink(self) -> None:
        seat = self._free.pop()  # whoever has work is left to it
        self._seats.remove(seat)
        seat.end()
        self._count()


def _see_reachable(address: str) -> None:
    """See that somebody listens at a cluster's address; "auto" and the like are Ray's to find.

    Raises:
        ServiceError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED).close()
    except (OSError, OverflowError) as error:
        raise ServiceError(
            "No Ray cluster can be reached there.",
            where=f"--ray-address {address}",
            to_do="Look whether its head runs there (ray start --head), and whether this machine may reach it.",
        ) from error
