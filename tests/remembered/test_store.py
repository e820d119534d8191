"""The store over SQLite and PostgreSQL: what is acknowledged is there, once; nobody waits for what will not come."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from sqlalchemy import event, func, select

from tests.remembered.conftest import SECRET, answered
from tunesmith.remembered import recording, writer
from tunesmith.remembered.labels import LabelSchema, label_check
from tunesmith.remembered.records import Caps, Feedback, Policy
from tunesmith.remembered.refusals import REFUSALS, FeedbackError, StoreError
from tunesmith.remembered.reviewing import Which, found
from tunesmith.remembered.store import Store
from tunesmith.remembered.tables import answers
from tunesmith.remembered.text_keys import TextKeys

QUICK = Policy(text="raw", timeout_seconds=1.5, grace_seconds=0.05)


def rows_of(store):
    return list(found(store.database, Which()))


def refused(store, given) -> str:
    with pytest.raises(FeedbackError) as refusal:
        store.feedback(given)
    return refusal.value.code


def wrong(request_id: str, label: str = "bad", **more) -> Feedback:
    return Feedback(request_id, 0, more.pop("key_id", "key1"), "wrong", {"label": label}, **more)


def test_feedback_that_is_acknowledged_is_read_by_another_connection(opened, place):
    store = opened()
    store.remember([answered("r1", "电影很好看 🎬")])
    receipt = store.feedback(wrong("r1", comment="说反了"))
    other = opened()
    (row,) = rows_of(other)
    assert (row.id, row.text, row.comment) == (receipt.id, "电影很好看 🎬", "说反了")
    assert (row.right_answer, row.answer, row.status) == ({"label": "bad"}, {"label": "good"}, "new")
    assert not receipt.is_repeated


def test_an_answer_takes_feedback_at_once_though_it_was_only_queued(opened):
    store = opened()
    for number in range(50):
        store.remember([answered(f"r{number}")])
        assert store.feedback(wrong(f"r{number}")).status == "new"


def test_feedback_does_not_wait_until_all_that_waits_is_masked(opened, monkeypatch):
    """What masks may be a model: the answer that feedback is about is taken first, and little else."""
    monkeypatch.setattr(writer, "GATHER_SECONDS", 3600.0)
    masked: list[str] = []

    def mask(text):
        masked.append(text)
        return []

    store = opened(Policy(text="masked", mask=mask))
    store.remember([answered(f"r{number}", f"film {number}") for number in range(200)])
    assert store.feedback(wrong("r199", comment="no")).status == "new"
    read = [text for text in masked if text.startswith("film")]
    assert read[0] == "film 199"
    assert len(read) == 1 + writer.BESIDE
    assert store.flush()
    assert len([text for text in masked if text.startswith("film")]) == 200


def test_repeated_feedback_is_stored_once(opened):
    store = opened()
    store.remember([answered("r1"), answered("r1", item=1)])
    first = store.feedback(wrong("r1", idempotency="i1"))
    again = store.feedback(wrong("r1", idempotency="i1"))
    assert again.id == first.id
    assert again.is_repeated
    assert refused(store, wrong("r1", "good", idempotency="i1")) == "idempotency_conflict"
    # Without a key of its own, the same content is the same feedback, and other content is other feedback.
    assert store.feedback(wrong("r1", comment="a")).id == store.feedback(wrong("r1", comment="a")).id
    assert store.feedback(wrong("r1", comment="b")).is_repeated is False
    assert store.feedback(wrong("r1", idempotency="i1", key_id="key2")).is_repeated is False
    assert store.feedback(Feedback("r1", 1, "key1", "wrong", {"label": "bad"}, idempotency="i1")).is_repeated is False
    assert len(rows_of(store)) == 5


def test_many_clients_share_transactions_and_none_is_lost(opened):
    store = opened()
    commits: list = []
    event.listen(store.database.engine, "commit", commits.append)
    store.remember([answered(f"r{number}") for number in range(300)])

    async def give():
        # Each is sent twice, as clients do that have seen no answer.
        return await asyncio.gather(*(store.feedback_async(wrong(f"r{number % 300}")) for number in range(600)))

    receipts = asyncio.run(give())
    assert len({receipt.id for receipt in receipts}) == 300
    assert sum(receipt.is_repeated for receipt in receipts) == 300
    assert {row.id for row in rows_of(store)} == {receipt.id for receipt in receipts}
    assert len(commits) < 60
    assert (store.counts().stored, store.counts().repeated) == (300, 300)


def test_two_processes_worth_of_stores_keep_caps_and_idempotency(opened):
    policy = Policy(text="raw", caps=Caps(per_key_and_day=20), timeout_seconds=30)
    stores = [opened(policy), opened(policy)]
    stores[0].remember([answered(f"r{number}") for number in range(40)])
    assert stores[0].flush()

    async def give():
        return await asyncio.gather(
            *(store.feedback_async(wrong(f"r{number}")) for number in range(40) for store in stores)
        )

    receipts = asyncio.run(give())
    assert len({receipt.id for receipt in receipts}) == 40
    assert sum(row.status == "new" for row in rows_of(stores[0])) == 20


def test_an_answer_written_by_another_process_a_moment_later_is_waited_for(opened):
    mine, other = opened(Policy(text="raw", grace_seconds=3)), opened()
    late = threading.Timer(0.3, lambda: other.remember([answered("r1")]))
    late.start()
    assert mine.feedback(wrong("r1")).status == "new"
    late.join()


def test_feedback_is_refused_with_its_reason(opened):
    def check(model, right, characters):
        return label_check({"films": LabelSchema("class", ("good", "bad"))})(model, right, characters)

    store = opened(QUICK, check)
    store.remember([answered("r1"), answered("old", asked_at=time.time() - 40 * 86400)])
    reasons = {
        "unknown_request": wrong("nobody"),
        "gone": wrong("old"),
        "wrong_verdict": Feedback("r1", 0, "key1", "perhaps"),
        "contradictory_feedback": Feedback("r1", 0, "key1", "correct", {"label": "good"}),
        "wrong_right_answer": wrong("r1", "horrible secret words"),
        "too_long": wrong("r1", comment="x" * 5000),
    }
    for code, given in reasons.items():
        with pytest.raises(FeedbackError) as refusal:
            store.feedback(given)
        assert refusal.value.code == code
        assert refusal.value.said("zh").startswith(REFUSALS[code]["zh"])
        assert "horrible" not in str(refusal.value) + refusal.value.said("zh")
    for odd in ("x" * 65, "a\0b", "\ud800"):
        assert refused(store, wrong(odd)) == "unknown_request"
    assert refused(store, Feedback("r1", -1, "key1", "correct")) == "unknown_request"
    assert refused(store, Feedback("r1", 1, "key1", "correct")) == "unknown_request"
    assert refused(store, Feedback("r1", 0, "key1", "wrong", {"label": float("nan")})) == "wrong_right_answer"
    assert rows_of(store) == []
    assert store.is_alive()


SPAN = {"start": 2, "end": 6, "label": "ID"}
SAME = {
    "a label": ({"label": "good"}, {"label": "good"}, {"label": "bad"}),
    "labels": ({"label": ["a", "b"]}, {"label": ["b", "a"]}, {"label": ["a"]}),
    "no labels": ({"label": []}, {"label": []}, {"label": ["a"]}),
    "a number": ({"label": 2.0}, {"label": 2}, {"label": 2.5}),
    "spans": (
        {"spans": [SPAN, {**SPAN, "label": "X", "text": "good"}]},
        {"spans": [{**SPAN, "label": "X"}, SPAN]},
        {"spans": [{**SPAN, "end": 5}, SPAN]},
    ),
    "no spans": ({"spans": []}, {"spans": []}, {"spans": [SPAN]}),
    "a text": ({"answer": "A film."}, {"answer": "A film. "}, {"answer": "a film"}),
}


@pytest.mark.parametrize(("served", "same", "other"), SAME.values(), ids=SAME)
def test_a_right_answer_that_was_served_contradicts_its_verdict(opened, served, same, other):
    store = opened()
    store.remember([answered("r1", answer=served)])
    assert refused(store, Feedback("r1", 0, "key1", "wrong", same)) == "same_answer"
    assert rows_of(store) == []
    store.feedback(Feedback("r1", 0, "key1", "wrong", other))
    store.feedback(Feedback("r1", 0, "key1", "wrong"))
    assert [row.verdict for row in rows_of(store)] == ["wrong", "wrong"]


def test_what_masking_made_alike_is_not_taken_for_the_same(opened):
    """Of "Ann Lee came" and an answer about Ann alone nothing is kept that tells it from one about Ann Lee."""

    def mask(text):
        return [(place.start(), place.end(), "<NAME>") for place in re.finditer("Ann Lee|Bob", text)]

    store = opened(replace(QUICK, text="masked", mask=mask))
    first = {"start": 0, "end": 3, "label": "PER"}
    came = {"start": 8, "end": 12, "label": "ACT"}
    served = ({"spans": [first]}, {"spans": [came]}, {"answer": "Bob came"}, {"answer": "He came"}, {"label": "good"})
    store.remember([answered(f"r{n}", "Ann Lee came", answer=one) for n, one in enumerate(served)])

    def say(number, right):
        return store.feedback(Feedback(f"r{number}", 0, "key1", "wrong", right))

    say(0, {"spans": [{**first, "end": 7}]})
    say(2, {"answer": "Ann Lee came"})
    for number in (1, 3, 4):
        with pytest.raises(FeedbackError, match="the one that was served"):
            say(number, served[number])
    store = opened(replace(QUICK, text="none"))
    store.remember([answered("r9", answer={"answer": "He came"})])
    store.feedback(Feedback("r9", 0, "key1", "wrong", {"answer": "He came"}))  # nothing is kept to compare it with


def test_feedback_that_a_version_before_took_is_still_repeated(opened, monkeypatch):
    store = opened()
    store.remember([answered("r1")])
    with monkeypatch.context() as before:
        before.setattr(recording, "repeats", lambda *_: False)
        first = store.feedback(wrong("r1", "good"))
    assert store.feedback(wrong("r1", "good")).id == first.id


def test_what_databases_cannot_hold_is_replaced_and_spoils_nothing_beside_it(opened):
    store = opened()
    odd = "a\0b \ud83d 好"
    bad = [answered("r2", answer={"label": {1, 2}}), answered("x" * 65), answered("r3", confidence=float("nan"))]
    assert store.remember([answered("r1", odd, further={"second": odd}), *bad, answered("r4")]) == 5
    store.feedback(wrong("r1", odd, comment=odd))
    store.feedback(wrong("r4"))
    row = next(row for row in rows_of(store) if row.request_id == "r1")
    assert row.text == row.further["second"] == row.comment == row.right_answer["label"] == "a\ufffdb \ufffd 好"
    assert store.counts().unstorable == 2
    assert store.counts().remembered == 3


def test_what_is_beyond_the_caps_is_kept_and_quarantined(opened):
    store = opened(Policy(text="raw", caps=Caps(per_key_and_day=2, per_day=3)))
    store.remember([answered(f"r{number}") for number in range(9)])
    statuses = [store.feedback(wrong(f"r{n}", key_id="a")).status for n in range(3)]
    statuses += [store.feedback(wrong(f"r{n}", key_id="b")).status for n in range(3, 5)]
    assert statuses == ["new", "new", "quarantined", "new", "quarantined"]
    tomorrow = wrong("r5", key_id="a", given_at=time.time() + 86400)
    assert store.feedback(tomorrow).status == "new"
    reasons = [row.provenance.get("reason", "") for row in rows_of(store) if row.status == "quarantined"]
    assert sorted(reasons) == ["more than 2 of this key on this day", "more than 3 of all keys on this day"]
    assert store.counts().quarantined == 2


def test_answers_beyond_the_queue_are_dropped_and_counted_and_the_service_goes_on(opened, place, cluster_or_lock):
    store = opened(Policy(text="raw", waiting=10, timeout_seconds=0.5))
    with cluster_or_lock(store):
        store.flush(0.3)
        started = time.monotonic()
        taken = sum(store.remember([answered(f"r{number}")]) for number in range(100))
        assert time.monotonic() - started < 0.5
        assert store.counts().dropped >= 60
        assert refused(store, wrong("r1")) == "feedback_unavailable"
    assert store.flush(20)
    counts = store.counts()
    assert counts.remembered + counts.dropped == 100
    assert counts.remembered >= 10
    assert counts.unavailable >= 1
    assert taken >= counts.remembered
    with store.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(answers)).scalar_one() == counts.remembered


def test_feedback_given_while_the_database_is_away_is_refused_in_time_and_taken_later(opened, cluster_or_lock):
    store = opened(QUICK)
    store.remember([answered("r1")])
    assert store.flush()
    with cluster_or_lock(store):
        started = time.monotonic()
        assert refused(store, wrong("r1", idempotency="i")) == "feedback_unavailable"
        assert asyncio.run(awaited_refusal(store, wrong("r1", idempotency="i"))) == "feedback_unavailable"
        assert time.monotonic() - started < 6
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(FeedbackError):
            receipt = store.feedback(wrong("r1", idempotency="i"))
            break
    assert [row.id for row in rows_of(store)] == [receipt.id]
    assert store.counts().unavailable >= 2


async def awaited_refusal(store, given) -> str:
    """While one waits, the event loop goes on."""
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.05)
            beats += 1

    beating = asyncio.create_task(beat())
    with pytest.raises(FeedbackError) as refusal:
        await store.feedback_async(given)
    beating.cancel()
    assert beats > 5
    return refusal.value.code


@pytest.fixture
def cluster_or_lock(place, request):
    """Take the database away for the time of a block: another program holds the file, or the server is down."""

    @contextmanager
    def away(store):
        if store.database.is_sqlite:
            other = sqlite3.connect(place, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.close()
        else:
            cluster = request.getfixturevalue("cluster")
            cluster.stop()
            try:
                yield
            finally:
                cluster.start()

    return away


def test_a_full_disk_refuses_feedback_and_keeps_what_was_acknowledged(tmp_path):
    with Store.open(str(tmp_path / "a.db"), QUICK, SECRET, keys=TextKeys.of(tmp_path)) as store:
        store.remember([answered(f"r{number}") for number in range(200)])
        kept = [store.feedback(wrong("r0", comment="x")).id]

        @event.listens_for(store.database.engine, "checkout")
        def fill(connection, *_):
            size = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={size}")  # SQLite then says what it says of a full disk

        codes = []
        for number in range(1, 200):
            try:
                kept.append(store.feedback(wrong(f"r{number}", comment="x" * 3000)).id)
            except FeedbackError as error:
                codes.append(error.code)
                break
        assert codes == ["feedback_unavailable"]
        assert store.is_alive()
        assert {row.id for row in rows_of(store)} == set(kept)
        event.remove(store.database.engine, "checkout", fill)
        store.database.engine.dispose()
        kept.append(store.feedback(wrong("r199", comment="y")).id)
        assert set(kept) <= {row.id for row in rows_of(store)}


def test_closing_ends_the_waiting(opened):
    store = opened(Policy(text="raw", timeout_seconds=30))
    store.remember([answered("r1")])
    store.close()
    assert not store.is_alive()
    assert store.remember([answered("r2")]) == 0
    assert refused(store, wrong("r1")) == "feedback_unavailable"
    assert store.counts().dropped == 1
    assert store.counts().remembered == 1


def test_a_check_or_a_mask_that_fails_spoils_one_row_alone(opened):
    def mask(text):
        if "bomb" in text:
            raise ValueError(text)
        return []

    def check(model, right, characters):
        return {"bad": ""}[right["label"]]

    store = opened(Policy(text="masked", mask=mask), check)
    store.remember([answered("r1"), answered("r2", "a bomb"), answered("r3", key_id=None)])
    assert refused(store, wrong("r1", "unheard of")) == "not_storable"
    assert refused(store, wrong("r1", comment="bomb")) == "not_storable"
    assert refused(store, Feedback("r1", 0, "key1", "wrong", json.loads("[1]"))) == "wrong_right_answer"
    assert store.feedback(wrong("r1")).status == "new"
    assert store.counts().unstorable == 2


def test_a_row_that_was_masked_stays_so_under_another_policy(opened):
    store = opened(Policy(text="masked", mask=lambda text: []))
    store.remember([answered("r1")])
    assert store.flush()
    later = opened(Policy(text="raw"))
    later.feedback(Feedback("r1", 0, "key1", "wrong", {"answer": "a private text"}, comment="a private word"))
    (row,) = rows_of(later)
    assert (row.comment, row.right_answer) == ("", {"answer": None})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_program_in_the_writer_is_no_silence(opened):
    def mask(text):
        raise OSError("a fault that nobody expects")

    store = opened(Policy(text="masked", mask=mask))
    store.remember([answered("r1")])
    until = time.monotonic() + 5
    while store.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert not store.is_alive()
    assert refused(store, wrong("r1")) == "feedback_unavailable"


def test_policies_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(StoreError, match="masked"):
        Policy(text="masked")
    with pytest.raises(StoreError, match="kept as 'all'"):
        Policy(text=json.loads('"all"'))
    with pytest.raises(StoreError, match="not above 0"):
        Policy(keep_days=0)
    with pytest.raises(StoreError, match="negative"):
        Caps(per_day=-1)
    with pytest.raises(StoreError, match="16 bytes"):
        Store.open(str(tmp_path / "a.db"), Policy(), b"short")
