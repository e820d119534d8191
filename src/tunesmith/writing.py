"""Files that appear whole or not at all, what is said when the disk does not take them, and values fit for JSON."""

from __future__ import annotations

import errno
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from tunesmith.errors import ResourceError

_OUT = "Free disk space, or choose another --out."
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems say that have no hard links."""
_STREAMS = tuple(map(Path, ("/dev", "/dev/fd", "/proc/self/fd")))
"""Where a process finds its own streams, which may be files that a shell opened."""


@contextmanager
def written(path: Path, *, to_do: str = _OUT) -> Iterator[IO[str]]:
    """A text file that appears at `path` when the block ends well, and not at all otherwise.

    A link is followed; a device or a pipe is written to as it is.

    Raises:
        ResourceError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        with refused(path, to_do=to_do), path.open("w", encoding="utf-8") as file:
            yield file
        return
    path = path.resolve()
    draft = path.with_name(f".{path.name}.draft")
    with refused(path, to_do=to_do):
        opened = draft.open("w", encoding="utf-8")
    try:
        with refused(path, to_do=to_do):
            with opened as file:
                yield file
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def new_files(texts: Mapping[Path, Iterable[str]], *, to_do: str = _OUT) -> Iterator[None]:
    """Files that are all there, whole and on the disk, while the block runs; if it fails they are taken away again.

    None takes its name before all are written, and none replaces what is there. A link is followed. A device or a pipe
    is written to as it is, behind the files, and what it was given cannot be taken back.

    Args:
        texts: what each file holds, in pieces.
        to_do: what helps where one cannot be written.

    Raises:
        ResourceError: one cannot be written, or something is there already; then none of them is there.
    """
    devices = [path for path in texts if is_device(path) or path.is_dir()]  # a folder will say that it is one
    files = [path.resolve() for path in texts if path not in devices]
    pieces = [lines for path, lines in texts.items() if path not in devices]
    with ExitStack() as drafts, ExitStack() as undoing:
        ready = [drafts.enter_context(_draft(*one, to_do=to_do)) for one in zip(files, pieces, strict=True)]
        for draft, path in zip(ready, files, strict=True):
            with refused(path, to_do=to_do):
                _take_name(draft, path, undoing)
                sync_folder(path.parent)
        for path in devices:
            with refused(path, to_do=to_do), path.open("a", encoding="utf-8") as device:
                device.writelines(texts[path])
        yield
        undoing.pop_all()


def is_device(path: Path) -> bool:
    """Whether what is written there goes elsewhere: a device, a pipe, or a stream of this process, file or not."""
    return path.parent in _STREAMS or (path.exists() and not path.is_file() and not path.is_dir())


def see_new(path: Path, option: str = "--out") -> None:
    """Refuse to write over a file; a device or a stream of this process is written to as it is.

    Raises:
        ResourceError: the file exists already.
    """
    if path.is_file() and not is_device(path):
        raise ResourceError("The file exists already.", where=str(path), to_do=f"Choose another {option}.")


@contextmanager
def _draft(path: Path, pieces: Iterable[str], *, to_do: str) -> Iterator[Path]:
    """What shall be at `path`, written beside it and on the disk; gone after the block."""
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}.draft")
    with refused(path, to_do=to_do):
        file = draft.open("x", encoding="utf-8")
    try:
        with refused(path, to_do=to_do), file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _take_name(draft: Path, path: Path, undoing: ExitStack) -> None:
    """Give a draft its name, which nobody else may have; `undoing` takes it away."""
    try:
        try:
            path.hardlink_to(draft)
            undoing.callback(path.unlink, missing_ok=True)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            path.touch(exist_ok=False)
            undoing.callback(path.unlink, missing_ok=True)
            draft.replace(path)
    except FileExistsError as error:
        raise ResourceError(
            "Something is there already.", where=str(path), to_do="Move it away, or choose another name."
        ) from error


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def refused(path: Path, *, to_do: str = "Free disk space and run: tunesmith resume.") -> Iterator[None]:
    """A block that writes to `path`.

    Raises:
        ResourceError: the system does not let it: no space, no permission, no such folder.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ResourceError(
            f"The file cannot be written: {error.strerror or error}.",
            where=str(path),
            to_do=f"Make the folder {path.parent} first, or choose another place.",
        ) from error
    except OSError as error:
        said, help_ = error.strerror or str(error), to_do
        if isinstance(error, IsADirectoryError):
            said, help_ = "this is a folder", "Name a file, which may be in that folder."
        elif isinstance(error, NotADirectoryError):
            said, help_ = "a part of the path before its name is a file, no folder", "Choose another place."
        raise ResourceError(f"The file cannot be written: {said}.", where=str(path), to_do=help_) from error


def defined(value: object) -> object:
    """A nested value with null in the place of numbers that are none, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): defined(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
