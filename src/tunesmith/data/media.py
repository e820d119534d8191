"""Files of further modalities: where they lie, in folders or in archives, and what tells two of them apart."""

from __future__ import annotations

import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from tunesmith.data.labels import is_missing
from tunesmith.data.records import Example
from tunesmith.errors import DataError, nearest

MODALITIES = ("image", "audio")
"""The modalities that an example can have beside its text, as its `media` names them."""

_ZIPS = (".zip", ".whl")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, RuntimeError)


@contextmanager
def read_for(row: str) -> Iterator[None]:
    """Say of what goes wrong with a file which row names it."""
    try:
        yield
    except DataError as error:
        raise DataError(error.what, where=row or error.where, to_do=error.to_do) from error


def paths_of(columns: Iterable[tuple[str, str]], row: Mapping[str, object], folder: Path, where: str) -> dict[str, str]:
    """Modality -> its file, for those that a row of a table has; `columns` holds (modality, column) pairs.

    A path is relative to the folder of the table and stays in it, so that a table from elsewhere cannot have other
    files of this machine read; links in the folder are followed.

    Raises:
        DataError: a path leads out of the folder, or a column holds something else than paths.
    """
    found = {}
    for modality, column in columns:
        value = row.get(column)
        if isinstance(value, list | dict | bytes):
            raise DataError(
                f"'{column}' holds the {modality} itself, not the path of its file.",
                where=where,
                to_do="Save each in a file of its own, and give the path.",
            )
        name = "" if is_missing(value) else str(value).strip()
        if name:
            # Links are not resolved: they are of the folder's owner, while the path is of the table's writer.
            path = os.path.normpath(folder.absolute() / name)
            if not Path(path).is_relative_to(os.path.normpath(folder.absolute())):
                raise DataError(
                    f"'{column}' has the path {name}, which leads out of the folder of the table.",
                    where=where,
                    to_do=f"Put the file, or a link to its folder, under {folder}, and give a path from there.",
                )
            found[modality] = path
    return found


def with_media(example: Example, media: Mapping[str, str]) -> Example:
    """The example with its files; without a group of its own, those that share a file are one.

    On both sides of a split a picture would be learnt by heart.

    Raises:
        DataError: a file is not there, or cannot be read.
    """
    with read_for(example.origin):
        digests = {modality: digest_of(path) for modality, path in media.items()}
    return replace(example, media=media, digests=digests, group=example.group or " ".join(digests.values()))


def last_change(path: str) -> int:
    """When the file (or the archive) was changed last, so that what is kept of it is not kept too long."""
    file = _parted(path)[0]
    return file.stat().st_mtime_ns if file.is_file() else 0


def content_of(path: str) -> bytes:
    """The bytes of a file ("photos/1.png"), or of a member of a zip or tar archive ("photos.zip!1.png").

    Raises:
        DataError: it is not there, or cannot be read.
    """
    file, member = _parted(path)
    if not file.is_file():
        beside = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(
            f"The file {file} does not exist.{nearest(file.name, beside)}",
            where=path,
            to_do="Correct the path (it is relative to the folder of the file that names it), or leave it empty.",
        )
    try:
        return _member(file, member) if member else file.read_bytes()
    except (OSError, *_DAMAGED) as error:
        raise DataError(f"{path} cannot be read: {error}.", where=path, to_do="Copy it again.") from error


def digest_of(path: str) -> str:
    """What tells a file's content from any other, by whatever name it goes.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    return _digest(path, last_change(path))


def members_of(file: Path) -> list[str]:
    """The names of the files in a zip or tar archive.

    Raises:
        DataError: it cannot be read.
    """
    changed = file.stat().st_mtime_ns
    try:
        return list(_opened(file, changed).NameToInfo if _is_zip(file) else _unpacked(file, changed))
    except (OSError, *_DAMAGED) as error:
        what = f"The archive cannot be read: {error}."
        raise DataError(what, where=str(file), to_do="Copy it again.") from error


@lru_cache(maxsize=65536)
def _digest(path: str, _changed: int) -> str:
    return hashlib.blake2b(content_of(path), digest_size=8).hexdigest()


def _parted(path: str) -> tuple[Path, str]:
    """The file, and the member that is meant inside it."""
    name, _, member = path.partition("!")
    return (Path(path), "") if not member or Path(path).is_file() else (Path(name), member)


def _is_zip(file: Path) -> bool:
    return file.suffix.lower() in _ZIPS


def _member(file: Path, member: str) -> bytes:
    changed = file.stat().st_mtime_ns
    try:
        return _opened(file, changed).read(member) if _is_zip(file) else _unpacked(file, changed)[member]
    except KeyError as error:
        raise DataError(
            f"The archive {file.name} has no '{member}'.{nearest(member, members_of(file))}",
            where=str(file),
            to_do="Correct the name behind the '!'.",
        ) from error


@lru_cache(maxsize=4)
def _opened(file: Path, _changed: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


@lru_cache(maxsize=2)
def _unpacked(file: Path, _changed: int) -> dict[str, bytes]:
    """All files of a tar archive: a compressed one cannot be read from its middle."""
    with tarfile.open(file) as archive:
        opened = ((item.name, archive.extractfile(item)) for item in archive if item.isfile())
        return {name: stream.read() for name, stream in opened if stream is not None}
