"""Lines of text files, compressed or not, in a named encoding; whatever cannot be read is said with its line."""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tunesmith.errors import DataError, nearest

_COMPRESSED = {".xz", ".gz", ".zip"}
_HEAD = 8192
_NOT_OF_FILES = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"}
"""Encodings of names and of program text, which can hold what is no character."""


def suffix_of(file: Path) -> str:
    """The suffix of what a file holds, such as ".csv" for "a.csv.xz"; empty for none."""
    kept = [suffix for suffix in file.suffixes if suffix.lower() not in _COMPRESSED]
    return kept[-1].lower() if kept else ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows are: a file, and what is meant `inside` it (a member of a zip, or keys of a JSON object)."""

    file: Path
    inside: str = ""

    @classmethod
    def of(cls, path: str) -> Place:
        """Read "file" or "file!inside"; a zip's only member need not be named.

        Raises:
            DataError: the file does not exist, is empty, or the zip's member must be named.
        """
        name, _, inside = path.partition("!")
        file = Path(name)
        try:
            is_there = file.exists()
        except OSError as error:
            raise DataError(
                f"The path cannot be followed: {error.strerror or error}.", where=name[:200], to_do="Correct the path."
            ) from error
        if not is_there:
            beside = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
            raise DataError(
                f"The file does not exist.{nearest(file.name, beside)}",
                where=name,
                to_do="Correct the path; it is relative to the folder you are in.",
            )
        if not file.is_file() and not file.is_dir():
            raise DataError(
                "This is a pipe or a device, which cannot be read twice.",
                where=name,
                to_do="Write it to a file first, and name that.",
            )
        if not file.is_file():
            raise DataError("This is a folder, not a file.", where=name, to_do="Name the file inside it.")
        if file.stat().st_size == 0:
            raise DataError("The file is empty.", where=name, to_do="Give a file with at least one example.")
        place = cls(file, inside)
        return cls(file, _only_member(file)) if place._is_zip and not inside else place

    @property
    def _is_zip(self) -> bool:
        return self.file.suffix.lower() == ".zip"

    @property
    def is_packed(self) -> bool:
        """Whether the file is an archive, or compressed as a whole."""
        return self.file.suffix.lower() in _COMPRESSED

    @property
    def suffix(self) -> str:
        """The suffix that tells the format, such as ".csv" for "a.csv.xz"."""
        if self._is_zip:
            return PurePosixPath(self.inside.partition("!")[0]).suffix.lower()
        return suffix_of(self.file)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a JSON object whose rows are meant, as in "file!train+oos_train"; none for all."""
        inside = self.inside.partition("!")[2] if self._is_zip else self.inside
        return tuple(inside.split("+")) if inside else ()

    def __str__(self) -> str:
        return f"{self.file}!{self.inside}" if self.inside else str(self.file)


def keyless(source_path: str, form: str) -> Place:
    """The place of a file whose format has no keys.

    Raises:
        DataError: it names some behind a '!', or there is no such file.
    """
    place = Place.of(source_path)
    if place.keys:
        raise DataError(
            f"A file of format {form} has no keys, such as '{place.keys[0]}'.",
            where=source_path,
            to_do="Remove what stands behind the '!'.",
        )
    return place


