"""Stores over both databases, and answers to give feedback on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.remembered.cluster import Cluster, why_not
from tunesmith.remembered.records import Answered, Policy
from tunesmith.remembered.store import Store
from tunesmith.remembered.text_keys import TextKeys

SECRET = b"a secret that only tests have..."


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if why := why_not():
        pytest.skip(why)
    pytest.importorskip("psycopg")
    made = Cluster.made()
    yield made
    made.removed()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "answers.db")
    return request.getfixturevalue("cluster").database()


@pytest.fixture
def opened(place, tmp_path) -> Iterator[Callable[..., Store]]:
    """Open the store of the test, maybe several times."""
    with ExitStack() as stack:

        def make(policy: Policy | None = None, check=None) -> Store:
            return stack.enter_context(
                Store.open(place, policy or Policy(text="raw"), SECRET, check, TextKeys.of(tmp_path))
            )

        yield make


@pytest.fixture
def cluster_files(place, tmp_path, request) -> Callable[[Store], Path]:
    """The folder in which the database's files lie."""

    def folder(store) -> Path:
        if store.database.is_sqlite:
            return tmp_path
        with store.database.writing() as connection:
            connection.exec_driver_sql("CHECKPOINT")
            name = connection.exec_driver_sql("SELECT oid FROM pg_database WHERE datname = current_database()").scalar()
        return request.getfixturevalue("cluster").data / "base" / str(name)

    return folder


def answered(request_id: str, text: str = "a good film", **more) -> Answered:
    given = {"model": "films", "version": "ab" * 32, "key_id": "key1", "answer": {"label": "good"}, "item": 0, **more}
    return Answered(request_id=request_id, text=text, **given)
