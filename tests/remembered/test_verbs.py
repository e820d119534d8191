"""The verbs about feedback: what they print, what they refuse, and that they show no password and no text unasked."""

from __future__ import annotations

import io
import json
import sqlite3

import pytest

from tests.remembered.conftest import answered
from tunesmith import cli
from tunesmith.access.audit import AuditLog
from tunesmith.remembered.records import Feedback, Policy
from tunesmith.remembered.secret import secret_of
from tunesmith.remembered.store import Store
from tunesmith.remembered.text_keys import TextKeys

PLANTED = "planted-text-4711"


def asked(*arguments: object) -> int:
    return cli.guarded(lambda: cli.app(["feedback", *map(str, arguments)], standalone_mode=False))


@pytest.fixture
def state(tmp_path):
    """A service's state folder with feedback in its database."""
    folder = tmp_path / "state"
    with Store.open(_made(folder), Policy(text="raw"), secret_of(folder), keys=TextKeys.of(folder)) as store:
        store.remember([answered(f"r{n}", f"{PLANTED} 第{n}句", subject=f"person{n % 2}") for n in range(6)])
        for number in range(4):
            right = {"label": "bad"} if number else None
            verdict = "wrong" if number else "correct"
            store.feedback(Feedback(f"r{number}", 0, f"key{number % 2}", verdict, right, comment=PLANTED))
    return folder


def _made(folder) -> str:
    folder.mkdir()
    return str(folder / "answers.db")


def test_feedback_is_listed_reviewed_and_exported(state, tmp_path, capsys):
    assert asked("list", "--state", state) == 0
    out = capsys.readouterr().out
    assert "4 shown; 4 new, 0 accepted, 0 rejected, 0 quarantined." in out
    assert PLANTED not in out
    assert asked("list", "--state", state, "--json", "--key", "key1", "--limit", 1) == 0
    listed = json.loads(capsys.readouterr().out)
    assert PLANTED not in json.dumps(listed)
    assert [row["key"] for row in listed["feedback"]] == ["key1"]
    assert asked("list", "--state", state, "--text") == 0
    assert PLANTED in capsys.readouterr().out
    assert asked("review", listed["feedback"][0]["id"], "--to", "accepted", "--by", "ann", "--state", state) == 0
    assert asked("review", "--every", "new", "--key", "key0", "--to", "accepted", "--state", state) == 0
    assert "2 of 2 are now accepted" in capsys.readouterr().out
    out = tmp_path / "feedback.jsonl"
    assert asked("export", "--out", out, "--state", state, "--confirmed-weight", 0.5) == 0
    said = capsys.readouterr().out
    assert f"tunesmith feedback review --state {state}\n" in said
    assert "Wrote 3 rows" in said
    assert "2 corrected, 1 confirmed" in said
    assert "1 left out: their status is new" in said
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {row["weight"] for row in rows} == {0.5, 1.0}
    assert "句" in out.read_text(encoding="utf-8")


def test_a_key_or_a_model_of_no_feedback_is_named_beside_those_that_there_are(state, capsys):
    assert asked("review", "--every", "new", "--key", "kee1", "--to", "accepted", "--state", state) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "There is no feedback of key 'kee1'. Did you mean 'key1'?" in said
    assert "There is some of key key0, key1." in said
    assert asked("review", "--every", "new", "--model", "film", "--to", "accepted", "--state", state) == 2
    assert "Did you mean 'films'?" in capsys.readouterr().err
    assert asked("review", "--every", "rejected", "--key", "key1", "--to", "accepted", "--state", state) == 0
    assert "No feedback of key key1 has the status rejected; nothing was changed." in capsys.readouterr().out
    assert list(AuditLog(state).records()) == []


def test_what_is_listed_says_the_verdict(state, capsys):
    assert asked("list", "--state", state) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line == "  answered good; wrong: right is bad" for line in lines) == 3
    assert sum(line == "  answered good; correct" for line in lines) == 1


def test_a_folder_in_the_place_of_the_database_is_called_one(state, capsys):
    assert asked("list", "--store", state) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The database of answers is a file, and this is a folder." in said
    assert "held by no other program" not in said


