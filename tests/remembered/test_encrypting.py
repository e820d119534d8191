"""Raw texts lie encrypted in the files, each bound to its row; the key reads them, and without it that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from tests.remembered.conftest import SECRET, answered
from tunesmith.errors import TunesmithError
from tunesmith.remembered.database import open_database
from tunesmith.remembered.encrypting import encrypt
from tunesmith.remembered.erasing import forget_key, forget_subject, purge
from tunesmith.remembered.records import Feedback, Policy
from tunesmith.remembered.refusals import FeedbackError, StoreError
from tunesmith.remembered.reviewing import HIDDEN, Which, found, review
from tunesmith.remembered.store import Store
from tunesmith.remembered.tables import answers, facts, feedback
from tunesmith.remembered.text_keys import NAME, SEALED, TextKeys
from tunesmith.remembered.training_rows import Exported, Wanted, training_rows

PLANTED = "planted-secret-4711"
ALL = Wanted(Which(("new",)))
RAW = Policy(text="raw", grace_seconds=0.01, timeout_seconds=2)


def files_with(text: str, folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def give(store: Store, request_id: str, **more) -> str:
    said = {"key_id": "key1", "verdict": "wrong", "right": {"label": "bad"}, **more}
    return store.feedback(Feedback(request_id, 0, **said)).id


def exported(database) -> list[dict]:
    return list(training_rows(database, ALL, Exported()))


def filled(store: Store) -> None:
    """The planted text in everything that a text may stand in."""
    spans = [{"start": 0, "end": len(PLANTED), "label": "ID", "text": PLANTED}]
    store.remember(
        [
            answered("r1", f"{PLANTED} one", subject="ann", further={"second": PLANTED, "history": [PLANTED]}),
            answered("r2", f"{PLANTED} two", answer={"answer": PLANTED, "texts": {"1": PLANTED}}),
            answered("r3", PLANTED, answer={"spans": [{**spans[0], "label": "NAME"}]}),
        ]
    )
    give(store, "r1", comment=PLANTED)
    give(store, "r2", right={"answer": f"{PLANTED}!"})
    give(store, "r3", right={"spans": spans})


def in_clear(store: Store) -> None:
    """Rows as a version before wrote them."""
    filled(store)
    rows = list(found(store.database, Which()))
    with store.database.writing() as connection:
        for row in rows:
            own = answers.c.request_id == row.request_id
            plain = {"text": row.text, "further": row.further, "answer": row.answer}
            connection.execute(update(answers).where(own).values(**plain))
            said = {"right_answer": row.right_answer, "comment": row.comment}
            connection.execute(update(feedback).where(feedback.c.id == row.id).values(**said))


def stored(database, table=answers, column="text") -> dict:
    with database.reading() as connection:
        rows = connection.execute(select(table)).all()
    return {row.request_id: row._mapping[column] for row in rows}


def test_no_file_of_the_state_folder_holds_a_raw_text_and_the_export_has_it(opened, place, tmp_path, cluster_files):
    store = opened(RAW)
    filled(store)
    for folder in {tmp_path, cluster_files(store)}:  # the write-ahead log included, while the service runs
        assert not files_with(PLANTED, folder)
        assert not files_with("planted", folder)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    rows = {row["request_id"]: row for row in exported(store.database)}
    assert rows["r1"]["text"] == f"{PLANTED} one"
    assert (rows["r1"]["second"], rows["r1"]["history"]) == (PLANTED, [PLANTED])
    assert rows["r2"]["answer"] == f"{PLANTED}!"
    assert rows["r3"]["spans"] == [{"start": 0, "end": len(PLANTED), "label": "ID"}]
    told = {row.request_id: row for row in found(store.database, Which())}
    assert told["r1"].comment == PLANTED
    assert told["r2"].answer == {"answer": PLANTED, "texts": {"1": PLANTED}}
    assert stored(store.database, column="answer")["r1"] == {"label": "good"}, "labels stay in the clear"


def test_each_value_has_a_nonce_of_its_own(opened):
    store = opened(RAW)
    store.remember([answered(f"r{number}", PLANTED) for number in range(50)])
    assert store.flush()
    values = stored(store.database).values()
    assert len({value[len(SEALED) + 9 :][:16] for value in values}) == 50


@pytest.mark.parametrize("column", ["text", "further"])
def test_a_value_of_another_row_does_not_open(opened, column):
    store = opened(RAW)
    filled(store)
    moved = stored(store.database)["r2"]
    with store.database.writing() as connection:
        connection.execute(update(answers).where(answers.c.request_id == "r1").values(**{column: moved}))
    with pytest.raises(StoreError, match="belongs to another row: r1, 0"):
        exported(store.database)


def test_a_changed_value_does_not_open(opened):
    store = opened(RAW)
    filled(store)
    value = stored(store.database)["r1"]
    changed = value[:-9] + ("A" if value[-9] != "A" else "B") + value[-8:]
    with store.database.writing() as connection:
        connection.execute(update(answers).where(answers.c.request_id == "r1").values(text=changed))
    with pytest.raises(StoreError, match="was changed"):
        exported(store.database)


def test_a_text_that_looks_like_an_encrypted_one_is_a_text(opened):
    """What a client sends is never taken for a value of ours."""
    store = opened(RAW)
    lure = f"{SEALED}0123abcd:AAAA"
    store.remember([answered("r1", lure)])
    give(store, "r1", comment=lure)
    assert [row["text"] for row in exported(store.database)] == [lure]
    masked = opened(Policy(text="masked", mask=lambda _: (), grace_seconds=0.01))
    masked.remember([answered("r2", lure)])
    give(masked, "r2", comment=lure)
    assert {row.comment for row in found(masked.database, Which())} == {lure}


def test_rows_in_the_clear_are_read_and_encrypted_when_asked(opened, tmp_path, cluster_files):
    store = opened(RAW)
    in_clear(store)
    before = sorted(exported(store.database), key=json.dumps)
    assert files_with(PLANTED, cluster_files(store))
    done = encrypt(store.database)
    assert (done.answers, done.feedback, done.dropped) == (3, 3, 0)
    assert done.is_gone == store.database.is_sqlite
    assert not files_with(PLANTED, cluster_files(store))
    assert sorted(exported(store.database), key=json.dumps) == before
    assert encrypt(store.database).answers == 0, "what is encrypted already stays as it is"


def test_a_new_key_writes_and_the_old_one_reads(opened, tmp_path):
    store = opened(RAW)
    filled(store)
    keys = TextKeys.of(tmp_path)
    first = keys.newest()
    second = keys.add()
    store.remember([answered("r4", f"{PLANTED} four")])  # the service that runs takes the new key
    give(store, "r4")
    used = {name: value[len(SEALED) :][:8] for name, value in stored(store.database).items()}
    assert used == {"r1": first, "r2": first, "r3": first, "r4": second}
    assert len(exported(store.database)) == 4
    done = encrypt(store.database, new_key=True)
    assert (done.answers, done.feedback) == (4, 3)  # the feedback on r4 is a label alone
    third = keys.newest()
    assert {value[len(SEALED) :][:8] for value in stored(store.database).values()} == {third}
    assert len((tmp_path / NAME).read_text().splitlines()) == 3
    (tmp_path / NAME).write_text((tmp_path / NAME).read_text().splitlines()[2] + "\n")
    assert len(exported(store.database)) == 4, "nothing needs the earlier keys any more"


def test_many_rows_are_encrypted(opened):
    store = opened(RAW)
    store.remember([answered(f"r{number // 2}", PLANTED, item=number % 2) for number in range(1_100)])
    assert store.flush()
    assert encrypt(store.database, new_key=True, thorough=False).answers == 1_100


@pytest.fixture
def keyless(opened, place, tmp_path) -> Store:
    """A store whose file of keys is gone."""
    store = opened(RAW)
    filled(store)
    (tmp_path / NAME).unlink()
    return store


def test_without_the_key_labels_are_listed_judged_and_deleted(keyless):
    rows = {row.request_id: row for row in found(keyless.database, Which(), with_texts=False)}
    assert (rows["r1"].text, rows["r1"].comment, rows["r2"].answer) == (HIDDEN, HIDDEN, HIDDEN)
    assert rows["r1"].answer == {"label": "good"}
    assert review(keyless.database, [rows["r1"].id], "accepted") == 1
    assert forget_subject(keyless.database, "ann").answers == 1
    assert forget_key(keyless.database, "key1").feedback == 2
    assert purge(keyless.database, now=9e9).answers == 2


def test_without_the_key_texts_are_refused_and_no_other_key_is_made(keyless, place, tmp_path):
    with pytest.raises(StoreError, match="is not in the file of keys") as refusal:
        exported(keyless.database)
    assert "--drop-unreadable" in refusal.value.to_do
    with pytest.raises(StoreError, match="is not in the file of keys"):
        Store.open(place, RAW, SECRET, keys=TextKeys.of(tmp_path))
    with pytest.raises(StoreError, match="is not in the file of keys"):
        encrypt(keyless.database)
    assert not (tmp_path / NAME).exists(), "what is put back must not find another file in its place"


def test_a_service_whose_keys_go_away_keeps_no_text_and_acknowledges_nothing(keyless):
    assert keyless.remember([answered("r9", PLANTED)])
    assert keyless.flush()
    assert keyless.counts().unstorable == 1
    with pytest.raises(FeedbackError) as refusal:
        give(keyless, "r3", comment="no")
    assert refusal.value.code == "feedback_unavailable"


def test_texts_whose_key_is_lost_are_given_up_when_asked(keyless, place, tmp_path):
    done = encrypt(keyless.database, drop_unreadable=True)
    assert done.dropped == 9
    rows = {row.request_id: row for row in found(keyless.database, Which())}
    assert (rows["r1"].text, rows["r1"].further, rows["r1"].comment) == (None, None, "")
    assert (rows["r1"].answer, rows["r2"].answer) == ({"label": "good"}, {})
    with Store.open(place, RAW, SECRET, keys=TextKeys.of(tmp_path)) as store:
        store.remember([answered("r9", PLANTED)])
        give(store, "r9")
        assert [row["text"] for row in exported(store.database)] == [PLANTED]


@pytest.mark.parametrize("is_rotated", [False, True])
def test_a_damaged_text_under_the_newest_key_is_given_up_when_asked(opened, is_rotated):
    store = opened(RAW)
    filled(store)
    value = stored(store.database)["r1"]
    with store.database.writing() as connection:
        connection.execute(update(answers).where(answers.c.request_id == "r1").values(text=value[:-6] + "AAAAA="))
    with pytest.raises(StoreError, match="was changed") as refusal:
        exported(store.database)
    assert "encrypt --drop-unreadable" in refusal.value.to_do
    others = {name: text for name, text in stored(store.database).items() if name != "r1"}
    done = encrypt(store.database, drop_unreadable=True, new_key=is_rotated)
    assert done.dropped == 1
    assert {row["request_id"] for row in exported(store.database)} == {"r2", "r3"}
    if not is_rotated:
        assert (done.answers, done.feedback) == (0, 0), "what opens is not encrypted anew"
        assert {name: text for name, text in stored(store.database).items() if text} == others
    assert encrypt(store.database, drop_unreadable=True).dropped == 0


MASKED = Policy(text="masked", mask=lambda _: (), grace_seconds=0.01, timeout_seconds=2)


def without_keys(store: Store, folder: Path) -> None:
    """Rows in the clear, of a version that knew no keys."""
    in_clear(store)
    with store.database.writing() as connection:
        connection.execute(delete(facts).where(facts.c.name == "text_key"))
    (folder / NAME).unlink()


def test_a_comment_on_a_raw_text_of_before_is_taken_by_a_service_that_masks_now(opened, tmp_path):
    without_keys(opened(RAW), tmp_path)
    store = opened(MASKED)
    give(store, "r1", key_id="key2")
    assert not (tmp_path / NAME).exists(), "a label alone needs no key"
    give(store, "r1", key_id="key3", comment=PLANTED)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert sorted(row.comment for row in found(store.database, Which()) if row.key_id == "key3") == [PLANTED]
    with store.database.reading() as connection:
        (kept,) = connection.execute(select(feedback.c.comment).where(feedback.c.key_id == "key3")).scalars()
        known = connection.execute(select(facts.c.value).where(facts.c.name == "text_key")).scalar_one()
    assert kept.startswith(f"{SEALED}{known}:")
    assert len(exported(opened(RAW).database)) == 3, "the key is the one of the database from now on"


@pytest.mark.parametrize("left", ["nothing", "another key"])
def test_a_service_that_masks_makes_no_key_in_the_place_of_one_that_is_lost(left, keyless, opened, tmp_path):
    if left == "another key":
        TextKeys.of(tmp_path).made()
    before = files_with("", tmp_path)
    with pytest.raises(FeedbackError) as refusal:
        give(opened(MASKED), "r1", right=None, comment="no")
    assert refusal.value.code == "feedback_unavailable"
    assert (NAME in before) == (tmp_path / NAME).exists() == (left == "another key")
    with pytest.raises(StoreError, match="is not in the file of keys"):
        exported(keyless.database)


BAD_FILES = {
    "others may read it": (lambda path: path.chmod(0o644), "by others"),
    "a short line": (lambda path: path.write_text("ab\n"), "Line 1"),
    "no digits": (lambda path: path.write_text(path.read_text() + "x" * 64 + "\n"), "Line 2"),
    "nothing in it": (lambda path: path.write_text(""), "is empty"),
    "another key": (lambda path: path.write_text("ab" * 32 + "\n"), "not in the file of keys"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_wrong_file_of_keys_is_explained(case, opened, place, tmp_path):
    store = opened(RAW)
    filled(store)
    spoil, said = BAD_FILES[case]
    spoil(tmp_path / NAME)
    for attempt in (
        lambda: exported(store.database),
        lambda: Store.open(place, RAW, SECRET, keys=TextKeys.of(tmp_path)),
    ):
        with pytest.raises(TunesmithError, match=said):
            attempt()


def test_raw_texts_are_not_kept_without_keys(tmp_path):
    with pytest.raises(StoreError, match="no keys are given"):
        Store.open(str(tmp_path / "a.db"), RAW, SECRET)


def test_a_database_without_keys_opens_no_text(opened, place):
    filled(opened(RAW))
    bare = open_database(place)
    with pytest.raises(StoreError, match="not in the file of keys"):
        exported(bare)
    bare.close()
