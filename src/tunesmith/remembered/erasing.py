"""Rows deleted: those past their date, those of one person, the feedback of one key; until the text is gone."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_

from tunesmith.remembered.database import Database, execute_alone, explained
from tunesmith.remembered.records import DAY, milliseconds
from tunesmith.remembered.tables import answers, expired, feedback

AT_ONCE = 500
"""Rows of a transaction: the service writes in between."""
TOLD_DAYS = 90
"""So long it is remembered that a request id was served and is past its date, so that a client is told so."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was deleted, and whether nothing of it is left in the files.

    Attributes:
        answers, feedback: deleted rows.
        is_gone: the database's files hold none of it. False where a log could not be emptied since others read it, and
            on PostgreSQL, whose write-ahead log and backups are the server's.
    """

    answers: int
    feedback: int
    is_gone: bool


def purge(database: Database, *, thorough: bool = True, now: float | None = None) -> Erased:
    """Delete the answers that are past their date, and the feedback on them.

    Args:
        database: where.
        thorough: write the database anew (VACUUM), which takes as long as its size and keeps others from writing.
            Without it, deleted rows are overwritten with zeros (SQLite) or their space is used again (PostgreSQL).
        now: seconds since 1970, the present where it is None.

    Raises:
        StoreError: the database cannot be used.
    """
    moment = milliseconds(time.time() if now is None else now)
    erased = _delete_answers(
        database, answers.c.keep_until <= moment, told_until=moment + milliseconds(TOLD_DAYS * DAY)
    )
    with explained(database.place), database.writing(in_turn=False) as connection:
        connection.execute(delete(expired).where(expired.c.forget_at <= moment))
    return Erased(*erased, is_gone=sweep(database, thorough=thorough))


def forget_subject(database: Database, subject: str, *, thorough: bool = True) -> Erased:
    """Delete all answers about or from a person, and the feedback on them; not even their request ids are kept.

    Raises:
        StoreError: the database cannot be used, or has no secret to find the person by.
    """
    erased = _delete_answers(database, answers.c.subject == database.pseudonym(subject))
    return Erased(*erased, is_gone=sweep(database, thorough=thorough))


def forget_key(database: Database, key_id: str, *, thorough: bool = True) -> Erased:
    """Delete all feedback that one key gave; the answers stay until their date.

    Raises:
        StoreError: the database cannot be used.
    """
    with explained(database.place), database.writing(in_turn=False) as connection:
        count = connection.execute(delete(feedback).where(feedback.c.key_id == key_id)).rowcount
    return Erased(0, count, is_gone=sweep(database, thorough=thorough))


def sweep(database: Database, *, thorough: bool) -> bool:
    """See that deleted text leaves the files; whether it has.

    SQLite: `secure_delete` has overwritten rows, VACUUM leaves out what the moving of rows between pages left behind,
    and the checkpoint empties the log, which still holds old pages.
    """
    if database.is_sqlite:
        statements = ["VACUUM"] if thorough else []
        *_, (is_busy, *_) = execute_alone(database, *statements, "PRAGMA wal_checkpoint(TRUNCATE)")
        return thorough and not is_busy
    execute_alone(database, "VACUUM (FULL) answers, feedback" if thorough else "VACUUM answers, feedback")
    return False


def _delete_answers(database: Database, which: ColumnElement[bool], told_until: int = 0) -> tuple[int, int]:
    found, remarks = 0, 0
    while True:
        with explained(database.place), database.writing(in_turn=False) as connection:
            own = tuple_(answers.c.request_id, answers.c.item)
            rows = connection.execute(select(answers.c.request_id, answers.c.item).where(which).limit(AT_ONCE)).all()
            if not rows:
                return found, remarks
            keys = [(row.request_id, row.item) for row in rows]
            remarks += _remarks(connection, keys)
            if told_until:
                told = [{"request_id": one, "forget_at": told_until} for one in sorted({key[0] for key in keys})]
                connection.execute(database.adding(expired).on_conflict_do_nothing(), told)
            found += connection.execute(delete(answers).where(own.in_(keys), which)).rowcount


def _remarks(connection: Connection, keys: list[tuple[str, int]]) -> int:
    of = tuple_(feedback.c.request_id, feedback.c.item)
    return int(connection.execute(select(func.count()).select_from(feedback).where(of.in_(keys))).scalar_one())
