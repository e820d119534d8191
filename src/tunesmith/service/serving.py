"""`tunesmith serve`: the front under uvicorn, with workers of this machine, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvicorn
from fastapi import FastAPI

from tunesmith.access.audit import AuditLog
from tunesmith.access.rate_limits import RateLimiter
from tunesmith.service.app import create_app
from tunesmith.service.batching import Batcher
from tunesmith.service.connections import Patience, guarded
from tunesmith.service.desk import Desk, Doorkeeper
from tunesmith.service.engine import Engine, ServiceError
from tunesmith.service.front import Front, Limits
from tunesmith.service.notes import Notes
from tunesmith.service.switching import Switch
from tunesmith.service.versions import Registry, Version
from tunesmith.watching.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service runs.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        batch_tokens: tokens of a batch, padding counted.
        waiting_tokens: tokens that may wait before requests are refused.
        drain: seconds that requests have to end once the service is told to stop.
        root: where further versions lie, as ROOT/MODEL/VERSION; None for none.
        limits: what a request may ask for.
        patience: what a connection may cost.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    batch_tokens: int = 512
    waiting_tokens: int = 65_536
    drain: float = 30.0
    root: Path | None = None
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Doors:
    """Who may ask, and where it is written down who changed what; nowhere without an audit log."""

    keeper: Doorkeeper
    audit: AuditLog | None = None


def assembled(versions: Sequence[Version], engine: Engine, doors: Doors, settings: Settings) -> FastAPI:
    """The app that serves these versions through an engine."""
    metrics, registry = Metrics(), Registry()
    notes = Notes(metrics, registry)
    batcher = Batcher(engine, notes, budget=settings.batch_tokens, most=settings.waiting_tokens)
    front = Front(registry, batcher, settings.limits, RateLimiter())
    switch = Switch(engine, registry, notes, settings.root)

    async def begin() -> None:
        await engine.start(notes)
        async with AsyncExitStack() as unless_ready:
            unless_ready.push_async_callback(engine.close)
            await switch.begin(list(versions))
            unless_ready.pop_all()
        batcher.start()

    async def end() -> None:
        await batcher.close()
        await engine.close()

    desk = Desk(front, switch, doors.keeper, metrics, doors.audit)
    return create_app(desk, begin=begin, end=end)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ServiceError: the address is taken, or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    channel = socket.socket(family, socket.SOCK_STREAM)
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
    """Run the app on a socket until a signal ends it; `ready` is told the address once it answers."""
    server = uvicorn.Server(configured(app, settings))
    host, port = channel.getsockname()[:2]

    async def run() -> None:
        running = asyncio.create_task(server.serve(sockets=[channel]))
        while not server.started and not running.done():
            await asyncio.sleep(0.02)
        if server.started:
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await running

    asyncio.run(run())
