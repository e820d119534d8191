"""A PostgreSQL server for tests: a scratch cluster in a folder of its own, reached by a socket there alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

USER = "tunesmith"
ROOM = 1 << 30
"""Bytes that a cluster may take in memory."""


def why_not() -> str:
    """Why there is none here; empty where there is."""
    if not programs():
        return "PostgreSQL is not installed"
    if os.getuid() == 0 and not (shutil.which("setpriv") and _has_user("postgres")):
        return "PostgreSQL refuses root, and there is no other user to run it as"
    return ""


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def _has_user(name: str) -> bool:
    return any(one.pw_name == name for one in pwd.getpwall())


@dataclass
class Cluster:
    folder: Path
    numbers: count = field(default_factory=count)

    @classmethod
    def made(cls) -> Cluster:
        memory = Path("/dev/shm")
        is_roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
        # In memory a crash is recovered from in moments; the path of a socket must be short, as it is in both.
        cluster = cls(Path(tempfile.mkdtemp(prefix="pg-", dir=memory if is_roomy else "/tmp")))
        if os.getuid() == 0:
            shutil.chown(cluster.folder, "postgres")
        cluster.run("initdb", "-D", cluster.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        cluster.start()
        return cluster

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, program: str, *arguments: object) -> None:
        as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        command = [*as_other, f"{programs()}/{program}", *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.folder)

    def start(self) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c shared_buffers=16MB"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", settings, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"answers{next(self.numbers)}"
        self.run("createdb", "-h", self.folder, "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def removed(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
