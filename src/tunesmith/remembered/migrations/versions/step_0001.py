"""The first tables: answers, feedback, ids of answers whose time is over, facts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    _answers()
    _feedback()
    op.create_table(
        "expired",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("forget_at", sa.BigInteger, nullable=False),
    )
    op.create_index("expired_by_forget_at", "expired", ["forget_at"])
    op.create_table(
        "facts",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(128), nullable=False),
    )


def _answers() -> None:
    op.create_table(
        "answers",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("item", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64)),
        sa.Column("text_policy", sa.String(8), nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("further", sa.JSON(none_as_null=True)),
        sa.Column("edits", sa.JSON(none_as_null=True)),
        sa.Column("characters", sa.Integer, nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("keep_until", sa.BigInteger, nullable=False),
        sa.CheckConstraint("text_policy IN ('none', 'masked', 'raw')", name="answers_text_policy"),
    )
    op.create_index("answers_by_keep_until", "answers", ["keep_until"])
    op.create_index("answers_by_subject", "answers", ["subject"])
    op.create_index("answers_by_model", "answers", ["model", "asked_at"])


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("item", sa.Integer, nullable=False),
        sa.Column("given_at", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("idempotency", sa.String(64), nullable=False),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("right_answer", sa.JSON(none_as_null=True)),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("provenance", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id", "item"], ["answers.request_id", "answers.item"], name="feedback_answer", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("request_id", "item", "key_id", "idempotency", name="feedback_once"),
        sa.CheckConstraint("verdict IN ('correct', 'wrong')", name="feedback_verdict"),
        sa.CheckConstraint("status IN ('new', 'accepted', 'rejected', 'quarantined')", name="feedback_status"),
    )
    op.create_index("feedback_by_status", "feedback", ["status", "given_at"])
    op.create_index("feedback_by_key", "feedback", ["key_id", "day"])
    op.create_index("feedback_by_day", "feedback", ["day"])
