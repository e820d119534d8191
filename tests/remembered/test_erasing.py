"""Rows that are deleted are gone: from the tables, and their text from the files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.remembered.conftest import answered
from tunesmith.remembered.database import open_database
from tunesmith.remembered.erasing import forget_key, forget_subject, purge, sweep
from tunesmith.remembered.records import DAY, Feedback, Policy
from tunesmith.remembered.refusals import FeedbackError, StoreError
from tunesmith.remembered.tables import answers, expired, feedback

PLANTED = "planted-secret-4711-绝密"
LONG = "".join(f"{PLANTED} {number} " for number in range(700))
"""Several pages, so that some of it lies on pages of its own."""
LEGIBLE = Policy(text="masked", mask=lambda _: ())
"""Texts lie in the files as they came, so that one sees them leave; raw ones are encrypted."""


def count(store, table) -> int:
    with store.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def files_with(text: str, folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def give(store, request_id, key_id="key1", comment="") -> None:
    store.feedback(Feedback(request_id, 0, key_id, "wrong", {"label": "bad"}, comment=comment))


def test_purge_deletes_what_is_past_its_date_and_the_client_is_told(opened):
    store = opened(Policy(text="raw", keep_days=10, keep_feedback_days=100, grace_seconds=0.01))
    now = time.time()
    store.remember([answered(f"r{number}", asked_at=now - number * DAY) for number in range(20)])
    give(store, "r5")
    assert store.flush()
    erased = purge(store.database, now=now)
    assert (erased.answers, erased.feedback) == (10, 0)
    assert (count(store, answers), count(store, feedback)) == (10, 1)
    for request_id, code in (("r15", "gone"), ("r99", "unknown_request")):
        with pytest.raises(FeedbackError) as refusal:
            give(store, request_id)
        assert refusal.value.code == code
    # Answers with feedback are kept for as long as feedback is.
    assert purge(store.database, now=now + 50 * DAY).answers == 9
    assert count(store, feedback) == 1
    erased = purge(store.database, now=now + 101 * DAY)
    assert (erased.answers, erased.feedback, count(store, feedback)) == (1, 1, 0)
    purge(store.database, now=now + 300 * DAY)
    assert count(store, expired) == 0


def test_forgetting_a_person_leaves_the_others_and_no_trace(opened):
    store = opened(Policy(text="raw", grace_seconds=0.01))
    store.remember([answered(f"r{n}", subject="Zhang San" if n % 2 else "Li Si") for n in range(1200)])
    give(store, "r1")
    give(store, "r2")
    assert store.flush()
    erased = forget_subject(store.database, "Zhang San")
    assert (erased.answers, erased.feedback) == (600, 1)
    assert (count(store, answers), count(store, feedback), count(store, expired)) == (600, 1, 0)
    assert forget_subject(store.database, "Zhang San").answers == 0
    with pytest.raises(FeedbackError) as refusal:
        give(store, "r1")
    assert refusal.value.code == "unknown_request"


def test_a_person_is_not_found_by_another_name_nor_without_the_secret(opened, place):
    store = opened()
    store.remember([answered("r1", subject="Zhang San"), answered("r2")])
    assert store.flush()
    with store.database.reading() as connection:
        stored = connection.execute(select(answers.c.subject).order_by(answers.c.request_id)).scalars().all()
    assert len(stored[0]) == 64
    assert stored[1] is None
    assert forget_subject(store.database, "Zhang").answers == 0
    bare = open_database(place)
    with pytest.raises(StoreError, match="no secret"):
        forget_subject(bare, "Zhang San")
    bare.close()


def test_forgetting_a_key_deletes_its_feedback_alone(opened):
    store = opened()
    store.remember([answered("r1"), answered("r2")])
    for key in ("a", "b"):
        give(store, "r1", key)
        give(store, "r2", key)
    erased = forget_key(store.database, "a")
    assert (erased.answers, erased.feedback) == (0, 2)
    assert (count(store, answers), count(store, feedback)) == (2, 2)


@pytest.mark.parametrize("text", [PLANTED, LONG], ids=["short", "long"])
def test_deleted_text_is_gone_from_the_files_while_the_service_runs(opened, place, tmp_path, text):
    if "://" in place:
        pytest.skip("a server's own log is not ours to empty")
    store = opened(LEGIBLE)
    for number in range(200):
        person = "one" if number % 3 == 0 else "other"
        said = text if person == "one" else f"harmless {number} " * (1 + number % 40)
        store.remember([answered(f"r{number}", said, subject=person, answer={"answer": said, "label": "good"})])
        if number % 9 == 0:
            give(store, f"r{number}", comment=f"about {PLANTED}"[:4000])
    assert store.flush()
    assert files_with(PLANTED, tmp_path)
    erased = forget_subject(store.database, "one")
    assert erased.answers == 67
    assert erased.is_gone
    assert not files_with(PLANTED, tmp_path)
    assert not files_with("planted-secret", tmp_path)
    assert count(store, answers) == 133
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() == 0, "no page of theirs is left"


def test_deleted_rows_are_overwritten_at_once_though_the_database_is_not_written_anew(opened, place, tmp_path):
    """The service deletes what is past its date so, without keeping others from writing."""
    if "://" in place:
        pytest.skip("a server's files are not ours")
    store = opened(LEGIBLE)
    store.remember([answered(f"r{number}", PLANTED, subject="one") for number in range(3)])
    assert store.flush()
    assert files_with(PLANTED, tmp_path)
    assert not forget_subject(store.database, "one", thorough=False).is_gone, "nobody looked whether all of it is gone"
    assert not files_with(PLANTED, tmp_path)


def test_deleted_text_is_gone_from_a_servers_tables(opened, place, cluster):
    if "://" not in place:
        pytest.skip("a file is looked at above")
    store = opened(LEGIBLE)
    store.remember([answered(f"r{number}", PLANTED, subject="one") for number in range(50)])
    assert store.flush()
    flushed = store.database
    with flushed.writing() as connection:
        connection.exec_driver_sql("CHECKPOINT")
    assert files_with(PLANTED, cluster.data / "base")
    erased = forget_subject(store.database, "one")
    assert not erased.is_gone  # its write-ahead log is the server's
    with flushed.writing() as connection:
        connection.exec_driver_sql("CHECKPOINT")
    assert not files_with(PLANTED, cluster.data / "base")


def test_a_quick_sweep_and_a_log_that_is_being_read_are_not_called_clean(opened, place):
    store = opened()
    store.remember([answered("r1")])
    assert store.flush()
    assert not sweep(store.database, thorough=False)
    if store.database.is_sqlite:
        assert sweep(store.database, thorough=True)
        with store.database.reading() as connection:
            connection.execute(select(answers)).all()
            store.remember([answered("r2")])
            assert store.flush()
            assert not sweep(store.database, thorough=True)


def test_no_text_is_kept_where_the_policy_says_nothing(opened, place, tmp_path, cluster_files):
    store = opened(Policy())
    store.remember([answered("r1", f"it is {PLANTED}.", answer={"answer": PLANTED})])
    assert store.flush()
    assert not files_with("planted-secret", cluster_files(store))


@pytest.mark.parametrize("policy", ["none", "masked"])
def test_text_that_shall_not_be_kept_never_reaches_the_files(opened, place, tmp_path, cluster_files, policy):
    def mask(text):
        start = text.find(PLANTED)
        return [(start, start + len(PLANTED), "[MASKED]")] if start >= 0 else []

    store = opened(Policy(text=policy, mask=mask))
    store.remember(
        [
            answered(
                "r1",
                f"it is {PLANTED}.",
                subject=PLANTED,
                further={"second": f"{PLANTED}?", "history": [PLANTED]},
                answer={"spans": [{"start": 6, "end": 6 + len(PLANTED), "label": "ID", "text": PLANTED}]},
            ),
            answered("r2", PLANTED, answer={"answer": PLANTED, "scores": {PLANTED: 0.5}, "texts": {"1": PLANTED}}),
        ]
    )
    store.feedback(Feedback("r1", 0, "key1", "correct", comment=f"no, {PLANTED}"))
    store.feedback(Feedback("r2", 0, "key1", "wrong", {"answer": PLANTED}))
    assert not files_with("planted-secret", cluster_files(store))
    assert not files_with("绝密", cluster_files(store))
