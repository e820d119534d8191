"""A service for a verb to ask: one that runs already, or one that is started for it and ended with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import Limits
from tunesmith.errors import TunesmithError
from tunesmith.watching.delivering import read_secret


def running_service(address: str, key_file: Path | None) -> tuple[str, str]:
    """The address of a service that runs, and the key to ask it with.

    Raises:
        TunesmithError: no file with a key is given.
        ResourceError: it cannot be read, or others may read it.
    """
    if key_file is None:
        raise TunesmithError("A running service asks for a key.", to_do="Give --key-file FILE.")
    return address.rstrip("/"), read_secret(key_file)


@contextmanager
def started_service(served: str, scopes: Sequence[str], *options: str) -> Iterator[tuple[str, str]]:
    """The address and a key of a service of this artifact (NAME=FOLDER, or FOLDER), until the block ends.

    It listens at a free port of this machine, and has a state folder of its own, which is removed.

    Raises:
        TunesmithError: it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        limits, by = Limits(10**12, 10**9), f"uid {os.getuid()}"
        _, key = KeyStore(state).create(tuple(scopes), limits, name="beside", by=by, lifetime=None)
        command = [sys.executable, "-m", "tunesmith", "serve", served, "--port", "0", "--state", str(state), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield _address(process), key
            finally:
                process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"Listening at (\S+)", line):
            return found[1]
    raise TunesmithError("The service did not start.", to_do="Its messages above say why.")