def test_the_audit_log_says_who_judged_and_what_it_was_before(state, capsys):
    asked("list", "--state", state, "--json")
    first, *others = (row["id"] for row in json.loads(capsys.readouterr().out)["feedback"])
    asked("review", first, "--to", "rejected", "--by", "ann", "--state", state)
    asked("review", first, *others, "--to", "accepted", "--by", "bob", "--state", state)
    log = AuditLog(state)
    told = [(one["who"], one["what"], one["target"], one["before"], one["after"]) for one in log.records()]
    assert told == [
        ("ann", "feedback.review", first, {"new": 1}, {"rejected": 1}),
        ("bob", "feedback.review", "4 rows", {"rejected": 1, "new": 3}, {"accepted": 4}),
    ]
    assert log.verify().broken is None


def test_feedback_whose_judgement_cannot_be_recorded_is_not_judged(state, capsys):
    assert asked("review", "--every", "new", "--to", "rejected", "--by", "ann", "--state", state) == 0
    (state / "audit.jsonl").write_text("")
    assert asked("review", "--every", "rejected", "--to", "accepted", "--state", state) == 2
    assert asked("list", "--state", state) == 0
    assert "0 accepted, 4 rejected" in capsys.readouterr().out


def test_one_person_and_one_key_are_forgotten(state, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("person1\n"))
    assert asked("forget", "--subject", "-", "--state", state) == 0
    assert "3 answers, 2 feedback" in capsys.readouterr().out
    assert asked("forget", "--key", "key0", "--state", state, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"answers": 0, "feedback": 2, "is_gone": True}
    assert asked("purge", "--state", state) == 0
    said = capsys.readouterr().out
    assert "0 answers, 0 feedback" in said
    assert "hold nothing of what was deleted any more" in said
    assert asked("migrate", "--state", state) == 0
    assert "is at step 0001" in capsys.readouterr().out


def test_who_is_not_there_is_said_not_to_be(state, capsys):
    for given, said in (
        (("--subject", "nobody"), "Nothing of this person is here."),
        (("--key", "k"), "of key k is here"),
    ):
        assert asked("forget", *given, "--state", state) == 0
        out = capsys.readouterr().out
        assert said in out
        assert "Deleted" not in out


def test_a_database_that_was_made_is_said_to_be(state, tmp_path, capsys):
    for name in (tmp_path / "new.db", f"sqlite:///{tmp_path / 'other.db'}"):
        assert asked("migrate", "--store", name) == 0
        assert "was not there and was made; it is at step" in " ".join(capsys.readouterr().out.split())
        assert asked("migrate", "--store", name) == 0
        assert "and was made" not in capsys.readouterr().out


def test_texts_that_no_key_opens_are_deleted_and_not_said_to_be_encrypted(state, capsys):
    (state / "texts.keys").unlink()
    assert asked("encrypt", "--drop-unreadable", "--state", state) == 0
    said = capsys.readouterr().out
    assert "Encrypted nothing" in said
    assert "Deleted" in said


def test_raw_texts_are_encrypted_anew_and_the_audit_log_says_so(state, tmp_path, capsys):
    assert asked("encrypt", "--new-key", "--state", state, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["answers"], done["feedback"], done["dropped"], done["is_gone"]) == (6, 4, 0, True)
    assert asked("encrypt", "--state", state) == 0
    said = capsys.readouterr().out
    assert "Nothing had to be encrypted" in said
    assert "as they were before" not in said
    assert asked("encrypt", "--new-key", "--state", state) == 0
    said = capsys.readouterr().out
    assert "Encrypted 6 answers and 4 feedback" in said
    assert "hold none of these texts as they were before" in said
    assert [one["what"] for one in AuditLog(state).records()] == ["feedback.encrypt"] * 3
    assert asked("list", "--state", state, "--text") == 0
    assert PLANTED in capsys.readouterr().out


def test_without_the_file_of_keys_nothing_is_exported_and_labels_are_listed(state, tmp_path, capsys):
    (state / "texts.keys").rename(tmp_path / "kept")
    assert asked("review", "--every", "new", "--to", "accepted", "--state", state) == 0
    assert asked("list", "--state", state) == 0
    assert "4 shown; 0 new, 4 accepted" in capsys.readouterr().out
    out = tmp_path / "out.jsonl"
    for given in (["export", "--out", out], ["list", "--text"], ["encrypt"]):
        assert asked(*given, "--state", state) == 2
        said = capsys.readouterr().err
        assert "not in the file of keys" in said
        assert "Put the file back" in said
    assert not out.exists()
    assert not (state / "texts.keys").exists()
    (tmp_path / "kept").rename(state / "texts.keys")
    assert asked("export", "--out", out, "--state", state) == 0
    assert PLANTED in out.read_text(encoding="utf-8")


