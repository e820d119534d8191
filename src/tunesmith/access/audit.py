"""Who changed what and when: a file that only grows, each line of which holds the SHA-256 of the line before.

A chain shows that a line was changed, removed, added or moved, not that the last ones were cut off. Therefore a second
file, the head, holds the number and the sum of the last line. Who can write both can forge both: note the head that
`tunesmith audit verify` prints somewhere else, and give it to a later `--head`. The log is never shortened or rotated.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tunesmith.access.audit_chain import (
    AFTER_HEAD,
    START,
    TORN,
    Head,
    Verified,
    head_of,
    line_of,
    record_of,
    sum_of,
    verified,
)
from tunesmith.access.keys import Clock, utc_now
from tunesmith.access.secrets_in_text import without_secrets
from tunesmith.access.user_text import UserText
from tunesmith.errors import ArtifactError, TunesmithError
from tunesmith.private_files import locked, naming, private_text, refused_reading, write_private
from tunesmith.writing import refused

FILE = "audit.jsonl"
HEAD = "audit-head"
LONGEST_VALUE = 400
MOST_VALUES = 32
LONGEST_LINE = 65_536
"""In bytes; more than any line that is written."""

State = Mapping[str, str | int | float | bool | None] | None


class AuditLog:
    """The log in a state folder; several processes of one machine may write to it."""

    def __init__(self, folder: Path, now: Clock = utc_now) -> None:
        self.path = folder / FILE
        self._head = folder / HEAD
        self._lock = folder / ".audit.lock"
        self._now = now

    def append(self, who: str, what: str, target: str, *, before: State = None, after: State = None) -> int:
        """Write one line, which is on the disk when this returns, and return its number.

        Raises:
            TunesmithError: a value is a user's text, holds a secret, or is too long.
            ArtifactError: the log does not end as it was left; nothing is written then.
            ResourceError: it cannot be written. What was to be recorded must then not be done.
        """
        for state in (before or {}, after or {}):
            check(len(state) <= MOST_VALUES, f"A state of more than {MOST_VALUES} values")
        for value in (who, what, target, *(before or {}).values(), *(after or {}).values()):
            check_value(value)
        with locked(self._lock):
            head, torn = self._end()
            if torn:  # half a line stays as it is; the next one says so
                self._put(b"\n")
                head = Head(head.number + 1, sum_of(torn + b"\n"))
                head = self._write(head, ("audit", TORN, ""), None, {"bytes": len(torn)})
            return self._write(head, (who, what, target), before, after).number

    @contextmanager
    def recorded(self, who: str, what: str, target: str, *, before: State, after: State) -> Iterator[None]:
        """A block that does what was recorded before it begins; where it fails that is recorded too."""
        self.append(who, what, target, before=before, after=after)
        is_done = False
        try:
            yield
            is_done = True
        finally:
            if not is_done:
                self.append(who, f"{what}.failed", target)

    def records(self) -> Iterator[dict[str, object]]:
        """What the lines say, torn ones left out; `verify` says whether it can be believed."""
        return (record for line in self._lines() if (record := record_of(line)) is not None)

    def verify(self, noted: str = "") -> Verified:
        """Look at the whole log; `noted` is a head that was kept elsewhere ("17:ab12..."), or "".

        Raises:
            TunesmithError: `noted` has not that form.
            ResourceError: the log cannot be read.
        """
        return verified(self._lines(), self._saved(), head_of(noted, "--head") if noted else None)

    def _lines(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with refused_reading(self.path), self.path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                yield line

    def _saved(self) -> Head | None:
        return head_of(private_text(self._head), str(self._head)) if self._head.exists() else None

    def _end(self) -> tuple[Head, bytes]:
        """The last whole line, and what of a torn one stands behind it.

        Raises:
            ArtifactError: the two files do not fit together, so that writing on would hide what happened.
        """
        saved = self._saved() or Head(0, START)
        tail = self._tail()
        whole, _, torn = tail.rpartition(b"\n")
        line = whole.rpartition(b"\n")[2] + b"\n" if whole else b""
        record = record_of(line)
        number = record["number"] if record else 0
        found = Head(number, sum_of(line)) if record and isinstance(number, int) else Head(0, START)
        is_whole = record is not None or not whole
        grew = found.number - saved.number
        if not is_whole or not 0 <= grew <= AFTER_HEAD or (grew == 0 and found != saved):
            raise ArtifactError(
                "The audit log does not end as it was left: it was changed, or its last lines were removed.",
                where=str(self.path),
                to_do="To begin anew, move this log and audit-head elsewhere; keep both. First see: tunesmith audit "
                f"verify{naming(self.path.parent)}",
            )
        return found, torn

    def _tail(self) -> bytes:
        if not self.path.exists():
            return b""
        with refused_reading(self.path), self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * LONGEST_LINE))
            return file.read()

    def _write(self, head: Head, deed: tuple[str, str, str], before: State, after: State) -> Head:
        who, what, target = deed
        record = {"number": head.number + 1, "at": self._now().isoformat(), "who": who, "what": what, "target": target}
        line = line_of({**record, "before": before, "after": after, "previous": head.sum})
        self._put(line)
        head = Head(head.number + 1, sum_of(line))
        write_private(self._head, f"{head}\n")
        return head

    def _put(self, line: bytes) -> None:
        with refused(self.path, to_do="Free disk space, then do it again: nothing else was changed."):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, stat.S_IRUSR | stat.S_IWUSR)
            with os.fdopen(descriptor, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())


def check_value(value: object) -> None:
    """See that a value may stand in the log.

    Raises:
        TunesmithError: it is a user's text, holds a secret, is too long, or no plain value.
    """
    check(not isinstance(value, UserText), "A user's text")
    check(value is None or isinstance(value, str | int | float), "A value that is no text, number or null")
    if isinstance(value, str):
        check(len(value) <= LONGEST_VALUE, f"A value of more than {LONGEST_VALUE} characters")
        check(without_secrets(value) == value, "A value that looks like a key, a token or a password")


def check(holds: bool, what: str) -> None:
    """Refuse `what` where it does not hold.

    Raises:
        TunesmithError: it does not hold.
    """
    if not holds:
        raise TunesmithError(
            f"{what} does not belong into the audit log.",
            where="audit",
            to_do="Record names, numbers and states; the log is read by others than those whom they concern.",
        )
