"""Power cuts of the feedback store: is everything that was acknowledged there afterwards, and whole?

    python benchmarks/power_cut.py --cuts 3000 --rows 600

A killed process proves nothing about power, since the system still writes what the process gave to it. So a small
library (power_cut.c, preloaded) records each write, truncation, sync, creation and removal of a process that uses the
real store, together with its acknowledgements. Then power is cut at points of this record, and a disk is made up for
each: what was synced is there; of what was not, each page of 4 KiB is there, is not, or is torn into its sectors of
512 bytes, of which each has any of its versions; sizes, and names in the folder, may be old too. The store is opened
from this disk.

The same with `synchronous=NORMAL` and `OFF` shows that the simulator sees a loss, and a damaged file, where there is
one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Pool, event

from tunesmith.remembered.database import open_database
from tunesmith.remembered.erasing import sweep
from tunesmith.remembered.records import Answered, Feedback, Policy
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.store import Store

PAGE, SECTOR = 4096, 512
DATABASE, ACKNOWLEDGED = "answers.db", "acknowledged"
SECRET = b"the secret of a simulated disk.."
OPENED_BY_STORE = 20
"""Each so manieth disk is opened by the store itself too, which is slower."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A call that was recorded; see power_cut.c."""

    kind: str
    name: str
    offset: int
    data: bytes


@dataclass(slots=True)
class File:
    """What a file holds for certain, and what was written since, in order: (offset, data), or (size, None)."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        """All that was written is there for certain."""
        for offset, data in self.pending:
            if data is None:
                self.durable = self.durable[:offset].ljust(offset, b"\0")
            else:
                self.durable = self.durable.ljust(offset + len(data), b"\0")
                self.durable[offset : offset + len(data)] = data
        self.pending.clear()

    def after_cut(self, chance: random.Random) -> bytes:
        """What may be found of it."""
        sizes, versions = [len(self.durable)], dict[int, list[tuple[int, bytes]]]()
        for offset, data in self.pending:
            sizes.append(offset if data is None else max(sizes[-1], offset + len(data)))
            for place, piece in pieces(offset, data or b""):
                versions.setdefault(place // SECTOR, []).append((place, piece))
        mood = chance.choice(("nothing", "everything", "some", "some"))
        size = sizes[0] if mood == "nothing" else sizes[-1] if mood == "everything" else chance.choice(sizes)
        found = bytearray(self.durable).ljust(max(sizes), b"\0")
        share = chance.random()
        fate_of = dict[int, str]()
        for sector in sorted(versions):
            page = sector * SECTOR // PAGE
            usual = "whole" if chance.random() < share else chance.choice(("missing", "torn"))
            fate = {"nothing": "missing", "everything": "whole"}.get(mood) or fate_of.setdefault(page, usual)
            count = {"missing": 0, "whole": len(versions[sector])}.get(fate)
            landed = chance.randint(0, len(versions[sector])) if count is None else count
            for offset, piece in versions[sector][:landed]:
                found[offset : offset + len(piece)] = piece
        return bytes(found[:size])


def pieces(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """A write, parted where sectors end."""
    first = 0
    while first < len(data):
        last = first + SECTOR - (offset + first) % SECTOR
        yield offset + first, data[first:last]
        first = last


@dataclass(slots=True)
class Disk:
    """A folder: its names for certain, its names as the process sees them, and changes of names in between."""

    certain: dict[str, File] = field(default_factory=dict)
    seen: dict[str, File] = field(default_factory=dict)
    changes: list[dict[str, File]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def follow(self, entry: Entry) -> None:
        """Do what the process did."""
        if entry.name == ACKNOWLEDGED:
            self.acknowledged += entry.data.decode().splitlines()
            return
        if entry.kind == "S" and not entry.name:
            self.certain = dict(self.seen)
            self.changes.clear()
        elif entry.kind == "S":
            self.seen[entry.name].sync()
        elif entry.kind == "W":
            self.seen[entry.name].pending.append((entry.offset, entry.data))
        elif entry.kind == "T":
            self.seen[entry.name].pending.append((entry.offset, None))
        elif entry.kind in ("C", "U", "R"):
            if entry.kind == "C":
                self.seen[entry.name] = File()
            else:
                moved = self.seen.pop(entry.name)
                self.seen |= {entry.data.decode(): moved} if entry.kind == "R" else {}
            self.changes.append(dict(self.seen))
        else:
            raise ValueError(f"an entry of kind {entry.kind!r}")

    def after_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files that may be found. The file system keeps the order of changes of names, as journals do."""
        names = chance.choice([self.certain, *self.changes])
        return {name: file.after_cut(chance) for name, file in names.items()}


def entries(path: Path) -> Iterator[Entry]:
    """The record of a process, entry by entry."""
    with path.open("rb") as file:
        while head := file.read(21):
            kind, size, offset, length = struct.unpack("<cIQQ", head)
            yield Entry(kind.decode(), file.read(size).decode(), offset, file.read(length))


def record(folder: Path, *, rows: int, clients: int, synchronous: str, seed: int) -> Path:
    """Run the store in a process of its own, and give the record of what it did to its files."""
    library, log, data = folder / "power_cut.so", folder / f"record-{synchronous}", folder / f"data-{synchronous}"
    data.mkdir()
    source = Path(__file__).with_name("power_cut.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-lpthread"], check=True)
    command = [sys.executable, __file__, "--work", str(data), "--rows", str(rows), "--clients", str(clients)]
    watched = {"LD_PRELOAD": str(library), "POWER_CUT_FOLDER": str(data), "POWER_CUT_LOG": str(log)}
    environment = {**os.environ, **watched, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*command, "--synchronous", synchronous, "--seed", str(seed)], check=True, env=environment)
    return log


