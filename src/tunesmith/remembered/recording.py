"""One transaction for all that waits: answers written, feedback judged by what is remembered, and written."""

from __future__ import annotations

import json
import math
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from tunesmith.errors import ResourceError, TunesmithError
from tunesmith.remembered.database import Database
from tunesmith.remembered.encrypting import settle_within
from tunesmith.remembered.labels import repeats
from tunesmith.remembered.records import (
    DAY,
    Answered,
    Caps,
    Feedback,
    LabelCheck,
    Policy,
    Receipt,
    milliseconds,
)
from tunesmith.remembered.refusals import FeedbackError, StoreError
from tunesmith.remembered.sealing import ENCRYPTED, OF_ANSWERS, OF_FEEDBACK, is_clear, opened_row, sealed_row
from tunesmith.remembered.stored_text import Keeper, storable
from tunesmith.remembered.tables import VERDICTS, answers, expired, feedback

Outcome = Receipt | FeedbackError
_FAULTS = (TunesmithError, ValueError, TypeError, LookupError, ArithmeticError)
"""What a masking function, a check of labels, or JSON may say of a single row."""
LONGEST_COMMENT = 4_000
LONGEST_RIGHT = 100_000
"""Characters; of a right answer those of its JSON."""
LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes to a database as a policy says; `check` judges right answers."""

    database: Database
    policy: Policy
    check: LabelCheck

    def row_of(self, given: Answered) -> dict[str, Any] | None:
        """An answer as a row, with its text as it is stored; None if it cannot be stored."""
        keeper = Keeper.of(self.policy)
        try:
            text, edits = keeper.kept(given.text)
            row = {
                "request_id": given.request_id,
                "item": given.item,
                "asked_at": milliseconds(given.asked_at),
                "model": given.model,
                "version": given.version,
                "key_id": given.key_id,
                "subject": self.database.pseudonym(given.subject),
                "text_policy": self.policy.text,
                "text": text,
                "further": keeper.kept_value(given.further) if given.further and text is not None else None,
                "edits": [list(edit) for edit in edits] or None,
                "characters": len(given.text),
                "answer": keeper.kept_answer(given.answer, text, edits),
                "confidence": None if given.confidence is None or math.isnan(given.confidence) else given.confidence,
                "keep_until": milliseconds(given.asked_at + self.policy.keep_days * DAY),
            }
            json.dumps((row["further"], row["answer"], row["confidence"]), allow_nan=False)
            ids = (given.request_id, given.key_id, given.version)
            is_fit = max(map(len, ids)) <= LONGEST_ID and len(given.model) <= 2 * LONGEST_ID
            if not is_fit or any(storable(one) != one for one in (*ids, given.model)):
                return None
            if self.policy.text in ENCRYPTED:
                row = sealed_row(row, OF_ANSWERS, self.database.keys, given.request_id, given.item)
            return row
        except _FAULTS:
            return None

    def record(self, rows: Sequence[Mapping[str, Any]], given: Sequence[Feedback]) -> list[Outcome]:
        """Write answers and feedback in one transaction; when this returns, they are on disk.

        Returns:
            What came of each feedback, in order.
        """
        with self.database.writing(in_turn=bool(given)) as connection:
            if rows:
                connection.execute(self.database.adding(answers).on_conflict_do_nothing(), list(rows))
            return self._judged(connection, given) if given else []

    def _judged(self, connection: Connection, given: Sequence[Feedback]) -> list[Outcome]:
        known = _Known.of(connection, given, self.policy.caps)
        outcomes, fresh = [], []
        for one in given:
            outcome, row = self._judge(connection, one, known)
            outcomes.append(outcome)
            if row is not None:
                fresh.append(row)
        if fresh:
            connection.execute(insert(feedback), fresh)
            self._keep_longer(connection, fresh)
        return outcomes

    def _judge(self, connection: Connection, one: Feedback, known: _Known) -> tuple[Outcome, dict[str, Any] | None]:
        answer = known.answers.get((one.request_id, one.item))
        if answer is None:
            return FeedbackError("gone" if one.request_id in known.expired else "unknown_request"), None
        if answer.keep_until <= milliseconds(one.given_at):
            return FeedbackError("gone"), None
        try:
            if one.right is not None and (fault := self.check(answer.model, one.right, answer.characters)):
                return FeedbackError("wrong_right_answer", fault), None
            row = self._row(one, answer)
            is_same = one.right is not None and repeats(
                self._opened(answer, "answer"), one.right, row["right_answer"], answer.edits or ()
            )
            if answer.text_policy in ENCRYPTED:
                row = self._sealed(connection, row)
        except (StoreError, ResourceError):  # the keys of raw texts are away
            return FeedbackError("feedback_unavailable"), None
        except _FAULTS:  # of a check or a mask, which are given from outside
            return FeedbackError("not_storable"), None
        same = (one.request_id, one.item, one.key_id, row["idempotency"])
        if (there := known.stored.get(same)) is not None:
            if there[1] != row["content"]:
                return FeedbackError("idempotency_conflict"), None
            return Receipt(there[0], is_repeated=True, status=there[2]), None
        if is_same:
            return FeedbackError("same_answer"), None
        if reason := known.full(one.key_id, row["day"]):
            row |= {"status": "quarantined", "provenance": {**row["provenance"], "reason": reason}}
        else:
            known.counted(one.key_id, row["day"])
        known.stored[same] = (row["id"], row["content"], row["status"])
        return Receipt(row["id"], is_repeated=False, status=row["status"]), row

    def _row(self, one: Feedback, answer: Row[Any]) -> dict[str, Any]:
        keeper = Keeper(answer.text_policy, self.policy.mask)
        said = content_of(one)
        content = self.database.keyed("content", said)
        right = (
            None
            if one.right is None
            else keeper.kept_answer(one.right, self._opened(answer, "text"), answer.edits or ())
        )
        row: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "request_id": one.request_id,
            "item": one.item,
            "given_at": milliseconds(one.given_at),
            "day": int(one.given_at // DAY),
            "key_id": one.key_id,
            "idempotency": self.database.keyed("idempotency", one.idempotency) if one.idempotency else content,
            "content": content,
            "verdict": one.verdict,
            "right_answer": right,
            "comment": keeper.kept(one.comment)[0] or "",
            "status": "new",
            "provenance": {"source": "api"},
        }
        return row

    def _sealed(self, connection: Connection, row: dict[str, Any]) -> dict[str, Any]:
        """Feedback on a raw text with its own texts encrypted; an earlier policy may have kept that text without a key.

        Raises:
            StoreError, ResourceError: the keys are away.
        """
        if any(is_clear(name, row[name]) for name in OF_FEEDBACK):
            settle_within(connection, self.database)
        return sealed_row(row, OF_FEEDBACK, self.database.keys, row["request_id"], row["item"], row["id"])

    def _opened(self, answer: Row[Any], name: str) -> Any:
        """What is stored of an answer in a column that may be encrypted: "text" or "answer"."""
        row = {name: answer._mapping[name]}
        if answer.text_policy in ENCRYPTED:
            row = opened_row(row, (name,), self.database.keys, answer.request_id, answer.item)
        return row[name]

    def _keep_longer(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep answers that have feedback for as long as feedback is kept."""
        own = (answers.c.request_id == bindparam("of_request")) & (answers.c.item == bindparam("of_item"))
        longer = (
            update(answers).where(own, answers.c.keep_until < bindparam("until")).values(keep_until=bindparam("until"))
        )
        days = self.policy.keep_feedback_days
        connection.execute(
            longer,
            [
                {
                    "of_request": row["request_id"],
                    "of_item": row["item"],
                    "until": row["given_at"] + milliseconds(days * DAY),
                }
                for row in rows
            ],
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database knows of the feedback at hand, and how much of a day's caps is used."""

    answers: Mapping[tuple[str, int], Row[Any]]
    expired: set[str]
    stored: dict[tuple[str, int, str, str], tuple[str, str, str]]
    used: Counter[tuple[str, int]]
    caps: Caps

    @classmethod
    def of(cls, connection: Connection, given: Sequence[Feedback], caps: Caps) -> _Known:
        ids = sorted({one.request_id for one in given})
        columns = [answers.c[n] for n in ("request_id", "item", "model", "characters", "keep_until")]
        kept = [answers.c[n] for n in ("text_policy", "text", "answer", "edits")]
        found = connection.execute(select(*columns, *kept).where(answers.c.request_id.in_(ids)))
        gone = connection.execute(select(expired.c.request_id).where(expired.c.request_id.in_(ids)))
        there = connection.execute(select(feedback).where(feedback.c.request_id.in_(ids)))
        stored = {
            (row.request_id, row.item, row.key_id, row.idempotency): (row.id, row.content, row.status) for row in there
        }
        return cls(
            {(row.request_id, row.item): row for row in found},
            set(gone.scalars()),
            stored,
            _used(connection, given),
            caps,
        )

    def full(self, key_id: str, day: int) -> str:
        """Which cap is reached; empty for none."""
        if self.used[key_id, day] >= self.caps.per_key_and_day:
            return f"more than {self.caps.per_key_and_day} of this key on this day"
        if self.used["", day] >= self.caps.per_day:
            return f"more than {self.caps.per_day} of all keys on this day"
        return ""

    def counted(self, key_id: str, day: int) -> None:
        """One more row of a day."""
        self.used[key_id, day] += 1
        self.used["", day] += 1


def _used(connection: Connection, given: Sequence[Feedback]) -> Counter[tuple[str, int]]:
    """How many rows of each key and day may be learnt from; under the key "" those of all keys."""
    days = sorted({int(one.given_at // DAY) for one in given})
    counted = select(feedback.c.key_id, feedback.c.day, func.count()).where(
        feedback.c.day.in_(days), feedback.c.status.in_(("new", "accepted"))
    )
    used: Counter[tuple[str, int]] = Counter()
    for key_id, day, count in connection.execute(counted.group_by(feedback.c.key_id, feedback.c.day)):
        used[key_id, day] += count
        used["", day] += count
    return used


def content_of(one: Feedback) -> str:
    """What feedback says, as one text: equal for equal feedback.

    Raises:
        FeedbackError: its right answer is no JSON.
    """
    try:
        return json.dumps([one.verdict, one.right, one.comment], sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FeedbackError("wrong_right_answer", "It is no JSON.") from error


def check_form(one: Feedback) -> None:
    """See that feedback is well-formed, before any database is asked.

    Raises:
        FeedbackError: the verdict is unknown or contradicts the right answer, or a part is too long.
    """
    if one.verdict not in VERDICTS:
        raise FeedbackError("wrong_verdict")
    if one.right is not None and one.verdict == "correct":
        raise FeedbackError("contradictory_feedback")
    if one.right is not None and not isinstance(one.right, Mapping):
        raise FeedbackError("wrong_right_answer", "It is no object.")
    if len(one.comment) > LONGEST_COMMENT:
        raise FeedbackError(
            "too_long", f"The comment has {len(one.comment)} characters, the limit is {LONGEST_COMMENT}."
        )
    length = len(content_of(one)) - len(one.comment)
    if length > LONGEST_RIGHT:
        raise FeedbackError("too_long", f"The right answer has {length} characters, the limit is {LONGEST_RIGHT}.")
    ids = (one.request_id, one.key_id)
    if max(map(len, ids)) > LONGEST_ID or any(storable(each) != each for each in ids) or not 0 <= one.item < 2**31:
        raise FeedbackError("unknown_request")