def test_what_is_shown_to_be_run_next_names_a_state_and_a_database_of_its_own(state, tmp_path, capsys, monkeypatch):
    def refused(*given) -> str:
        assert asked(*given) == 2
        return " ".join(capsys.readouterr().err.split())

    moved = (state / "answers.db").rename(tmp_path / "my answers.db")
    own = f"--store '{moved}' --state {state}"
    assert refused("review", "abc", "--to", "accepted", "--store", moved, "--state", state).endswith(
        f"tunesmith feedback list {own}"
    )
    assert refused("review", "--to", "accepted", "--store", moved, "--state", state).endswith(own)
    (state / "texts.keys").unlink()
    for verb in (["list", "--text"], ["encrypt"]):
        assert refused(*verb, "--store", moved, "--state", state).endswith(f"encrypt --drop-unreadable {own}")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert refused("review", "abc", "--to", "accepted", "--store", moved).endswith(f"feedback list --store '{moved}'")


def test_a_text_that_was_changed_is_deleted_in_the_database_that_was_named(state, capsys):
    with sqlite3.connect(state / "answers.db") as database:
        database.execute("UPDATE answers SET text = substr(text, 1, length(text) - 6) || 'AAAAA='")
    assert asked("list", "--text", "--state", state) == 2
    assert " ".join(capsys.readouterr().err.split()).endswith(f"encrypt --drop-unreadable --state {state}")


def test_the_store_may_be_named_by_the_environment(state, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_STORE", str(state / "answers.db"))
    assert asked("list", "--state", tmp_path) == 0
    assert "4 shown" in capsys.readouterr().out


WRONG = {
    "no database": ["list", "--store", "{folder}/nothing.db"],
    "no state": ["list", "--state", "{folder}/nowhere"],
    "a password": ["list", "--store", "postgresql://me:PASSWORD@127.0.0.1:1/answers"],
    "another database": ["purge", "--store", "mysql://me:PASSWORD@host/answers"],
    "no database file": ["list", "--store", "{folder}/letters.txt"],
    "a newer one": ["export", "--out", "{folder}/out.jsonl", "--store", "{folder}/newer.db"],
    "neither ids nor every": ["review", "--to", "accepted", "--state", "{state}"],
    "ids and every": ["review", "x", "--every", "new", "--to", "accepted", "--state", "{state}"],
    "an unknown id": ["review", "abc", "--to", "accepted", "--state", "{state}"],
    "an unknown status": ["review", "abc", "--to", "good", "--state", "{state}"],
    "nobody to forget": ["forget", "--state", "{state}"],
    "two to forget": ["forget", "--subject", "a", "--key", "b", "--state", "{state}"],
    "a secret that is lost": ["forget", "--subject", "a", "--store", "{state}/answers.db", "--state", "{folder}/other"],
    "a negative weight": ["export", "--out", "{folder}/out.jsonl", "--confirmed-weight", "-1", "--state", "{state}"],
    "a folder that is not there": ["export", "--out", "{folder}/no/out.jsonl", "--state", "{state}"],
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_bad_input_is_explained_and_leaves_nothing(given, state, tmp_path, capsys):
    if "postgresql" in given[-1]:
        pytest.importorskip("psycopg")
    (tmp_path / "letters.txt").write_text("Dear reader, " * 100)
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("CREATE TABLE alembic_version (version_num)")
    newer.execute("INSERT INTO alembic_version VALUES ('9999')")
    newer.commit()
    newer.close()
    before = {path for path in tmp_path.rglob("*") if path.suffix not in (".db-wal", ".db-shm")}
    assert asked(*(one.format(folder=tmp_path, state=state) for one in given)) == 2
    printed = capsys.readouterr()
    assert "PASSWORD" not in printed.out + printed.err
    assert "Traceback" not in printed.err
    assert 2 <= len(printed.err.splitlines()) <= 6
    assert {path for path in tmp_path.rglob("*") if not path.name.endswith(("-wal", "-shm"))} <= before
