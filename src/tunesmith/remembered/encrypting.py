"""Raw texts that lie in the clear, or under an older key, encrypted under the newest one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, tuple_, update

from tunesmith.remembered.database import Database, explained
from tunesmith.remembered.erasing import AT_ONCE, sweep
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.sealing import OF_ANSWERS, OF_FEEDBACK, is_clear, key_of, opened_row, sealed_row
from tunesmith.remembered.tables import answers, facts, feedback
from tunesmith.remembered.text_keys import TextKeys, is_sealed, lost

_FACT = "text_key"
"""The fact that says under which key the database's texts were last known to be encrypted."""
_EMPTY: Mapping[str, Any] = {"text": None, "further": None, "answer": {}, "right_answer": None, "comment": ""}


@dataclass(frozen=True, slots=True)
class Encrypted:
    """What was done: rows that were encrypted anew, rows that lost a text that could not be read.

    `is_gone` says whether the files hold nothing of the earlier form any more; see `erasing.Erased`.
    """

    answers: int
    feedback: int
    dropped: int
    is_gone: bool


def settle_keys(database: Database, *, replace: bool = False) -> TextKeys:
    """The database's keys with which texts may be encrypted from now on; a first key is made where there is none.

    Args:
        database: whose keys.
        replace: whether the key that the database knows may be lost.

    Raises:
        StoreError: no keys are given, or the key that the database knows is not among them; nothing is made then.
        ResourceError: the file of keys cannot be made or read.
    """
    keys = _keys_of(database)
    with database.reading() as connection:
        known = _known(connection)
    if known is not None and keys.holds(known):
        return keys
    if known is not None and not replace:
        raise lost(known, keys)
    newest = keys.made().newest()
    with explained(database.place), database.writing() as connection:
        _note(connection, newest)
    return keys


def settle_within(connection: Connection, database: Database) -> None:
    """The same within a transaction that writes: see to a key before a text is encrypted.

    A service that keeps no raw texts itself meets such on rows of an earlier policy, and may be the first with a key.

    Raises:
        StoreError, ResourceError: see `settle_keys`; the key that the database knows is never replaced.
    """
    keys, known = _keys_of(database), _known(connection)
    if known is None:
        _note(connection, keys.made().newest())
    elif not keys.holds(known):
        raise lost(known, keys)


def _keys_of(database: Database) -> TextKeys:
    if database.keys is None:
        raise StoreError(
            "Raw texts are kept encrypted, and no keys are given to do so.",
            where=database.place,
            to_do="Give keys=TextKeys.of(Path(...)) with a folder for the file of keys.",
        )
    return database.keys


def _known(connection: Connection) -> str | None:
    return connection.execute(select(facts.c.value).where(facts.c.name == _FACT)).scalar_one_or_none()


def encrypt(
    database: Database, *, new_key: bool = False, drop_unreadable: bool = False, thorough: bool = True
) -> Encrypted:
    """Encrypt all raw texts under the newest key, those in the clear and those under an older key.

    A service may run meanwhile. Where it stops, some rows are encrypted, all are readable, and it can be run again.

    Args:
        database: where.
        new_key: make a key first; the older ones stay in the file, for other databases and backups.
        drop_unreadable: delete texts whose key is lost or that were changed, instead of stopping at the first; every
            encrypted text is opened to find them.
        thorough: write the database anew, so that its files hold nothing of the texts in the clear; see `erasing`.

    Raises:
        StoreError: a text cannot be read, or the database cannot be used.
        ResourceError: the file of keys cannot be read or written.
    """
    keys = settle_keys(database, replace=drop_unreadable)
    if new_key:
        keys.add()
    with explained(database.place), database.writing() as connection:
        _note(connection, keys.newest())
    renewal, counts, after = _Renewal(keys, drop_unreadable), Counter[str](), ("", 0)
    while rows := _answers_after(database, *after):
        after = rows[-1].request_id, rows[-1].item
        with explained(database.place), database.writing() as connection:
            for row in rows:
                counts.update(renewal.of_row(connection, row.request_id, row.item))
    is_gone = sweep(database, thorough=thorough)
    return Encrypted(counts["answers"], counts["feedback"], counts["dropped"], is_gone)


def _note(connection: Connection, key: str) -> None:
    connection.execute(delete(facts).where(facts.c.name == _FACT))
    connection.execute(insert(facts).values(name=_FACT, value=key))


def _answers_after(database: Database, request_id: str, item: int) -> Sequence[Row[Any, Any]]:
    """The next ids of raw rows."""
    own = tuple_(answers.c.request_id, answers.c.item)
    wanted = select(answers.c.request_id, answers.c.item).where(answers.c.text_policy == "raw")
    if request_id:
        wanted = wanted.where(own > tuple_(request_id, item))
    with database.reading() as connection:
        return connection.execute(wanted.order_by(*own.clauses).limit(AT_ONCE)).all()


@dataclass(frozen=True, slots=True)
class _Renewal:
    """How rows come under the newest key."""

    keys: TextKeys
    drops: bool

    def of_row(self, connection: Connection, request_id: str, item: int) -> Counter[str]:
        """Encrypt an answer and the feedback on it anew where they are not yet; what was done."""
        done: Counter[str] = Counter()
        for name, table, columns in (("answers", answers, OF_ANSWERS), ("feedback", feedback, OF_FEEDBACK)):
            own = list(table.primary_key)
            mine = and_(table.c.request_id == request_id, table.c.item == item)
            for row in connection.execute(select(*own, *(table.c[one] for one in columns)).where(mine)).all():
                identity = (request_id, item) if table is answers else (request_id, item, row.id)
                fresh, dropped = self.fresh(row._asdict(), columns, identity)
                if fresh:
                    connection.execute(update(table).where(mine, *(c == row._mapping[c] for c in own)).values(**fresh))
                done.update({name: len(fresh) > dropped, "dropped": dropped})
        return done

    def fresh(
        self, row: Mapping[str, Any], columns: Sequence[str], identity: tuple[str | int, ...]
    ) -> tuple[dict[str, Any], int]:
        """The columns that must change with their new values, and how many of them lost a text.

        Where unreadable texts are dropped every encrypted value is tried, since one under the newest key may be damaged
        too. The newest key is read first: without it nothing is dropped.
        """
        newest, opened, dropped = self.keys.newest(), dict[str, Any](), 0
        for name in columns:
            value = row[name]
            is_stale = is_clear(name, value) or (is_sealed(value) and key_of(value) != newest)
            if not is_stale and not (self.drops and is_sealed(value)):
                continue
            try:
                text = opened_row({name: value}, (name,), self.keys, *identity)[name]
            except StoreError:
                if not self.drops:
                    raise
                opened[name] = _EMPTY[name]
                dropped += 1
            else:
                opened |= {name: text} if is_stale else {}
        return sealed_row(opened, tuple(opened), self.keys, *identity), dropped
