"""A database opened: brought to the newest form, refused where it is newer, its password unseen, durable."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import traceback

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from tests.remembered.conftest import SECRET
from tunesmith.remembered.database import cause, open_database, revision
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.secret import secret_of
from tunesmith.remembered.tables import answers, metadata


def test_migrations_lead_to_the_tables_of_the_code(place):
    database = open_database(place)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert revision(database) == "0001"
    database.close()
    open_database(place).close()


def test_a_database_that_is_newer_than_the_code_is_refused_and_left_alone(place):
    database = open_database(place)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StoreError, match="newer than this version") as refusal:
        open_database(place)
    assert "9999" in str(refusal.value)


def test_a_migration_that_fails_leaves_nothing_half_done(place):
    database = open_database(place)
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE facts")
        connection.exec_driver_sql("DELETE FROM alembic_version")
    database.close()
    with pytest.raises(StoreError, match="cannot be used"):
        open_database(place)  # the first step finds its tables there already
    assert "facts" not in tables_of(place)


def tables_of(place) -> set:
    if "://" not in place:
        return {name for (name,) in sqlite3.connect(place).execute("SELECT name FROM sqlite_master")}
    import psycopg

    with psycopg.connect(place) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_another_secret_is_refused_for_it_would_find_nobody(place):
    open_database(place, SECRET).close()
    open_database(place).close()
    with pytest.raises(StoreError, match="another secret"):
        open_database(place, SECRET[::-1])
    bare = open_database(place)
    with pytest.raises(StoreError, match="no secret"):
        bare.pseudonym("someone")
    bare.close()


def test_a_file_is_durable_and_for_its_owner_alone(tmp_path):
    database = open_database(str(tmp_path / "a.db"))
    with database.writing() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert modes == {0o600}
    database.close()


def test_a_server_commits_synchronously_whatever_its_default(cluster):
    url = cluster.database()
    database = open_database(url)
    with database.writing() as connection:
        connection.exec_driver_sql(
            "ALTER DATABASE " + url.split("/")[3].split("?")[0] + " SET synchronous_commit TO off"
        )
    database.close()
    database = open_database(url)
    with database.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    database.close()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("mysql://root:PLANTED@host/db", "neither a file nor a URL"),
        ("postgresql://user:PLANTED@127.0.0.1:1/answers", "cannot be used"),
        ("postgresql://user@127.0.0.1:1/answers?password=PLANTED", "cannot be used"),
        ("://user:PLANTED@host", "neither a file nor a URL"),
        ("postgresql://user:PLANTED@host:port/db", "neither a file nor a URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///a.db?mode=ro&key=PLANTED", "has settings"),
        ("{folder}/there/is/no/folder.db", "cannot be made"),
    ],
)
def test_what_cannot_be_opened_is_explained_without_its_password(where, said, tmp_path):
    if where.startswith("postgresql"):
        pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=said) as refusal:
        open_database(where.format(folder=tmp_path))
    # What a log would show: the error, and the chain of those behind it.
    shown = "".join(traceback.format_exception(refusal.value))
    assert "PLANTED" not in shown.replace(where, "")
    assert refusal.value.to_do


def test_errors_of_the_database_hold_no_texts(place):
    database = open_database(place)
    row: dict = {column.name: 1 for column in answers.c} | {"text": "PLANTED", "answer": {"label": "PLANTED"}}
    row |= {"text_policy": "PLANTED!", "further": None, "edits": None, "model": "m", "version": "v", "key_id": "k"}
    row |= {"request_id": "r", "subject": None}
    with pytest.raises(IntegrityError) as refusal, database.writing() as connection:
        connection.execute(insert(answers), [row])
    assert "PLANTED" not in cause(refusal.value)
    if database.is_sqlite:  # a server's own message repeats the row, so it is never quoted
        assert "PLANTED" not in str(refusal.value)
    database.close()


def test_a_password_shows_nowhere_in_what_is_opened(cluster):
    url = cluster.database().replace("tunesmith@", "tunesmith:PLANTED@")
    database = open_database(url, SECRET)
    assert "PLANTED" not in repr(database) + database.place
    assert str(SECRET) not in repr(database)
    database.close()


def test_files_that_are_no_database_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text("Dear reader, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_database(str(path))
    assert path.read_text() == "Dear reader, " * 100
    with pytest.raises(StoreError, match="no database of answers"):
        open_database(str(tmp_path / "mistyped.db"), make=False)
    assert not (tmp_path / "mistyped.db").exists()


def test_the_secret_is_made_once_and_kept_from_others(tmp_path):
    state = tmp_path / "state"
    assert secret_of(state, make=False) == b""
    secret = secret_of(state)
    assert len(secret) == 32
    assert secret_of(state) == secret
    path = state / "pseudonyms.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in state.iterdir()] == ["pseudonyms.key"]
    path.chmod(0o640)
    with pytest.raises(StoreError, match="read by others"):
        secret_of(state)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="5 bytes"):
        secret_of(state)


def test_many_processes_may_open_a_new_database_at_once(place):
    code = f"from tunesmith.remembered.database import open_database; open_database({place!r}, {SECRET!r}).close()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
