"""The tables: answers, feedback on them, ids of answers whose time is over, and facts about the database itself.

Times are whole milliseconds since 1970 in UTC, which both databases keep exactly.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

STATUSES = ("new", "accepted", "rejected", "quarantined")
VERDICTS = ("correct", "wrong")

metadata = MetaData()

answers = Table(
    "answers",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("item", Integer, primary_key=True, autoincrement=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("model", String(128), nullable=False),
    Column("version", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("subject", String(64)),
    Column("text_policy", String(8), nullable=False),
    Column("text", Text),
    Column("further", JSON(none_as_null=True)),
    Column("edits", JSON(none_as_null=True)),
    Column("characters", Integer, nullable=False),
    Column("answer", JSON(none_as_null=True), nullable=False),
    Column("confidence", Float),
    Column("keep_until", BigInteger, nullable=False),
    CheckConstraint("text_policy IN ('none', 'masked', 'raw')", name="answers_text_policy"),
)
Index("answers_by_keep_until", answers.c.keep_until)
Index("answers_by_subject", answers.c.subject)
Index("answers_by_model", answers.c.model, answers.c.asked_at)

feedback = Table(
    "feedback",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("request_id", String(64), nullable=False),
    Column("item", Integer, nullable=False),
    Column("given_at", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("idempotency", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("verdict", String(8), nullable=False),
    Column("right_answer", JSON(none_as_null=True)),
    Column("comment", Text, nullable=False),
    Column("status", String(12), nullable=False),
    Column("provenance", JSON(none_as_null=True), nullable=False),
    ForeignKeyConstraint(
        ["request_id", "item"], ["answers.request_id", "answers.item"], name="feedback_answer", ondelete="CASCADE"
    ),
    UniqueConstraint("request_id", "item", "key_id", "idempotency", name="feedback_once"),
    CheckConstraint("verdict IN ('correct', 'wrong')", name="feedback_verdict"),
    CheckConstraint("status IN ('new', 'accepted', 'rejected', 'quarantined')", name="feedback_status"),
)
Index("feedback_by_status", feedback.c.status, feedback.c.given_at)
Index("feedback_by_key", feedback.c.key_id, feedback.c.day)
Index("feedback_by_day", feedback.c.day)

expired = Table(
    "expired",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("forget_at", BigInteger, nullable=False),
)
Index("expired_by_forget_at", expired.c.forget_at)

facts = Table(
    "facts",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(128), nullable=False),
)
