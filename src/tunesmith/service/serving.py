"""`tunesmith serve`: the front under uvicorn, with workers of this machine, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from tunesmith.access.audit import AuditLog
from tunesmith.access.manifest_signatures import TrustedKeys
from tunesmith.access.rate_limits import RateLimiter
from tunesmith.guarding.guards import Guards
from tunesmith.privacy import Redactor
from tunesmith.remembered.erasing import purge
from tunesmith.remembered.labels import LabelSchema
from tunesmith.remembered.store import Store
from tunesmith.service.app import create_app
from tunesmith.service.aside import Aside
from tunesmith.service.batching import Batcher
from tunesmith.service.changing import Changes
from tunesmith.service.chores import Chores
from tunesmith.service.connections import Patience, guarded
from tunesmith.service.desk import Desk, Doorkeeper
from tunesmith.service.engine import Engine, ServiceError
from tunesmith.service.front import Front
from tunesmith.service.golden import Golden
from tunesmith.service.jobs import Limits
from tunesmith.service.line import Line
from tunesmith.service.notes import Notes
from tunesmith.service.promotion_gate import PromotionGate
from tunesmith.service.protection import Protection
from tunesmith.service.room import MOST_VERSIONS
from tunesmith.service.sharing import Sharing
from tunesmith.service.switching import Admission, Switch
from tunesmith.service.versions import Registry, Version
from tunesmith.watching.metrics import Metrics
from tunesmith.watching.traces import Tracer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service runs.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        batch_tokens: tokens of a batch, padding counted.
        waiting_tokens: tokens that may wait before requests are refused.
        linger: seconds for which it answers on over its connections once it is told to stop, and ends each with its
            answer.
        drain: seconds that requests have to end once the service is told to stop.
        root: where further versions lie, as ROOT/MODEL/VERSION; None for none.
        sharing: which base models are held once for several adapters.
        versions: of one model that may be loaded at once.
        goldens: by the name of a model, the examples by which its versions are judged before they are promoted.
        trusted: the keys of which one must have signed what is loaded by request; None asks for no signature.
        limits: what a request may ask for.
        patience: what a connection may cost.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    batch_tokens: int = 512
    waiting_tokens: int = 65_536
    linger: float = 0.5
    drain: float = 30.0
    root: Path | None = None
    sharing: Sharing = field(default_factory=Sharing)
    versions: int = MOST_VERSIONS
    goldens: Mapping[str, Golden] = field(default_factory=dict)
    trusted: TrustedKeys | None = None
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Doors:
    """Who may ask, and what is written down of it.

    Attributes:
        keeper: says who asks.
        audit: where it is written down who changed what; None for nowhere.
        chores: what the keeper wants done every some minutes, such as writing down which keys were used.
    """

    keeper: Doorkeeper
    audit: AuditLog | None = None
    chores: Sequence[Callable[[], object]] = ()


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands before and behind the models; see `Protection`.

    Attributes:
        redactor: takes personal data out; None for none.
        names: the artifacts that the redactor asks for names; it works beside the loop then.
        guards: by the name of a model.
        further: by the folder that guards know it by, the model that they ask.
        opened: opens the store of answers, given what right answers may be by model; None for no store.
    """

    redactor: Redactor | None = None
    names: Sequence[Version] = ()
    guards: Mapping[str, Guards] = field(default_factory=dict)
    further: Mapping[str, Version] = field(default_factory=dict)
    opened: Callable[[Mapping[str, LabelSchema]], Store] | None = None


