"""The gate: which credential goes where, guessing is limited, and refusals are counted by their exact code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.access.makers import Watch, key_in, store, unsigned
from tunesmith.access.gate import Gate
from tunesmith.access.keys import new_id, new_secret
from tunesmith.access.rate_limits import FailureLimiter
from tunesmith.access.refusals import RefusedError


class Everybody:
    """Takes every token, to show what reaches it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def admit(self, token: str):
        self.seen.append(token)
        raise RefusedError("malformed_token")


def refused(gate: Gate, authorization: str | None, source: str = "203.0.113.5") -> str:
    with pytest.raises(RefusedError) as caught:
        gate.admit(authorization, source)
    return caught.value.code


def test_a_key_is_sent_as_a_bearer_token(tmp_path: Path) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys)
    gate = Gate(keys)
    assert gate.admit(f"Bearer {secret}", "127.0.0.1").id == key.id
    assert gate.admit(f"bearer  {secret} ", "127.0.0.1").id == key.id
    for nothing in (None, "", "Bearer", "Bearer ", secret, f"Basic {secret}"):
        assert refused(gate, nothing) == "missing_key"
    assert refused(gate, "Bearer " + "x" * 9000) == "malformed_key"
    assert refused(gate, f"Bearer {new_secret(new_id())}") == "unknown_key"
    assert gate.refused == {"missing_key": 6, "malformed_key": 1, "unknown_key": 1}


def test_a_scope_that_is_lacking_is_named(tmp_path: Path) -> None:
    keys = store(tmp_path)
    _, secret = key_in(keys, "admin")
    principal = Gate(keys).admit(f"Bearer {secret}", "127.0.0.1")
    principal.need("admin")
    with pytest.raises(RefusedError, match="'predict'") as caught:
        principal.need("predict")
    assert (caught.value.code, caught.value.status) == ("missing_scope", 403)


def test_guessing_is_stopped_before_any_digest_is_made(tmp_path: Path, monkeypatch) -> None:
    watch = Watch()
    keys = store(tmp_path)
    key, secret = key_in(keys)
    gate = Gate(keys, None, FailureLimiter(watch, limit=10))
    for _ in range(10):
        assert refused(gate, f"Bearer {new_secret(key.id)}") == "wrong_key"
    digests: list[str] = []

    def counted(presented: str, _: bytes) -> str:
        digests.append(presented)
        return "0" * 64

    monkeypatch.setattr("tunesmith.access.key_store.digest_of", counted)
    assert refused(gate, f"Bearer {new_secret(key.id)}") == "too_many_failures"
    assert not digests
    monkeypatch.undo()
    assert gate.admit(f"Bearer {secret}", "203.0.113.9").id == key.id, "its owner is not locked out"
    watch.at += 60
    assert gate.admit(f"Bearer {secret}", "203.0.113.5").id == key.id


def test_requests_without_a_key_are_not_held_against_a_source(tmp_path: Path) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys)
    gate = Gate(keys, None, FailureLimiter(Watch(), limit=3))
    for _ in range(10):
        assert refused(gate, None) == "missing_key"
    assert gate.admit(f"Bearer {secret}", "203.0.113.5").id == key.id


def test_tokens_are_taken_only_where_that_was_chosen_and_keys_never_reach_them(tmp_path: Path) -> None:
    keys = store(tmp_path)
    token = unsigned({"alg": "none"}, {"sub": "ana"})
    assert refused(Gate(keys), f"Bearer {token}") == "malformed_key"
    everybody = Everybody()
    gate = Gate(keys, everybody)  # type: ignore[arg-type]
    assert refused(gate, f"Bearer {token}") == "malformed_token"
    assert refused(gate, "Bearer ts_wrong") == "malformed_key"
    assert everybody.seen == [token]
