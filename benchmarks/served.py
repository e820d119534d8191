"""`tunesmith serve` as a program beside a measurement: started, asked, killed; only addresses of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from benchmarks.load import Target

from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import SCOPES, Limits


@dataclass(frozen=True)
class Service:
    """A running service: its process, port and a key for everything."""

    process: subprocess.Popen[str]
    port: int
    key: str

    def target(self, path: str) -> Target:
        """Where a route is asked."""
        return Target(self.port, path, self.key)

    @property
    def workers(self) -> list[psutil.Process]:
        """The model workers: the grandchildren, made by the fork server, that hold most memory."""
        front = psutil.Process(self.process.pid)
        return [one for child in front.children() for one in child.children()]

    @property
    def family(self) -> list[psutil.Process]:
        """All its processes."""
        front = psutil.Process(self.process.pid)
        return [front, *front.children(recursive=True)]

    def cpu_seconds(self) -> dict[str, float]:
        """The processor time of front and workers so far."""
        workers = sum(sum(one.cpu_times()[:2]) for one in self.workers)
        return {"front": sum(psutil.Process(self.process.pid).cpu_times()[:2]), "workers": workers}

    def stop(self) -> float:
        """End it by SIGTERM; the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - began


@contextmanager
def serving(artifacts: Sequence[str], *options: str) -> Iterator[Service]:
    """A service of these artifacts, with a state folder of its own, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        limits = Limits(tokens_per_minute=10**12, requests_per_minute=10**9)
        _, key = KeyStore(state).create(tuple(SCOPES), limits, name="benchmark", by="benchmark", lifetime=None)
        command = [
            sys.executable,
            "-m",
            "tunesmith",
            "serve",
            *artifacts,
            "--port",
            "0",
            "--state",
            str(state),
            *options,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        try:
            yield Service(process, _port(process), key)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"Listening at http://[^:]+:(\d+)", line):
            return int(found[1])
    raise SystemExit("The service did not start; its log says why.")