def assembled(
    versions: Sequence[Version],
    engine: Engine,
    doors: Doors,
    settings: Settings,
    behind: Behind | None = None,
    tracer: Tracer | None = None,
) -> FastAPI:
    """The app that serves these versions through an engine; where there is a tracer, each request has a span."""
    metrics, registry, given = Metrics(), Registry(), behind or Behind()
    schemas: dict[str, LabelSchema] = {}
    store = given.opened(schemas) if given.opened is not None else None
    aside = Aside() if given.names else None
    protection = Protection(metrics, given.redactor, aside, given.guards, given.further, store, schemas)
    notes = Notes(metrics, registry, protection)
    batcher = Batcher(engine, notes, budget=settings.batch_tokens, most=settings.waiting_tokens)
    front = Front(registry, batcher, settings.limits, RateLimiter(), protection)
    admission = Admission(settings.root, settings.versions, settings.trusted)
    switch = Switch(engine, registry, notes, admission, settings.sharing)
    retention = [lambda: purge(store.database, thorough=False)] if store is not None else []
    chores = Chores([*doors.chores, *retention])

    async def begin() -> None:
        async with AsyncExitStack() as unless_ready:
            if store is not None:
                unless_ready.callback(store.close)
            unless_ready.push_async_callback(engine.close)
            await engine.start(notes)
            await switch.begin(versions, list(given.further.values()))
            unless_ready.pop_all()
        batcher.start()
        chores.start()

    async def end() -> None:
        await batcher.close()
        await engine.close()
        await chores.close()
        if aside is not None:
            await asyncio.to_thread(aside.close)
        if store is not None:
            await asyncio.to_thread(store.close)
        if tracer is not None:
            await asyncio.to_thread(tracer.close)

    gate = PromotionGate(settings.goldens, Line(batcher, settings.limits), doors.audit)
    changes = Changes(switch, registry, gate, doors.audit)
    desk = Desk(front, changes, doors.keeper, metrics, protection)
    return create_app(desk, begin=begin, end=end, tracer=tracer)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ServiceError: the address is taken, or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, bodies wait 40 ms for an ACK.
    channel = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        channel.bind((host, port))
    except OSError as error:
        channel.close()
        raise ServiceError(
            f"The address cannot be used: {error.strerror or error}.",
            where=f"{host}:{port}",
            to_do="Choose another --port (0 takes a free one), or stop what listens there.",
        ) from error
    return channel


def configured(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn runs the app: with a guard around each connection, and without logs of requests."""
    return uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], guarded(settings.patience)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=round(settings.drain),
        timeout_keep_alive=round(settings.patience.idle_seconds),
    )


def serve_app(app: FastAPI, channel: socket.socket, settings: Settings, *, ready: Callable[[str], None]) -> None:
    """Run the app on a socket until a signal ends it; `ready` is told the address once it answers.

    After a signal it takes no further connections, but answers on for a moment over those that there are, and ends each
    with its answer: so no request is sent over a connection that is being closed. A second signal ends it at once.
    One that comes before it is ready ends the loading.
    """
    config = configured(app, settings)
    server = uvicorn.Server(config)
    host, port = channel.getsockname()[:2]
    end_at_once = server.handle_exit
    early: list[int] = []

    def leave(signal_number: int, frame: FrameType | None) -> None:
        if not server.started:
            if early:
                signal.signal(signal_number, signal.SIG_DFL)
                signal.raise_signal(signal_number)
            early.append(signal_number)
            return
        if app.state.front.is_leaving:
            end_at_once(signal_number, frame)
            return
        app.state.front.is_leaving = True
        for one in server.servers:
            one.close()
        # What ends uvicorn is sent by the signal's own thread, which is that of the loop.
        asyncio.get_event_loop().call_later(settings.linger, end_at_once, signal_number, frame)

    server.handle_exit = leave  # type: ignore[method-assign, assignment]

    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        running = asyncio.create_task(server.serve(sockets=[channel]))
        tasks.append(running)
        while not server.started and not running.done():
            await asyncio.sleep(0.02)
            if early and app.state.beginning is not None and not app.state.beginning.done():
                _give_up(app.state.beginning)
        if server.started and early:
            leave(early[0], None)
        elif server.started:
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await running

    try:
        with _told_once(app), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(run())
    except SystemExit:
        for task in filter(asyncio.Task.done, tasks):
            task.exception()  # it is this one: asyncio need not say so again
        if early:
            log.warning("%s came before the service was ready.", signal.Signals(early[0]).name)
            signal.raise_signal(early[0])  # as uvicorn does once a service that was ready has ended
            return
        if app.state.beginning is not None and (failure := app.state.beginning.exception()) is not None:
            raise failure from None
        raise


@contextmanager
def _told_once(app: FastAPI) -> Iterator[None]:
    """What keeps a service from starting is raised: uvicorn's trace of it, and that it ends, would say no more."""

    def tells_news(_: logging.LogRecord) -> bool:
        beginning = app.state.beginning
        return beginning is None or not beginning.done() or not (beginning.cancelled() or beginning.exception())

    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(tells_news)
    try:
        yield
    finally:
        logger.removeFilter(tells_news)


def _give_up(beginning: asyncio.Task[None]) -> None:
    """End a start that nobody waits for any more; whatever has begun already is closed."""
    if not beginning.cancelling():
        beginning.cancel()
