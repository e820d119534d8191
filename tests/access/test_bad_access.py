"""The verbs about keys and the audit log, and their bad input: exit codes, and few lines on what, where, what to do."""

from __future__ import annotations

import json
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith import cli, service_console
from tunesmith.access.key_store import KeyStore
from tunesmith.access.keys import new_secret
from tunesmith.access.refusals import RefusedError
from tunesmith.private_files import naming


def asked(*arguments: object) -> int:
    """The exit code of a command line."""
    return cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))


def answered(capsys: pytest.CaptureFixture[str], *arguments: object):
    """What a verb prints as JSON."""
    capsys.readouterr()
    assert asked(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A state folder with one key."""
    answered(capsys, "keys", "create", "--name", "first", "--state", tmp_path / "state")
    return tmp_path / "state"


def test_a_key_lives_through_all_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    limits = ("--tokens-per-minute", 5, "--requests-per-minute", 7)
    made = answered(capsys, "keys", "create", "--scopes", "embed, predict", "--name", "Ana", *limits, "--state", state)
    assert (made["scopes"], made["tokens_per_minute"], made["requests_per_minute"]) == ("predict,embed", 5, 7)
    keys = KeyStore(state)
    assert keys.admit(made["key"]).scopes == {"predict", "embed"}
    keys.save_uses()
    turned = answered(capsys, "keys", "rotate", made["id"], "--overlap", 0.5, "--state", state)
    assert {keys.admit(one["key"]).id for one in (made, turned)} == {made["id"]}
    (listed,) = answered(capsys, "keys", "list", "--state", state)
    assert listed["last_used"]
    assert "key" not in listed
    answered(capsys, "keys", "revoke", made["id"], "--state", state)
    with pytest.raises(RefusedError, match="revoked"):
        keys.admit(turned["key"])
    assert answered(capsys, "keys", "list", "--state", state)[0]["state"].startswith("revoked")
    told = answered(capsys, "audit", "show", "--last", 2, "--state", state)
    assert [record["what"] for record in told] == ["key.rotate", "key.revoke"]
    found = answered(capsys, "audit", "verify", "--state", state)
    assert (found["sound"], found["head"].partition(":")[0]) == (True, "3")
    assert asked("audit", "verify", "--head", found["head"], "--state", state) == 0


def test_the_walk_of_the_documents_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    walk = page.partition("```console\n")[2].partition("```")[0]
    lines = [shlex.split(line.removeprefix("$ tunesmith "), comments=True) for line in walk.strip().splitlines()]
    assert len(lines) == 5
    id = ""
    for line in lines:
        capsys.readouterr()
        assert asked(*(id if word == "ez5revkqg5ox" else word for word in line), "--state", tmp_path / "state") == 0
        id = id or capsys.readouterr().out.split("_")[1]


def test_the_secret_is_printed_once_alone_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert asked("keys", "create", "--days", 0, "--state", tmp_path / "state") == 0
    printed = capsys.readouterr()
    secret = printed.out.strip()
    assert KeyStore(tmp_path / "state").admit(secret).id in secret
    assert secret not in printed.err
    assert "only time" in printed.err
    assert "without end" in printed.err
    id = secret.split("_")[1]
    for verb in (("keys", "list"), ("audit", "show"), ("audit", "verify"), ("keys", "revoke", id)):
        assert asked(*verb, "--state", tmp_path / "state") == 0
        printed = capsys.readouterr()
        assert secret.rpartition("_")[2] not in printed.out + printed.err
        assert id in printed.out or verb[1] == "verify"


def test_the_log_is_shown_by_what_changed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (key,) = answered(capsys, "keys", "list", "--state", state)
    assert asked("keys", "revoke", key["id"], "--state", state) == 0
    capsys.readouterr()
    assert asked("audit", "show", "--state", state) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert 'name: "first"' in first
    assert "key.revoke" in second
    assert "revoked: null -> " in second
    assert "name" not in second


def test_a_changed_line_ends_with_exit_code_1_and_is_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = state / "audit.jsonl"
    path.write_text(path.read_text().replace("first", "other"))
    assert asked("audit", "verify", "--state", state) == 1
    assert "BROKEN at line 1" in capsys.readouterr().out
    assert asked("audit", "verify", "--state", state, "--json") == 1
    assert json.loads(capsys.readouterr().out)["broken"]["line"] == 1


def readable(state: Path, name: str) -> None:
    (state / name).chmod(0o644)


def replaced(state: Path, name: str, content: str, mode: int = 0o600) -> None:
    (state / name).write_text(content)
    (state / name).chmod(mode)


def put_a_file(state: Path) -> None:
    shutil.rmtree(state)
    state.write_text("")


Damage = Callable[[Path], None]
CREATE = ("keys", "create")
SITUATIONS: dict[str, tuple[Damage | None, tuple[object, ...], str]] = {
    "an unknown scope": (None, (*CREATE, "--scopes", "predikt"), "Did you mean 'predict'"),
    "no scope": (None, (*CREATE, "--scopes", " , "), "No scope"),
    "a day of a key below 0": (None, (*CREATE, "--days", -1), "--days"),
    "a limit of 0": (None, (*CREATE, "--tokens-per-minute", 0), "--tokens-per-minute"),
    "a long name": (None, (*CREATE, "--name", "x" * 81), "80 characters"),
    "a name with a line break": (None, (*CREATE, "--name", "a\nb"), "cannot be printed"),
    "a key as a name": (None, (*CREATE, "--name", new_secret("abcdefghijkl")), "looks like a key"),
    "an unknown key": (None, ("keys", "revoke", "nobody"), "no key 'nobody'"),
    "a whole key as an id": (None, ("keys", "rotate", "x" * 12), "tunesmith keys list"),
    "an overlap below 0": (None, ("keys", "rotate", "x" * 12, "--overlap", -1), "--overlap"),
    "a pepper that others may read": (lambda s: readable(s, "pepper"), ("keys", "list"), "chmod 600"),
    "keys that others may read": (lambda s: readable(s, "keys.json"), ("keys", "list"), "chmod 600"),
    "a short pepper": (lambda s: replaced(s, "pepper", "abc"), ("keys", "list"), "64 hexadecimal"),
    "a lost pepper": (lambda s: (s / "pepper").unlink(), CREATE, "Put the pepper back; or, if it is lost, remove keys"),
    "a lost pepper, read": (lambda s: (s / "pepper").unlink(), ("keys", "list"), "Put the pepper back"),
    "no keys to revoke": (lambda s: (s / "keys.json").unlink(), ("keys", "revoke", "x" * 12), "There are no keys"),
    "damaged keys": (lambda s: replaced(s, "keys.json", "{"), ("keys", "list"), "damaged"),
    "keys of a later version": (lambda s: replaced(s, "keys.json", '{"format": 2}'), CREATE, "another version"),
    "damaged times of use": (lambda s: replaced(s, "keys-used.json", "[]"), ("keys", "list"), "keys-used.json"),
    "times of use that others may read": (
        lambda s: replaced(s, "keys-used.json", "{}", 0o644),
        ("keys", "list"),
        "chmod 600",
    ),
    "a folder that others may write to": (lambda s: s.chmod(0o777), ("keys", "list"), "chmod go-w"),
    "an audit log that was cut": (lambda s: replaced(s, "audit.jsonl", ""), CREATE, "tunesmith audit verify"),
    "a damaged head": (lambda s: replaced(s, "audit-head", "7"), ("audit", "verify"), "no head"),
    "a head of another form": (None, ("audit", "verify", "--head", "7"), "64 hexadecimal"),
    "no lines to show": (None, ("audit", "show", "--last", 0), "--last"),
    "a folder that is not there": (shutil.rmtree, ("audit", "verify"), "no such folder"),
    "a file as a folder": (put_a_file, ("keys", "list"), "cannot be written"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_mistake_is_explained_and_changes_nothing(
    situation: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, arguments, match = SITUATIONS[situation]
    if damage is not None:
        damage(state)
    before = written(state)
    capsys.readouterr()
    assert asked(*arguments, "--state", state) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert 2 <= len(lines) <= 6, said.err
    assert match in said.err
    assert "Traceback" not in said.err
    assert "abcdefghijkl" not in said.err
    assert written(state) == before


def written(state: Path) -> object:
    """Names, contents and modes below a folder, or of a file; lock files left out."""
    if not state.is_dir():
        return state.read_bytes() if state.exists() else None
    found = sorted(path for path in state.iterdir() if not path.name.endswith(".lock"))
    return [(path.name, path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in found]


def test_who_reads_keys_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for state in (tmp_path, tmp_path / "none"):
        assert answered(capsys, "keys", "list", "--state", state) == []
    assert asked("keys", "revoke", "x" * 12, "--state", tmp_path / "none") == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_shown_to_be_run_next_names_a_state_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "my state"
    quoted = f"--state '{own}'"
    assert asked("keys", "list", "--state", own) == 0
    assert f"keys create --scopes predict {quoted}" in capsys.readouterr().out
    assert asked("keys", "create", "--state", own) == 0
    assert asked("keys", "revoke", "x" * 12, "--state", own) == 2
    assert f"keys list {quoted}" in " ".join(capsys.readouterr().err.split())
    for secret in (None, "key"):
        service_console.show_keys(secret, naming(own))
    assert capsys.readouterr().out.count(f"keys create {quoted}") == 2
    (own / "audit.jsonl").write_text("")
    assert asked("keys", "create", "--state", own) == 2
    assert f"tunesmith audit verify {quoted}" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert asked("keys", "list") == 0
    assert "--state" not in capsys.readouterr().out


def test_a_rotation_says_what_becomes_of_earlier_secrets(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (key,) = answered(capsys, "keys", "list", "--state", state)
    for overlap, said in ((1, "The secret before it holds until"), (0, "All earlier secrets of it have ended.")):
        assert asked("keys", "rotate", key["id"], "--overlap", overlap, "--state", state) == 0
        assert said in capsys.readouterr().err
    assert asked("keys", "create", "--state", state) == 0
    assert "ended" not in capsys.readouterr().err
