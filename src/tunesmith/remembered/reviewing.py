"""Feedback listed, and judged by a person: what is learnt from, and what is not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from tunesmith.errors import nearest
from tunesmith.remembered.database import Database, explained
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.sealing import ENCRYPTED, OF_ANSWERS, OF_FEEDBACK, opened_row
from tunesmith.remembered.tables import STATUSES, answers, feedback
from tunesmith.remembered.text_keys import TextKeys, is_sealed

HIDDEN = "(encrypted)"
_READ_AT_ONCE = 1_000
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Which:
    """Which feedback: an empty setting stands for all.

    Attributes:
        statuses: those of `tables.STATUSES`.
        key_id: who gave it.
        model: the model that had answered.
        limit: at most so many, the newest; 0 for all.
    """

    statuses: tuple[str, ...] = ()
    key_id: str = ""
    model: str = ""
    limit: int = 0

    def __post_init__(self) -> None:
        if wrong := [one for one in self.statuses if one not in STATUSES]:
            raise StoreError(f"There is no status '{wrong[0]}'.", to_do=f"Use {', '.join(STATUSES)}.")


@dataclass(frozen=True, slots=True)
class Remark:
    """Feedback and the answer that it is about, as the tables have them; raw texts as they came, or `HIDDEN`."""

    id: str
    request_id: str
    item: int
    given_at: int
    key_id: str
    verdict: str
    right_answer: Any
    comment: Any
    status: str
    provenance: Mapping[str, Any]
    asked_at: int
    model: str
    version: str
    subject: str | None
    text_policy: str
    text: Any
    further: Any
    answer: Any
    confidence: float | None


def found(database: Database, which: Which, *, with_texts: bool = True) -> Iterator[Remark]:
    """Feedback with the answer that it is about, the newest first; rows come as they are read.

    Args:
        database: where.
        which: which feedback.
        with_texts: whether encrypted texts are opened; else `HIDDEN` stands for each, and no key is needed.

    Raises:
        StoreError: the database cannot be used; the key of a text is not there, or does not open it.
    """
    with (
        database.reading() as connection,
        connection.execution_options(yield_per=_READ_AT_ONCE).execute(_chosen(which)) as rows,
    ):
        for row in rows:
            yield _remark(row, database.keys, with_texts=with_texts)


def _remark(row: Row[Any], keys: TextKeys | None, *, with_texts: bool) -> Remark:
    told = row._asdict()
    if row.text_policy in ENCRYPTED and not with_texts:
        told |= {name: HIDDEN for name in (*OF_ANSWERS, *OF_FEEDBACK) if is_sealed(told[name])}
    elif row.text_policy in ENCRYPTED:
        told = opened_row(told, OF_ANSWERS, keys, row.request_id, row.item)
        told = opened_row(told, OF_FEEDBACK, keys, row.request_id, row.item, row.id)
    return Remark(**told)


def by_status(database: Database, which: Which) -> dict[str, int]:
    """How much feedback there is of each status, the other settings of `which` given."""
    joined = select(feedback.c.status, func.count()).join(answers)
    wanted = _narrowed(joined, Which((), which.key_id, which.model)).group_by(feedback.c.status)
    with database.reading() as connection:
        counts = {str(status): int(count) for status, count in connection.execute(wanted)}
    return {status: counts.get(status, 0) for status in STATUSES}


def see_known(database: Database, which: Which) -> None:
    """See that there is feedback of this key and of this model, where one is named, whatever its status.

    Raises:
        StoreError: there is none, as where the name has a letter too few.
    """
    for name, what, column in ((which.key_id, "of key", feedback.c.key_id), (which.model, "on model", answers.c.model)):
        if not name:
            continue
        with database.reading() as connection:
            there = sorted(connection.execute(select(column).select_from(feedback.join(answers)).distinct()).scalars())
        if name not in there:
            known = ", ".join(there[:_NAMED]) + (", ..." if len(there) > _NAMED else "")
            raise StoreError(
                f"There is no feedback {what} '{name}'.{nearest(name, there)}",
                where=database.place,
                to_do=f"There is some {what} {known}." if there else "There is no feedback at all so far.",
            )


def statuses_of(database: Database, ids: Sequence[str]) -> dict[str, int]:
    """How much of this feedback has which status.

    Raises:
        StoreError: there is no such feedback, or the database cannot be used.
    """
    with explained(database.place), database.reading() as connection:
        return dict(Counter(row.status for row in _there(connection, ids, database).values()))


def unchanged(database: Database, read: Mapping[str, str]) -> list[str]:
    """The ids of feedback that still has the status that was `read` (by id); what was deleted has none.

    Raises:
        StoreError: the database cannot be used.
    """
    with explained(database.place), database.reading() as connection:
        there = _by_id(connection, list(read))
    return [one for one, status in read.items() if one in there and there[one].status == status]


def review(
    database: Database,
    ids: Sequence[str],
    status: str,
    reviewer: str = "",
    reasons: Mapping[str, str] | None = None,
    *,
    read: Mapping[str, str] | None = None,
) -> int:
    """Give feedback another status; who did it, when and why is kept with it. Gives how many rows changed.

    Args:
        database: where.
        ids: which feedback.
        status: one of `tables.STATUSES`.
        reviewer: who.
        reasons: why, by id.
        read: by id, the status that feedback must still have; what was judged or deleted meanwhile is left alone.

    Raises:
        StoreError: there is no such status, or no such feedback (then nothing is changed), or the database cannot be
            used.
    """
    Which((status,))
    told = reasons or {}

    def step(row: Row[Any]) -> dict[str, object]:
        made = {"from": row.status, "to": status, "at": iso(int(time.time() * 1000)), "by": reviewer}
        return made | ({"why": told[row.id]} if row.id in told else {})

    with explained(database.place), database.writing() as connection:
        there = _there(connection, ids, database) if read is None else _by_id(connection, ids)
        changed = [
            {"of_id": row.id, "to": status, "why": {**row.provenance, "reviews": [*_steps(row.provenance), step(row)]}}
            for row in there.values()
            if row.status != status and (read is None or row.status == read[row.id])
        ]
        if changed:
            to = update(feedback).where(feedback.c.id == bindparam("of_id"))
            connection.execute(to.values(status=bindparam("to"), provenance=bindparam("why")), changed)
    return len(changed)


def _there(connection: Connection, ids: Sequence[str], database: Database) -> Mapping[str, Row[Any]]:
    """The rows of this feedback by their ids; each must be there."""
    there = _by_id(connection, ids)
    if missing := [one for one in dict.fromkeys(ids) if one not in there]:
        raise StoreError(
            f"There is no feedback with the id {missing[0][:40]!r} (of {len(missing)} such ids).",
            where=database.place,
            to_do=f"See: tunesmith feedback list{database.keys.named if database.keys else ''}",
        )
    return there


def _by_id(connection: Connection, ids: Sequence[str]) -> Mapping[str, Row[Any]]:
    wanted = list(dict.fromkeys(ids))
    return {row.id: row for part in _parts(wanted) for row in connection.execute(_of(part))}


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[first : first + _READ_AT_ONCE] for first in range(0, len(ids), _READ_AT_ONCE))


def _of(ids: Sequence[str]) -> Select[Any]:
    return select(feedback.c.id, feedback.c.status, feedback.c.provenance).where(feedback.c.id.in_(ids))


def was_released(row: Remark) -> bool:
    """Whether a person accepted feedback that had been quarantined."""
    return any(step.get("from") == "quarantined" and step.get("to") == "accepted" for step in _steps(row.provenance))


def _steps(provenance: Mapping[str, Any]) -> Sequence[dict[str, object]]:
    steps: Sequence[dict[str, object]] = provenance.get("reviews", ())
    return steps


def _chosen(which: Which) -> Select[Any]:
    mine = [column for column in feedback.c if column.name not in ("content", "idempotency", "day")]
    names = ("asked_at", "model", "version", "subject", "text_policy", "text", "further", "answer", "confidence")
    wanted = select(*mine, *(answers.c[name] for name in names)).join(answers)
    wanted = _narrowed(wanted, which).order_by(feedback.c.given_at.desc(), feedback.c.id)
    return wanted.limit(which.limit) if which.limit else wanted


def _narrowed(wanted: Select[Any], which: Which) -> Select[Any]:
    if which.statuses:
        wanted = wanted.where(feedback.c.status.in_(which.statuses))
    if which.key_id:
        wanted = wanted.where(feedback.c.key_id == which.key_id)
    return wanted.where(answers.c.model == which.model) if which.model else wanted


def iso(moment: int) -> str:
    """Milliseconds since 1970 as 2026-11-28T23:04:05.678Z."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
