"""Files that appear whole or not at all, what is said when the disk does not take them, and values fit for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tunesmith.errors import ResourceError


@contextmanager
def written(path: Path, *, to_do: str = "Free disk space, or choose another --out.") -> Iterator[IO[str]]:
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
    try:
        with refused(path, to_do=to_do):
            with draft.open("w", encoding="utf-8") as file:
                yield file
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
        raise ResourceError(
            f"The file cannot be written: {error.strerror or error}.", where=str(path), to_do=to_do
        ) from error


def defined(value: object) -> object:
    """A nested value with null in the place of numbers that are none, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): defined(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
