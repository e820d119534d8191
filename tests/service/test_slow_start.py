"""A service that is ended before it is ready, or cannot get ready: it closes what has begun, and says why."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, OpenDoor
from tunesmith.service.engine import Slot, WorkerLostError
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Doors, Settings, assembled, listening, serve_app
from tunesmith.service.versions import read_version


class Slow(FakeEngine):
    """Does not end loading; or fails at it, as when what starts workers was ended by the same signal."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.is_closed = False

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        if self.fails:
            time.sleep(0.5)  # the signal is there before the loop can look
            raise EOFError
        await asyncio.sleep(60)
        return {}

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that the process would have ended by."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_ends_a_slow_start_and_is_named(
    fails: bool, artifacts: dict[str, Path], heard: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    engine = Slow(fails)
    settings = Settings(port=0)
    began = time.monotonic()
    with closing(listening(settings.host, settings.port)) as channel:
        app = assembled([read_version(artifacts["classes"])], engine, Doors(OpenDoor()), settings)
        serve_app(app, channel, settings, ready=lambda _: pytest.fail("it is not ready"))
    assert time.monotonic() - began < 20
    assert heard == [signal.SIGTERM], "who waits for the process sees what ended it"
    assert engine.is_closed
    assert "SIGTERM came before the service was ready." in caplog.messages
    assert not any(record.name.startswith("uvicorn") and record.levelno >= logging.ERROR for record in caplog.records)


def test_what_keeps_a_service_from_starting_is_raised_and_not_logged(
    artifacts: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Slow):
        async def load(self, slot: Slot) -> Mapping[str, Any]:
            raise EOFError("a cause that nobody thought of")

    settings = Settings(port=0)
    with closing(listening(settings.host, settings.port)) as channel:
        app = assembled([read_version(artifacts["classes"])], Broken(), Doors(OpenDoor()), settings)
        with pytest.raises(EOFError, match="nobody thought of"):
            serve_app(app, channel, settings, ready=lambda _: None)
    assert [
        record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno >= logging.ERROR
    ] == []


class _Process:
    exitcode = 0

    def join(self) -> None: ...


def test_workers_are_not_left_alone_when_one_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes late is closed too: else the process would wait for it for ever at its exit."""
    engine = LocalEngine(2, 1)
    ends: list[socket.socket] = []
    turns = itertools.count()  # both workers are begun at once, each in a thread of its own

    def begun(channel: socket.socket) -> Any:
        if next(turns) == 0:
            ends.append(channel.dup())
            time.sleep(0.3)
            return _Process()
        raise WorkerLostError("No model worker could be started.")

    monkeypatch.setattr(engine, "begun", begun)

    async def story() -> None:
        with pytest.raises(WorkerLostError):
            await engine.start(_Quiet())
        await engine.close()

    asyncio.run(story())
    ends[0].settimeout(5)
    assert ends[0].recv(1) == b"", "the worker would hear that it is to end"
    ends[0].close()


def test_a_worker_that_is_not_wanted_any_more_ends_once_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(1, 1)
    ends: list[socket.socket] = []

    def begun(channel: socket.socket) -> Any:
        time.sleep(0.3)
        ends.append(channel.dup())  # the socket is still open, although nobody waits
        return _Process()

    monkeypatch.setattr(engine, "begun", begun)

    async def story() -> None:
        starting = asyncio.create_task(engine.start(_Quiet()))
        await asyncio.sleep(0.1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await engine.close()

    asyncio.run(story())
    ends[0].settimeout(5)
    assert ends[0].recv(1) == b""
    ends[0].close()


def test_a_fork_server_that_has_ended_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(1, 1)

    class Broken:
        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            raise EOFError

    monkeypatch.setattr(engine, "_context", type("Context", (), {"Process": Broken}))
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(WorkerLostError, match="the process that starts them has ended"):
        engine.begun(theirs)


class _Quiet:
    def restarted(self, reason: str) -> None: ...

    def alive(self, workers: int) -> None: ...


def commands_below(pid: int) -> Iterator[bytes]:
    """How the children of a process were called."""
    for told in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in told.read_text().split():
            with contextlib.suppress(OSError):
                yield Path(f"/proc/{child}/cmdline").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc, to see when the fork server begins")
@pytest.mark.parametrize("is_ready", [False, True])
def test_what_a_terminal_sends_all_of_its_processes_ends_the_service_and_nothing_else_is_said(
    is_ready: bool, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    given = [str(artifacts["classes"]), "--port", "0", "--state", str(tmp_path), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "serve", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    patience = threading.Timer(120, process.kill)
    patience.start()
    try:
        assert process.stdout is not None
        if is_ready:
            for line in process.stdout:
                if line.startswith("Try:"):
                    break
        else:  # the fork server imports what workers need
            while process.poll() is None and not any(b"forkserver" in one for one in commands_below(process.pid)):
                time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stdout.read()
        assert process.wait(60) == 130
    finally:
        patience.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert said.splitlines()[-1] == "Stopped."
    assert "Traceback" not in said
    assert "never retrieved" not in said
    assert "resume" not in said
    assert is_ready or "SIGINT came before the service was ready." in said
