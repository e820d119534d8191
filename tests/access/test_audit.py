"""The audit log: what is changed, removed, added or moved is found; what may not stand in it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.makers import Time
from tunesmith.access.audit import AuditLog
from tunesmith.access.audit_chain import START, Head, head_of, line_of, record_of, sum_of, verified
from tunesmith.access.user_text import UserText
from tunesmith.errors import ArtifactError, ResourceError, TunesmithError


def written(folder: Path, count: int = 6) -> AuditLog:
    log = AuditLog(folder, Time())
    for number in range(count):
        log.append("ana", "model.promote", f"model-{number}", before={"version": number}, after={"version": number + 1})
    return log


def test_each_line_says_who_what_when_before_and_after(tmp_path: Path) -> None:
    log = written(tmp_path)
    records = list(log.records())
    assert records[2] == {
        "number": 3,
        "at": "2026-01-01T12:30:00+00:00",
        "who": "ana",
        "what": "model.promote",
        "target": "model-2",
        "before": {"version": 2},
        "after": {"version": 3},
        "previous": records[2]["previous"],
    }
    found = log.verify()
    assert (found.head.number, found.torn, found.broken) == (6, (), None)


@st.composite
def damages(draw):
    kind = draw(st.sampled_from(["change", "remove", "swap", "double", "insert"]))
    return kind, draw(st.integers(0, 5)), draw(st.integers(0, 10_000))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], Head]:
    """The lines of a log and its head."""
    log = written(tmp_path_factory.mktemp("log"))
    return log.path.read_bytes().splitlines(keepends=True), log.verify().head


@settings(deadline=None)
@given(damages())
def test_any_damage_is_found_and_the_line_is_named(sound, damage) -> None:
    kind, line, where = damage
    lines = list(sound[0])
    if kind == "change":
        at = where % (len(lines[line]) - 1)
        old = lines[line][at]
        lines[line] = lines[line][:at] + (b"0" if old != ord("0") else b"1") + lines[line][at + 1 :]
    elif kind == "remove":
        del lines[line]
    elif kind == "swap":
        other = (line + 1 + where % 5) % 6
        lines[line], lines[other] = lines[other], lines[line]
        line = min(line, other)
    elif kind == "double":
        lines.insert(line, lines[line])
        line += 1
    else:
        lines.insert(line, b'{"number":1}\n')
    found = verified(b"".join(lines).splitlines(keepends=True), sound[1], None)
    assert found.broken is not None
    assert abs(found.broken.line - 1 - line) <= 1


def test_lines_that_are_cut_off_at_the_end_are_missed_by_the_head(tmp_path: Path) -> None:
    log = written(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:4]))
    broken = log.verify().broken
    assert broken is not None
    assert broken.line == 5
    with pytest.raises(ArtifactError, match="does not end as it was left"):
        log.append("ana", "model.promote", "next")
    log.path.write_bytes(b"".join(lines).replace(b"model-5", b"model-7"))
    with pytest.raises(ArtifactError, match="does not end as it was left"):
        log.append("ana", "model.promote", "next")
    log.path.unlink()
    assert log.verify().broken is not None
    with pytest.raises(ArtifactError):
        log.append("ana", "model.promote", "next")


def test_a_log_that_was_forged_as_a_whole_does_not_fit_a_head_kept_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    log, forged = written(tmp_path / "a", 3), written(tmp_path / "b", 2)
    noted = str(log.verify().head)
    log.append("ana", "model.promote", "next")
    assert log.verify(noted).broken is None, "it may have grown since"
    forged.append("eve", "model.promote", "model-2")
    forged.append("eve", "model.promote", "next")
    assert forged.verify().broken is None
    broken = forged.verify(noted).broken
    assert broken is not None
    assert broken.line == 3
    with pytest.raises(TunesmithError, match="head"):
        log.verify("17")


def test_lines_that_the_head_does_not_know_of_are_found(tmp_path: Path) -> None:
    log = written(tmp_path, 2)
    head = (tmp_path / "audit-head").read_text()
    for number in range(3):
        log.append("eve", "model.promote", f"more-{number}")
    (tmp_path / "audit-head").write_text(head)
    broken = log.verify().broken
    assert broken is not None
    assert broken.line == 3


def test_a_power_cut_leaves_a_torn_line_that_is_said_and_hides_nothing(tmp_path: Path) -> None:
    log = written(tmp_path, 3)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole.splitlines(keepends=True)[-1][:40])
    found = log.verify()
    assert (found.torn, found.broken) == ((4,), None)
    assert log.append("ana", "model.promote", "next") == 6
    found = log.verify()
    assert (found.head.number, found.torn, found.broken) == (6, (4,), None)
    assert [one["what"] for one in log.records()][3:] == ["audit.torn", "model.promote"]
    lines = log.path.read_bytes().splitlines(keepends=True)
    lines[3] = b"something else\n"
    log.path.write_bytes(b"".join(lines))
    broken = log.verify().broken
    assert broken is not None
    assert broken.line == 4
    lines[3:5] = []
    log.path.write_bytes(b"".join(lines))
    assert log.verify().broken is not None


def test_a_power_cut_between_line_and_head_is_no_damage(tmp_path: Path) -> None:
    log = written(tmp_path, 3)
    head = (tmp_path / "audit-head").read_text()
    log.append("ana", "model.promote", "next")
    (tmp_path / "audit-head").write_text(head)
    assert log.verify().broken is None
    assert log.append("ana", "model.promote", "next") == 5
    assert (log.verify().head.number, log.verify().broken) == (5, None)


KEY = "ts_abcdefghijkl_" + "Ab1" * 14 + "x"


@pytest.mark.parametrize(
    "value",
    [
        UserText("my name is Ana"),
        KEY,
        f"made {KEY} just now",
        "Bearer abcdefghijklmnop",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "postgresql://ana:hunter22@localhost/db",
        "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----",
        "x" * 401,
        ["a", "list"],
    ],
)
def test_texts_of_users_and_secrets_do_not_get_in(tmp_path: Path, value: object) -> None:
    log = written(tmp_path, 1)
    for more in ({"before": {"a": value}}, {"after": {"a": value}}):
        with pytest.raises(TunesmithError, match="does not belong") as caught:
            log.append("ana", "model.promote", "model", **more)  # type: ignore[arg-type]
        assert "Ana" not in str(caught.value)
        assert "hunter22" not in str(caught.value)
    if isinstance(value, str):
        with pytest.raises(TunesmithError):
            log.append("ana", "model.promote", value)
    assert len(list(log.records())) == 1


def test_a_users_text_is_named_as_such_where_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError, match="A user's text does not belong"):
        AuditLog(tmp_path, Time()).append("ana", "model.promote", "m", after={"text": UserText("my name is Ana")})  # type: ignore[dict-item]


def test_a_log_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    log = written(tmp_path, 1)
    elsewhere = log.path.rename(tmp_path / "elsewhere")
    before = elsewhere.read_bytes()
    log.path.symlink_to(elsewhere)
    with pytest.raises(ResourceError):
        log.append("ana", "model.promote", "next")
    assert elsewhere.read_bytes() == before


def test_what_fails_is_recorded_as_failed(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, Time())
    with pytest.raises(ValueError, match="no"), log.recorded("ana", "model.promote", "m", before=None, after=None):
        raise ValueError("no")
    with log.recorded("ana", "model.promote", "m", before=None, after=None):
        pass
    assert [one["what"] for one in log.records()] == ["model.promote", "model.promote.failed", "model.promote"]


def test_a_line_is_one_line_whatever_stands_in_it(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, Time())
    log.append("ana\nnumber", "model.promote", "模型\r\u2028", after={"a": None, "b": True, "c": 1.5})
    log.append("ana", "model.promote", "next")
    assert log.verify().broken is None
    assert len(log.path.read_bytes().splitlines()) == 2
    assert json.loads(log.path.read_bytes().splitlines()[0])["target"] == "模型\r\u2028"


def test_a_chain_that_fits_with_numbers_that_do_not_is_found() -> None:
    told = {"at": "", "who": "eve", "what": "model.promote", "target": "", "before": None, "after": None}
    first = line_of({"number": 1, **told, "previous": START})
    second = line_of({"number": 3, **told, "previous": sum_of(first)})
    found = verified([first, second], Head(2, sum_of(second)), None)
    assert found.broken is not None
    assert (found.broken.line, found.head.number) == (2, 1)
    assert "number 3" in found.broken.reason


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    found = AuditLog(tmp_path, Time()).verify()
    assert (found.head.number, found.broken) == (0, None)
    assert verified([], None, Head(1, "0" * 64)).broken is not None
    assert head_of(str(found.head), "") == found.head
    assert record_of(b"[1]\n") is None
