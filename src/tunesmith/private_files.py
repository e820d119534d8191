"""Files that nobody else may read: the state folder, secrets made on first use, writing in one step, a lock."""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.errors import ResourceError
from tunesmith.writing import refused, sync_folder

STATE = Path("~/.local/state/tunesmith")
"""The state folder where none is named."""
_SECRET_BYTES = 32
_WRITABLE = "Choose another --state, or free disk space."


def naming(state: Path) -> str:
    """The option that names a state folder, behind a verb that is shown; empty for the usual folder."""
    return "" if state.expanduser() == STATE.expanduser() else f" --state {shlex.quote(str(state))}"


def state_folder(folder: Path) -> Path:
    """The folder, made with mode 0700 where it is missing.

    Raises:
        ResourceError: it cannot be made, is no folder, or others may write to it.
    """
    with refused(folder, to_do=_WRITABLE):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ResourceError(
            "Others may write to the state folder, and so put keys into it.",
            where=str(folder),
            to_do=f"chmod go-w {shlex.quote(str(folder))}",
        )
    return folder


def secret_of(path: Path) -> bytes:
    """The 32 bytes of a secret file, which is made with mode 0600 on first use.

    Raises:
        ResourceError: others may read it, it is a link, it is damaged, or it cannot be made.
    """
    if not path.is_symlink() and not path.exists():
        make_private(path, f"{secrets.token_hex(_SECRET_BYTES)}\n".encode(), to_do=_WRITABLE)
    text = private_text(path)
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise ResourceError(
            f"The secret file does not hold {2 * _SECRET_BYTES} hexadecimal digits.",
            where=str(path),
            to_do="Put it back from a copy. Without it every key must be made anew: remove it and keys.json.",
        )
    return secret


def private_text(path: Path) -> str:
    """What a file holds that only its owner may read.

    Raises:
        ResourceError: others may read it, it is a link or no file, belongs to somebody else, or cannot be read.
    """
    with refused_reading(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077 and found.st_uid in (os.geteuid(), 0):
                return file.read()
    raise ResourceError(
        f"The file can be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o}).",
        where=str(path),
        to_do=f"chmod 600 {shlex.quote(str(path))}; if others may have read it, make new secrets.",
    )


@contextmanager
def refused_reading(path: Path) -> Iterator[None]:
    """A block that reads `path`.

    Raises:
        ResourceError: the system does not let it.
    """
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"The file cannot be read: {error.strerror or error}.",
            where=str(path),
            to_do="It must be a plain file of the user who runs this, with mode 600.",
        ) from error


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 that appears whole or not at all, and is on the disk when this returns.

    Raises:
        ResourceError: it cannot be written.
    """
    with refused(path, to_do=_WRITABLE), _draft(path, text.encode()) as draft:
        draft.replace(path)
        sync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A block that one process at a time is in, whichever of this machine's processes name the same lock file.

    Raises:
        ResourceError: the lock file cannot be made.
    """
    with refused(path, to_do=_WRITABLE):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_private(path: Path, content: bytes, *, to_do: str) -> None:
    """Make a file of mode 0600, whole and on the disk; where two processes do so at once the first one's stays.

    Raises:
        ResourceError: it cannot be made; `to_do` says what helps.
    """
    with refused(path, to_do=to_do):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _draft(path, content) as draft:
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                return
            sync_folder(path.parent)


@contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """A file of mode 0600 beside `path` that holds `content`, on the disk; gone afterwards unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
