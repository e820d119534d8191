"""Stores over both databases, and answers to give feedback on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.remembered.cluster import Cluster, why_not
from tunesmith.remembered.records import Answered, Policy
from tunesmith.remembered.store import Store

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
def opened(place) -> Iterator[Callable[..., Store]]:
    """Open the store of the test, maybe several times."""
    with ExitStack() as stack:

        def make(policy: Policy | None = None, check=None) -> Store:
            return stack.enter_context(Store.open(place, policy or Policy(text="raw"), SECRET, check))

        yield make


def answered(request_id: str, text: str = "a good film", **more) -> Answered:
    given = {"model": "films", "version": "ab" * 32, "key_id": "key1", "answer": {"label": "good"}, "item": 0, **more}
    return Answered(request_id=request_id, text=text, **given)
