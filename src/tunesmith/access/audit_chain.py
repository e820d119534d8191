"""The lines of the audit log as a chain: how one is written, and the first that does not hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.errors import TunesmithError

START = "0" * 64
"""What the first line holds as the sum of the line before."""

TORN = "audit.torn"
"""What the line after a torn one says: a power cut left a part of a line."""

AFTER_HEAD = 2
"""So many lines a power cut can leave that the head does not know of: a line, or a torn one and the word on it."""

_FIELDS = ("number", "at", "who", "what", "target", "before", "after", "previous")
_HEAD = re.compile(r"([0-9]{1,12}):([0-9a-f]{64})")


@dataclass(frozen=True)
class Broken:
    """The first line that does not hold, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Head:
    """A line's number and SHA-256; written "17:ab12..."."""

    number: int
    sum: str

    def __str__(self) -> str:
        return f"{self.number}:{self.sum}"


@dataclass(frozen=True)
class Verified:
    """What a look at the whole log found: its last line, which are torn, and the first that is broken, if any."""

    head: Head
    torn: tuple[int, ...] = ()
    broken: Broken | None = None


def head_of(text: str, where: str) -> Head:
    """A head out of its written form.

    Raises:
        TunesmithError: it does not have that form.
    """
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise TunesmithError(
            "This is no head of an audit log.",
            where=where,
            to_do="A head is a number, a colon and 64 hexadecimal digits.",
        )
    return Head(int(found[1]), found[2])


def line_of(record: Mapping[str, object]) -> bytes:
    """A record as a line, with its end."""
    plain = {name: record[name] for name in _FIELDS}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8") + b"\n"


def record_of(line: bytes) -> dict[str, object] | None:
    """What a line says, or None where it is no record."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and tuple(found) == _FIELDS else None


def sum_of(line: bytes) -> str:
    """The SHA-256 of a line, its end included, in hexadecimal."""
    return hashlib.sha256(line).hexdigest()


def verified(lines: Iterable[bytes], saved: Head | None, noted: Head | None) -> Verified:
    """Look at all lines, up to the first that does not hold, and at the heads that they must agree with.

    Args:
        lines: the lines, each with its end; the last may lack it.
        saved: the head beside the log, which knows all lines but the last ones after a power cut.
        noted: a head that was kept elsewhere, or None.
    """
    heads = [head for head in (saved, noted) if head is not None]
    head, torn, is_torn, is_cut = Head(0, START), list[int](), False, False
    for number, line in enumerate(lines, 1):
        record = record_of(line)
        if is_torn and (record is None or record["what"] != TORN):
            return Verified(head, tuple(torn), Broken(number - 1, "It is no record."))
        if record is not None and (broken := _fault(record, number, head)):
            return Verified(head, tuple(torn), broken)
        is_torn, is_cut = record is None, not line.endswith(b"\n")
        if is_torn:
            torn.append(number)
        if not is_cut:
            head = Head(number, sum_of(line))
        if any(one.number == number and one != head for one in heads):
            return Verified(head, tuple(torn), Broken(number, "It is not the line that the head was written after."))
    if is_torn and not is_cut:
        return Verified(head, tuple(torn), Broken(head.number, "It is no record."))
    return Verified(head, tuple(torn), _fault_at_end(head, saved, heads))


def _fault(record: Mapping[str, object], number: int, before: Head) -> Broken | None:
    if record["number"] != number:
        return Broken(number, f"It holds the number {record['number']}: lines were removed, added or moved.")
    if record["previous"] != before.sum:
        if number == 1:
            return Broken(1, "It is not a first line.")
        return Broken(
            number - 1, f"It is not the line that line {number} was written after: one of the two was changed."
        )
    return None


def _fault_at_end(head: Head, saved: Head | None, heads: Sequence[Head]) -> Broken | None:
    most = max((one.number for one in heads), default=0)
    if most > head.number:
        return Broken(head.number + 1, f"It is missing, as is all up to line {most}, which a head knows of.")
    known = 0 if saved is None else saved.number
    if head.number > known + AFTER_HEAD:
        return Broken(
            known + 1, "The head does not know of it: it was added, or the file with the head is an older one."
        )
    return None