def read_lines(place: Place, encoding: str) -> Iterator[str]:
    """Yield the lines of a text file, line ends kept; a byte-order mark is taken off.

    Raises:
        DataError: the file is binary, damaged, or not in this encoding; the message names the line.
    """
    codec = known_encoding(encoding)
    number = 0
    try:
        with ExitStack() as stack:
            stream = _open(place, stack)
            _refuse_binary(stream.peek(_HEAD)[:_HEAD], codec, place)
            for number, line in enumerate(_decoded(stream, codec), 1):
                yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError as error:
        raise DataError(
            f"Line {number + 1} is not {encoding} text (byte 0x{error.object[error.start]:02x}).",
            where=f"{place}:{number + 1}",
            to_do=f"{_guess(error.object)}Or save the file as UTF-8.",
        ) from error
    except UnicodeError as error:  # so the codecs with a byte-order mark say that it is not there
        raise DataError(
            f"The file is not {encoding} text: {error}.",
            where=str(place),
            to_do=f"Set data.encoding to {encoding}-le or {encoding}-be, or to the encoding that the file has.",
        ) from error
    except (lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"The compressed file is damaged after line {number}: {error}.",
            where=str(place),
            to_do="Copy it again from where it came.",
        ) from error
    except (RuntimeError, NotImplementedError) as error:  # so zipfile says what it cannot do
        raise DataError(
            f"The archive cannot be read: {error}.",
            where=str(place),
            to_do="Pack it again without a password, as a plain zip.",
        ) from error
    except OSError as error:
        raise DataError(
            f"The file cannot be read: {error.strerror or error}.", where=str(place), to_do="Check its permissions."
        ) from error


def known_encoding(name: str) -> str:
    """The codec's own name.

    Raises:
        DataError: Python knows no such encoding, or it is none of files.
    """
    try:
        codec = codecs.lookup(name).name
        if codec in _NOT_OF_FILES:
            raise LookupError(name)
        b"text".decode(codec, "replace")  # codecs that turn bytes into bytes, such as hex, are refused here
        return codec
    except (LookupError, ValueError) as error:
        raise DataError(
            f"Unknown encoding '{name}'.",
            where="data.encoding",
            to_do="Use utf-8, gb18030, utf-16, latin-1 or another that Python knows.",
        ) from error


def _decoded(stream: IO[bytes], codec: str) -> Iterator[str]:
    """Decode line by line, so that an error knows its line; UTF-16 and 32 have zeros in their line ends."""
    if codec.startswith(("utf-16", "utf-32")):
        with io.TextIOWrapper(stream, encoding=codec, newline="") as text:
            yield from text
        return
    for line in stream:
        yield line.decode(codec)


def _open(place: Place, stack: ExitStack) -> io.BufferedReader:
    suffix = place.file.suffix.lower()
    if suffix == ".xz":
        return io.BufferedReader(stack.enter_context(lzma.LZMAFile(place.file)))
    if suffix == ".gz":
        return io.BufferedReader(stack.enter_context(gzip.GzipFile(place.file)))
    if suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(place.file))
        member = place.inside.partition("!")[0]
        if member not in archive.namelist():
            raise DataError(
                f"The archive has no member '{member}'.{nearest(member, archive.namelist())}",
                where=str(place.file),
                to_do=f"Members: {', '.join(archive.namelist()[:6])}.",
            )
        return io.BufferedReader(stack.enter_context(archive.open(member)))  # type: ignore[arg-type]
    return stack.enter_context(place.file.open("rb"))


def _only_member(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise DataError(
            f"The archive cannot be read: {error}.", where=str(file), to_do="Copy it again, or pack it as a plain zip."
        ) from error
    if len(members) != 1:
        raise DataError(
            f"The archive holds {len(members)} files.",
            where=str(file),
            to_do=f"Name one, as in '{file.name}!{members[0] if members else 'member.csv'}'.",
        )
    return members[0]


def _refuse_binary(head: bytes, codec: str, place: Place) -> None:
    if codec.startswith(("utf-16", "utf-32")):
        return
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("The file is UTF-16 text.", where=str(place), to_do="Set data.encoding: utf-16.")
    if b"\x00" in head:
        raise DataError(
            "The file is binary, not text.",
            where=str(place),
            to_do="Give CSV, TSV, JSON, JSONL, Parquet, CoNLL or plain text, or name the format in data.format.",
        )
    if b"\r" in head[:-1] and b"\n" not in head:
        raise DataError(
            "The lines end with a carriage return alone, as on old Macintoshes.",
            where=str(place),
            to_do="Save the file with the line ends of Unix or Windows.",
        )


def _guess(line: bytes) -> str:
    try:
        line.decode("gb18030")
    except UnicodeDecodeError:
        return "Set data.encoding to the file's encoding. "
    return "It may be Chinese text in GB18030: set data.encoding: gb18030. "