def work(folder: Path, *, rows: int, clients: int, synchronous: str, seed: int) -> None:
    """What is recorded: answers and feedback by several clients at once, and the file written anew meanwhile."""

    def settle(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=40")  # many checkpoints, for these are what is delicate

    event.listen(Pool, "checkout", settle)
    told = os.open(folder / ACKNOWLEDGED, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    store = Store.open(str(folder / DATABASE), Policy(text="masked", mask=lambda _: (), timeout_seconds=60), SECRET)

    def client(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        for item in range(rows // clients):
            said = "".join(chance.choice("好坏服务 abc") for _ in range(chance.choice((10, 300, 3000))))
            request = f"{number}-{item}"
            store.remember([Answered(request, 0, "m", "0", "k", said, {"label": "good"})])
            right = {"label": said[:9]}
            receipt = store.feedback(Feedback(request, 0, "k", "wrong", right, comment=said))
            os.write(told, f"{receipt.id} {digest(said, right)}\n".encode())

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.1)
        sweep(store.database, thorough=True)
    for thread in threads:
        thread.join()
    store.close()


def digest(comment: str, right: object) -> str:
    """What tells a row of feedback from one that is torn."""
    return hashlib.sha256(json.dumps([comment, right]).encode()).hexdigest()


@dataclass(slots=True)
class Outcome:
    """What was found on the disks after so many cuts."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    torn: int = 0
    damaged: int = 0
    cuts_with_a_loss: int = 0
    entries: int = 0


def cut(log: Path, *, cuts: int, seed: int, folder: Path) -> Outcome:
    """Cut the power so often, half of the time right after an acknowledgement, and look at what is found."""
    chance = random.Random(seed)
    every = list(entries(log))
    after_told = [number for number, entry in enumerate(every, 1) if entry.name == ACKNOWLEDGED]
    points = [
        chance.choice(after_told) if chance.random() < 0.5 else chance.randint(1, len(every)) for _ in range(cuts)
    ]
    outcome, disk, done = Outcome(entries=len(every)), Disk(), 0
    for point in sorted(points):
        for entry in every[done:point]:
            disk.follow(entry)
        done = point
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in disk.after_cut(chance).items():
            (folder / name).write_bytes(data)
        if chance.random() < 0.5:  # shared memory is rubbish after a cut, and must not be believed
            (folder / f"{DATABASE}-shm").write_bytes(chance.randbytes(32768))
        outcome.cuts += 1
        _look(folder / DATABASE, disk.acknowledged, outcome)
    return outcome


def _look(path: Path, acknowledged: Sequence[str], outcome: Outcome) -> None:
    outcome.acknowledged += len(acknowledged)
    there: dict[str, str] = {}
    try:
        if outcome.cuts % OPENED_BY_STORE == 0:
            open_database(str(path), SECRET).close()
        connection = sqlite3.connect(path)
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            outcome.damaged += 1
        outcome.damaged += bool(connection.execute("PRAGMA foreign_key_check").fetchall())
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'feedback'").fetchall():
            rows = connection.execute("SELECT id, comment, right_answer FROM feedback").fetchall()
            there = {one: digest(comment, json.loads(right)) for one, comment, right in rows}
        connection.close()
    except (sqlite3.DatabaseError, StoreError):
        outcome.damaged += 1
    said = dict(line.split() for line in acknowledged)
    lost = [one for one in said if one not in there]
    outcome.lost += len(lost)
    outcome.torn += sum(one in there and there[one] != expected for one, expected in said.items())
    outcome.cuts_with_a_loss += bool(lost)


def main() -> None:
    """Print what a cut of the power takes, as the store is set and with NORMAL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cuts", type=int, default=3000)
    parser.add_argument("--contrast", type=int, default=300, help="cuts with synchronous=NORMAL, and with OFF")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--synchronous", default="FULL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(Path(given.work), rows=given.rows, clients=given.clients, synchronous=given.synchronous, seed=given.seed)
        return
    what = f"{given.rows} rows of feedback by {given.clients} clients at once"
    print(f"seed {given.seed}, {what}, SQLite {sqlite3.sqlite_version}", flush=True)
    for synchronous, cuts in (("FULL", given.cuts), ("NORMAL", given.contrast), ("OFF", given.contrast)):
        with tempfile.TemporaryDirectory() as folder:
            log = record(Path(folder), rows=given.rows, clients=given.clients, synchronous=synchronous, seed=given.seed)
            found = cut(log, cuts=cuts, seed=given.seed, folder=Path(folder) / "disk")
        print(
            f"synchronous={synchronous}: {found.cuts} cuts among {found.entries} calls; "
            f"{found.acknowledged} acknowledged rows looked for: {found.lost} lost "
            f"(by {found.cuts_with_a_loss} cuts), {found.torn} torn; {found.damaged} databases damaged",
            flush=True,
        )
        if not found.cuts_with_a_loss + found.torn + found.damaged:
            print(f"  so at 95 % confidence fewer than {3 / found.cuts:.2%} of such cuts lose anything (3/N)")


if __name__ == "__main__":
    main()
