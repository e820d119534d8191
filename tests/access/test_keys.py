"""Keys: their form, what is kept of them, who is let in and who is not, and what the outside learns of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import multiprocessing
import os
import random
import re
import secrets
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from tests.access.makers import Time, key_in, store
from tunesmith.access.key_store import KeyStore
from tunesmith.access.keys import new_id, new_secret
from tunesmith.access.refusals import OUTSIDE, REFUSALS, RefusedError
from tunesmith.errors import ResourceError, TunesmithError
from tunesmith.private_files import secret_of


def refused(keys: KeyStore, presented: str) -> str:
    with pytest.raises(RefusedError) as caught:
        keys.admit(presented)
    return caught.value.code


def test_a_key_has_256_bits_and_lets_its_owner_in(tmp_path: Path) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys, "embed", "predict")
    assert re.fullmatch(r"ts_[a-z0-9]{12}_[A-Za-z0-9]{43}", secret)
    assert 62**43 > 2**256
    assert len({new_secret(new_id()) for _ in range(200)}) == 200
    principal = keys.admit(secret)
    assert (principal.id, set(principal.scopes)) == (key.id, {"predict", "embed"})
    assert principal.limits.tokens_per_minute == 1000


def test_secrets_come_from_the_systems_random_source_and_not_from_the_id() -> None:
    """A generator that can be seeded, or a secret computed from the id, would be guessed by who knows the rule."""
    id, made = new_id(), []
    for _ in range(2):
        random.seed(7)
        made.append((new_id(), new_secret(id)))
    assert made[0][0] != made[1][0]
    assert made[0][1] != made[1][1]


def test_the_file_holds_a_keyed_digest_and_no_secret(tmp_path: Path) -> None:
    keys = store(tmp_path)
    _, secret = key_in(keys)
    written = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert secret.rpartition("_")[2].encode() not in written
    assert hashlib.sha256(secret.encode()).hexdigest().encode() not in written
    pepper = bytes.fromhex((tmp_path / "state" / "pepper").read_text())
    (kept,) = json.loads((tmp_path / "state" / "keys.json").read_text())["keys"]
    assert kept["digest"] == hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def test_with_another_pepper_no_key_holds(tmp_path: Path) -> None:
    _, secret = key_in(store(tmp_path))
    (tmp_path / "state" / "pepper").write_text("ab" * 32)
    assert refused(store(tmp_path), secret) == "wrong_key"


def test_all_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = store(tmp_path)
        keys.admit(key_in(keys)[1])
        keys.save_uses()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert set(modes) >= {"keys.json", "pepper", "audit.jsonl", "audit-head", "keys-used.json"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["pepper", "keys.json"])
def test_files_that_others_may_read_are_refused(tmp_path: Path, name: str) -> None:
    key_in(store(tmp_path))
    (tmp_path / "state" / name).chmod(0o640)
    with pytest.raises(ResourceError, match="0640"):
        store(tmp_path).keys()


@pytest.mark.parametrize("name", ["pepper", "keys.json"])
def test_files_of_somebody_else_are_refused(tmp_path: Path, monkeypatch, name: str) -> None:
    """Whoever owns a file can change its mode, read it and put keys into it."""
    key_in(store(tmp_path))
    if os.geteuid() == 0:
        os.chown(tmp_path / "state" / name, 4711, -1)
    else:
        monkeypatch.setattr("tunesmith.private_files.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ResourceError, match="by others"):
        store(tmp_path).keys()


@pytest.mark.parametrize("name", ["pepper", "keys.json"])
def test_links_are_refused(tmp_path: Path, name: str) -> None:
    key_in(store(tmp_path))
    path = tmp_path / "state" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResourceError):
        store(tmp_path).keys()


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(ResourceError, match="Others may write"):
        store(tmp_path)


def test_a_damaged_file_lets_nobody_in(tmp_path: Path) -> None:
    keys = store(tmp_path)
    _, secret = key_in(keys)
    path = tmp_path / "state" / "keys.json"
    kept = json.loads(path.read_text())
    for damage in (
        "{",
        "[" * 100_000,
        "{}",
        json.dumps({**kept, "format": 9}),
        json.dumps({**kept, "keys": [{"id": 1}]}),
    ):
        path.write_text(damage)
        with pytest.raises(ResourceError, match="damaged"):
            keys.admit(secret)
    kept["keys"][0]["scopes"] = ["everything"]
    path.write_text(json.dumps(kept))
    with pytest.raises(TunesmithError, match="everything"):
        keys.admit(secret)
    path.unlink()
    assert refused(keys, secret) == "unknown_key"


def test_secrets_are_compared_in_constant_time_for_unknown_ids_too(tmp_path: Path, monkeypatch) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys)
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def watched(a: str, b: str) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr("tunesmith.access.keys.hmac.compare_digest", watched)
    keys.admit(secret)
    assert len(compared) == 1, "a known key"
    refused(keys, new_secret(key.id))
    assert len(compared) == 2, "a wrong one"
    refused(keys, new_secret(new_id()))
    refused(keys, "nonsense")
    assert len(compared) == 4, "unknown and malformed ones"
    assert all(len(a) == len(b) == 64 for a, b in compared)


def test_a_comparison_that_says_no_lets_nobody_in(tmp_path: Path, monkeypatch) -> None:
    keys = store(tmp_path)
    key, first = key_in(keys)
    _, second = keys.rotate(key.id, by="ana", overlap=timedelta(hours=1))
    assert keys.admit(first) == keys.admit(second)
    monkeypatch.setattr("tunesmith.access.keys.hmac.compare_digest", lambda a, b: False)
    assert [refused(keys, one) for one in (first, second)] == ["wrong_key", "wrong_key"], "no other comparison is made"


def test_the_outside_does_not_learn_whether_an_id_exists(tmp_path: Path) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys)
    keys.revoke(key.id, by="ana")
    said = []
    for presented in (
        new_secret(key.id),
        new_secret(new_id()),
        "ts_x",
        secret[:-1],
        secret + "\n",
        "",
        "ts_" + "é" * 50,
    ):
        with pytest.raises(RefusedError) as caught:
            keys.admit(presented)
        said.append((caught.value.outside, caught.value.status, str(caught.value), str(caught.value.told("zh"))))
    assert len(set(said)) == 1, "even of a key that was revoked, only who has the secret learns that"
    assert refused(keys, secret) == "revoked_key"


def test_a_digest_fits_no_other_key(tmp_path: Path) -> None:
    keys = store(tmp_path)
    first, secret = key_in(keys)
    second, _ = key_in(keys)
    assert refused(keys, secret.replace(first.id, second.id)) == "wrong_key"


def test_a_key_ends_when_it_expires(tmp_path: Path) -> None:
    now = Time()
    keys = store(tmp_path, now)
    _, secret = key_in(keys, hours=24)
    _, endless = key_in(keys, hours=None)
    now.move(hours=23, minutes=59)
    keys.admit(secret)
    now.move(minutes=1)
    assert refused(keys, secret) == "expired_key"
    now.move(days=10_000)
    keys.admit(endless)


def test_a_key_that_is_revoked_elsewhere_holds_no_longer_in_a_running_service(tmp_path: Path) -> None:
    running, shell = store(tmp_path), store(tmp_path)
    key, secret = key_in(shell)
    assert running.admit(secret).id == key.id
    shell.revoke(key.id, by="ana")
    assert refused(running, secret) == "revoked_key"
    with pytest.raises(TunesmithError, match="was revoked"):
        shell.revoke(key.id, by="ana")


def test_a_rotated_key_holds_with_both_secrets_for_the_overlap(tmp_path: Path) -> None:
    now = Time()
    keys = store(tmp_path, now)
    key, first = key_in(keys, hours=None)
    _, second = keys.rotate(key.id, by="ana", overlap=timedelta(hours=2))
    now.move(hours=1)
    _, third = keys.rotate(key.id, by="ana", overlap=timedelta(hours=5))
    assert {keys.admit(one).id for one in (first, second, third)} == {key.id}
    now.move(hours=1)
    assert refused(keys, first) == "expired_key"
    keys.admit(second)
    now.move(hours=4)
    assert refused(keys, second) == "expired_key"
    keys.admit(third)


def test_a_leaked_key_is_rotated_without_overlap_and_earlier_secrets_end_with_it(tmp_path: Path) -> None:
    keys = store(tmp_path)
    key, first = key_in(keys)
    _, second = keys.rotate(key.id, by="ana", overlap=timedelta(hours=9))
    _, third = keys.rotate(key.id, by="ana", overlap=timedelta())
    assert [refused(keys, one) for one in (first, second)] == ["wrong_key", "wrong_key"]
    keys.admit(third)


def test_uses_are_kept_to_the_hour_and_not_written_at_each_request(tmp_path: Path) -> None:
    now = Time()
    keys = store(tmp_path, now)
    key, secret = key_in(keys)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "state").iterdir())
    for _ in range(3):
        keys.admit(secret)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "state").iterdir()) == before
    keys.save_uses()
    assert keys.last_used() == {key.id: now.at.replace(minute=0, second=0)}
    now.move(hours=3)
    keys.admit(secret)
    keys.save_uses()
    assert store(tmp_path).last_used()[key.id].hour == 15


def _make(folder: str) -> None:
    keys = KeyStore(Path(folder))
    for _ in range(5):
        key_in(keys)


def test_several_processes_lose_no_key_and_share_one_pepper(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    works = [context.Process(target=_make, args=(str(tmp_path / "state"),)) for _ in range(4)]
    for one in works:
        one.start()
    for one in works:
        one.join(60)
    keys = store(tmp_path)
    assert len(keys.keys()) == 20
    found = keys.audit.verify()
    assert (found.head.number, found.broken) == (20, None)
    assert not list((tmp_path / "state").glob("*.draft"))


def test_what_is_changed_is_recorded_before_it_is_done_and_without_secrets(tmp_path: Path, monkeypatch) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys)
    keys.rotate(key.id, by="eve", overlap=timedelta(hours=1))
    records = list(keys.audit.records())
    assert [(one["who"], one["what"], one["target"]) for one in records] == [
        ("ana", "key.create", key.id),
        ("eve", "key.rotate", key.id),
    ]
    assert key.digest not in str(records)

    def full(*_: object) -> None:
        raise ResourceError("The disk is full.")

    monkeypatch.setattr("tunesmith.access.key_store.write_private", full)
    with pytest.raises(ResourceError):
        keys.revoke(key.id, by="eve")
    assert [one["what"] for one in keys.audit.records()][2:] == ["key.revoke", "key.revoke.failed"]
    keys.admit(secret)


def test_without_an_audit_log_nothing_is_changed(tmp_path: Path) -> None:
    keys = store(tmp_path)
    key, secret = key_in(keys)
    (tmp_path / "state" / "audit.jsonl").write_text("")
    with pytest.raises(TunesmithError, match="audit log"):
        keys.revoke(key.id, by="ana")
    keys.admit(secret)


def test_of_two_processes_that_make_a_secret_at_once_the_first_ones_stays(tmp_path: Path, monkeypatch) -> None:
    real = secrets.token_hex

    def overtaken(length: int) -> str:
        monkeypatch.undo()
        first.append(secret_of(tmp_path / "secret"))
        return real(length)

    first: list[bytes] = []
    monkeypatch.setattr("tunesmith.private_files.secrets.token_hex", overtaken)
    assert [secret_of(tmp_path / "secret")] == first
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_secret_file_is_made_once_and_damage_is_said(tmp_path: Path) -> None:
    first = secret_of(tmp_path / "secret")
    assert len(first) == 32
    assert secret_of(tmp_path / "secret") == first
    assert secret_of(tmp_path / "other") != first
    (tmp_path / "secret").write_text("abc")
    with pytest.raises(ResourceError, match="64"):
        secret_of(tmp_path / "secret")


def test_every_refusal_can_be_told_in_both_languages() -> None:
    words: dict[str, int | str] = {
        "limit": 1,
        "given": 2,
        "retry_after": 3,
        "item": 4,
        "scope": "predict",
        "kind": "model",
    }
    assert set(OUTSIDE.values()) <= set(REFUSALS)
    assert not set(OUTSIDE) & set(REFUSALS)
    for code in [*REFUSALS, *OUTSIDE]:
        english, chinese = (RefusedError(code, words).told(language) for language in ("en", "zh"))
        assert english["code"] == chinese["code"] == OUTSIDE.get(code, code)
        assert "{" not in str([*english.values(), *chinese.values()])
        assert re.search("[一-鿿]", chinese["message"] + chinese["to_do"])
        theirs = code != "signers_unavailable"  # the only one that is no fault of who asks
        assert (400 <= RefusedError(code, words).status < 500) == theirs
