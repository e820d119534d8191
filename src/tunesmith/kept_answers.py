"""Answers to a long file that are kept while they are written, so that a killed process goes on where it was.

Beside the file to be written lie `NAME.part`, the answers so far, and `NAME.part.json`, which says what they answer
(a digest of the texts and of the artifact, the settings, the versions), how many they are, and the sha256 of their
bytes. Both go when the last answer is there and the part takes its final name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tunesmith.errors import DataError, ResourceError
from tunesmith.locking import hold
from tunesmith.writing import refused, written


class OtherTextsError(DataError):
    """The texts are no longer those that were asked about, so the answers so far are thrown away."""


_BLOCK = 1 << 20
_TO_DO = "Free disk space, or choose another --out; the same command goes on after the answers that are kept."


class Kept:
    """The answers so far.

    Attributes:
        rows: how many there are.
        began: how many of them were there before this process.
    """

    def __init__(self, out: Path, asked: Mapping[str, object], file: IO[bytes]) -> None:
        self._out = out
        self._asked = asked
        self._file = file
        self._digest = hashlib.sha256()
        self.rows = self._found()
        self.began = self.rows

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write more answers; once this returns they outlive the process.

        Raises:
            ResourceError: the disk is full.
        """
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        with refused(self._out, to_do=_TO_DO):
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._digest.update(content)
        self.rows += len(rows)
        self.note()

    def note(self) -> None:
        """Say in the file beside the answers what they are."""
        said = {
            "asked": dict(self._asked),
            "rows": self.rows,
            "bytes": self._file.tell(),
            "sha256": self._digest.hexdigest(),
        }
        with written(beside(self._out), to_do=_TO_DO) as file:
            file.write(json.dumps(said, ensure_ascii=False, indent=2) + "\n")

    def _found(self) -> int:
        """The number of answers that an earlier process left, verified; the file stands behind the last of them."""
        place = beside(self._out)
        if not place.exists():
            return 0
        told = _read(place, self._out)
        if differing := [name for name in self._asked if told["asked"].get(name) != self._asked[name]]:
            raise DataError(
                f"The answers kept there were begun otherwise: another {' and another '.join(differing)}.",
                where=str(part_of(self._out)),
                to_do=f"Give what they were begun with, or {_anew(self._out)}.",
            )
        self._file.seek(0)
        left = size = int(told["bytes"])
        while left and (block := self._file.read(min(_BLOCK, left))):
            self._digest.update(block)
            left -= len(block)
        if left or self._digest.hexdigest() != told["sha256"]:
            raise DataError(
                "The answers kept there are not those that were written: the file was changed or cut.",
                where=str(part_of(self._out)),
                to_do=f"To go on is not possible: {_anew(self._out)}.",
            )
        self._file.truncate(size)
        return int(told["rows"])


@contextmanager
def kept_answers(out: Path, asked: Mapping[str, object]) -> Iterator[Kept]:
    """Answers that appear at `out` when the block ends well.

    When it ends otherwise those written are kept for the next time; nothing is left behind where there are none, or
    where the texts changed meanwhile (OtherTextsError).

    Args:
        out: the file to be written; a link is followed.
        asked: what decides the answers, by names that an error can say.

    Raises:
        DataError: the answers kept from before were begun with something else, or were changed.
        ResourceError: it is there already, cannot be written, or another process writes it.
    """
    out = out.resolve()
    see_free(out)
    with _held(out) as file:
        kept = Kept(out, asked, file)
        try:
            kept.note()
            yield kept
            with refused(out, to_do=_TO_DO):
                part_of(out).replace(out)
                beside(out).unlink(missing_ok=True)
        except OtherTextsError:
            _drop(out)
            raise
        finally:
            if not kept.rows:
                _drop(out)


def see_free(out: Path) -> None:
    """See that answers can be written to `out`; while they are unfinished they lie beside it, and it is not there.

    Raises:
        ResourceError: something is there already.
    """
    if out.exists():
        raise ResourceError("Something is there already.", where=str(out), to_do="Choose another --out.")


def part_of(out: Path) -> Path:
    """Where the answers lie while they are written."""
    return out.with_name(f"{out.name}.part")


def beside(out: Path) -> Path:
    """Where it is said what these answers are."""
    return out.with_name(f"{out.name}.part.json")


def _anew(out: Path) -> str:
    return f"remove {part_of(out).name} and {beside(out).name} to begin anew"


def _drop(out: Path) -> None:
    part_of(out).unlink(missing_ok=True)
    beside(out).unlink(missing_ok=True)


@contextmanager
def _held(out: Path) -> Iterator[IO[bytes]]:
    """The answers so far, opened, which no other process writes until the block ends."""
    part = part_of(out)
    is_new = not part.exists()
    with refused(out, to_do=_TO_DO):
        opened = part.open("a+b")
    with opened as file:
        busy = ResourceError(
            "Another process is writing these answers.", where=str(part), to_do="Wait for it, or choose another --out."
        )
        hold(file, part, busy)
        try:
            see_free(out)  # again, since who held it until now may have finished it
            _see_ours(out, is_empty=part.stat().st_size == 0, is_new=is_new)
        except (DataError, ResourceError):
            if is_new and part.stat().st_size == 0:
                part.unlink()
            raise
        yield file


def _see_ours(out: Path, *, is_empty: bool, is_new: bool) -> None:
    """See that what lies there was left by an earlier process like this one."""
    place = beside(out)
    if is_empty and is_new and place.exists():  # killed when the part had just taken its final name
        _read(place, out)
        place.unlink()
    if not is_empty and not place.exists():
        raise ResourceError(
            "The file is there already, and nothing says whose answers it holds.",
            where=str(part_of(out)),
            to_do="Move it away, or choose another --out.",
        )


def _read(place: Path, out: Path) -> dict[str, Any]:
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(told["asked"], dict) and isinstance(told["rows"], int) and isinstance(told["bytes"], int):
            return {"sha256": "", **told}
    except (ValueError, KeyError, TypeError):
        pass
    raise DataError(
        "What is said of the answers kept there cannot be read.",
        where=str(place),
        to_do=f"To go on is not possible: {_anew(out)}.",
    )
