"""Texts of users and secrets are planted wherever a careless line might put them, and searched for in every output."""

from __future__ import annotations

import copy
import io
import json
import logging
import operator
import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.makers import unsigned
from tunesmith.access.keys import new_id, new_secret
from tunesmith.access.logs import json_handler, request_id
from tunesmith.access.refusals import RefusedError
from tunesmith.access.secrets_in_text import without_secrets
from tunesmith.access.user_text import UserText

PLANTED = "my diagnosis is Xylophonitis"
KEY = new_secret(new_id())
TOKEN = unsigned({"alg": "RS256"}, {"sub": "ana"}, "c2lnbmF0dXJl")


@dataclass
class Holding:
    """An object that prints what it holds."""

    text: str = PLANTED


def logged(name: str, act) -> str:
    """What stands in the log after `act(logger)`."""
    stream = io.StringIO()
    logger = logging.getLogger(name)
    handler = json_handler(stream)
    # Alone: pytest hears of loggers that do not propagate too (uvicorn makes its own so), and fails on a wrong format.
    others, logger.handlers = logger.handlers, [handler]
    before, logger.propagate = (logger.level, logger.propagate), False
    logger.setLevel(logging.DEBUG)
    try:
        act(logger)
    finally:
        logger.handlers = others
        logger.setLevel(before[0])
        logger.propagate = before[1]
    return stream.getvalue()


def record(name: str, act) -> dict:
    (line,) = logged(name, act).splitlines()
    return json.loads(line)


def fail(logger: logging.Logger) -> None:
    try:
        try:
            int(PLANTED)
        except ValueError as error:
            raise KeyError(PLANTED, KEY) from error
    except KeyError:
        logger.exception("it failed")


def fail_with_notes(logger: logging.Logger) -> None:
    error = ExceptionGroup(PLANTED, [ValueError(PLANTED)])
    error.add_note(PLANTED)
    try:
        raise error
    except ExceptionGroup:
        logger.exception("it failed", stack_info=True)


def spoken(message: str) -> str:
    """A message that is put together before the logger sees it, as it should not be."""
    return message


TEXT = UserText(PLANTED)
OWN: dict[str, Callable[[logging.Logger], None]] = {
    "a text of a user": lambda log: log.info("read %s %r", TEXT, TEXT),
    "in a format": lambda log: log.info(spoken(f"read {TEXT} {TEXT!r:>80}")),
    "as the message": lambda log: log.info(TEXT),
    "in a container": lambda log: log.info("read %s", [TEXT, {"a": PLANTED}]),
    "by name": lambda log: log.info("read %(text)s", {"text": TEXT}),
    "an error as the message": lambda log: log.info(ValueError(PLANTED)),
    "an error put in": lambda log: log.info("failed: %s", ValueError(PLANTED)),
    "an object": lambda log: log.info("read %s", Holding()),
    "bytes": lambda log: log.info("read %s", PLANTED.encode()),
    "a field": lambda log: log.info("read", extra={"fields": {"text": TEXT, "all": [TEXT, {"deep": TEXT}]}}),
    "an object in a field": lambda log: log.info("read", extra={"fields": {"a": Holding(), "b": [[[[PLANTED]]]]}}),
    "an error in a field": lambda log: log.info("read", extra={"fields": {"error": ValueError(PLANTED)}}),
    "a trace": fail,
    "notes and groups": fail_with_notes,
    "a key": lambda log: log.info("%s", KEY),
    "a key in a format": lambda log: log.info(spoken(f"got {KEY}, refused")),
    "a key in a field": lambda log: log.info("got", extra={"fields": {"key": KEY, KEY: 1, "all": ["x" * 180 + KEY]}}),
    "a key in an address": lambda log: log.info("GET /v1?key=%s", KEY.replace("_", "%5F")),
    "a token": lambda log: log.info(spoken(f"Authorization: Bearer {TOKEN}")),
    "a token alone": lambda log: log.info(spoken(f"refused {TOKEN}, it has ended")),
    "a password": lambda log: log.info("postgresql://ana:Xylophonitis@localhost/db"),
    "values that do not fit": lambda log: log.info("%d of", TEXT),
}
FOREIGN: dict[str, Callable[[logging.Logger], None]] = {
    "words put in": lambda log: log.info('"%s %s" %d', "GET", f"/predict?text={PLANTED}", 200),
    "further lines": lambda log: log.error(
        spoken(f"Task exception was never retrieved\nfuture: ValueError('{PLANTED}')")
    ),
    "a number's place": lambda log: log.info("%d", PLANTED),
    "names": lambda log: log.info("%(text)s", {"text": PLANTED}),
    "a trace": fail,
    "notes and groups": fail_with_notes,
}
SECRETS = (PLANTED, "Xylophonitis", KEY, KEY.rpartition("_")[2], TOKEN, TOKEN.split(".")[1])


@pytest.mark.parametrize("case", OWN)
def test_nothing_that_was_planted_is_in_a_line_of_ours(case: str) -> None:
    found = logged("tunesmith.service.test", OWN[case])
    assert found.count("\n") == 1
    assert not [secret for secret in SECRETS if secret in found or secret in str(json.loads(found))], found


@pytest.mark.parametrize("case", FOREIGN)
def test_nothing_that_was_planted_is_in_a_line_of_other_packages(case: str) -> None:
    found = logged("uvicorn.access", FOREIGN[case])
    assert not [secret for secret in SECRETS if secret in found], found


def test_what_another_package_put_together_before_is_told_by_its_length_and_place() -> None:
    """Nothing tells such words from those of a request; only servers whose first lines are known are let speak."""
    found = record("multipart", lambda log: log.warning(spoken(f"no boundary in {PLANTED}")))
    assert found["event"].startswith("<text, 43 characters> at test_logs:")
    assert "Xylophonitis" not in str(found)


def test_a_line_says_when_where_what_and_of_which_request() -> None:
    token = request_id.set("r-17")
    try:
        found = record(
            "tunesmith.service",
            lambda log: log.warning("%d of %s", 3, "queue", extra={"fields": {"n": 1, "x": float("nan")}}),
        )
    finally:
        request_id.reset(token)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "tunesmith.service",
        "event": "3 of queue",
        "request_id": "r-17",
        "fields": {"n": 1, "x": None},
    }


def test_numbers_of_other_packages_stay_and_their_words_show_their_length() -> None:
    found = record("uvicorn.error", lambda log: log.info("Started server process [%d] on %s", 17, "10.0.0.1"))
    assert found["event"] == "Started server process [17] on <text, 8 characters>"


def test_an_error_is_told_by_kind_code_and_places() -> None:
    found = record("tunesmith.service", fail)["error"]
    assert (found["kind"], found["cause"]) == ("KeyError", "ValueError")
    assert found["message"].endswith("characters>")
    assert found["trace"][-1].split("/")[-1].startswith("test_logs.py:")
    refused = record(
        "tunesmith.service", lambda log: log.info("no", extra={"fields": {"why": RefusedError("wrong_key")}})
    )
    assert refused["fields"]["why"]["code"] == "wrong_key"


def test_a_key_is_still_told_by_its_id() -> None:
    assert without_secrets(f"({KEY})") == f"(ts_{KEY.split('_')[1]}_<secret>)"
    assert without_secrets("parts_of_speech and ts_short_x and 时间") == "parts_of_speech and ts_short_x and 时间"


def test_long_lines_are_cut_and_broken_unicode_is_escaped() -> None:
    found = record("tunesmith", lambda log: log.info("x" * 5000, extra={"fields": {"y": "\ud800" * 500}}))
    assert found["event"].endswith("<4500 more characters>")
    assert len(found["fields"]["y"]) < 300


@settings(deadline=None)
@given(st.text(max_size=300))
def test_a_line_is_one_line_of_json_whatever_is_logged(text: str) -> None:
    found = logged("tunesmith.test", lambda log: log.info("%s", text, extra={"fields": {text: text}}))
    assert found.endswith("\n")
    assert found.count("\n") == 1
    assert json.loads(found)["logger"] == "tunesmith.test"


def test_a_handler_that_cannot_write_does_not_print_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = json_handler(stream)
    stream.close()
    handler.handle(logging.makeLogRecord({"name": "tunesmith", "msg": "%s", "args": (PLANTED,)}))
    assert capsys.readouterr().err == "a log line of tunesmith could not be written\n"


@pytest.mark.parametrize(
    "piece",
    ["ts_", "ts_a_", "eyJ", "eyJa.", "Bearer ", "a", "_", "://", "://a:", ":", "-----BEGIN ", ".", " ", "@", "%5F"],
)
def test_secrets_are_looked_for_in_time_that_grows_with_the_length_alone(piece: str) -> None:
    begin = time.process_time()
    without_secrets(piece * 100_000)
    assert time.process_time() - begin < 0.15


def test_a_users_text_is_shown_by_its_length_alone() -> None:
    text = UserText(PLANTED)
    shown = [
        str(text),
        repr(text),
        f"{text}",
        f"{text:>50}",
        operator.mod("%s %r", (text, text)),
        format(text, ""),
        str([text]),
        str({1: text}),
    ]
    assert not [one for one in shown if "diagnosis" in one]
    assert str(text) == "<text, 28 characters>"
    assert text.reveal() == PLANTED
    assert len(text) == 28


def test_a_users_text_is_no_str_and_does_not_become_one() -> None:
    text = UserText(PLANTED)
    assert str not in UserText.__mro__
    for careless in (
        lambda: json.dumps({"text": text}),
        lambda: "".join([text]),  # type: ignore[list-item]
        lambda: "read " + text,  # type: ignore[operator]
        lambda: pickle.dumps(text),
        lambda: text.__getstate__(),
        lambda: text.__reduce__(),
        lambda: vars(text),
        lambda: bytes(text),  # type: ignore[call-overload]
        lambda: list(text),  # type: ignore[call-overload]
    ):
        with pytest.raises(TypeError) as caught:
            careless()
        assert "diagnosis" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(AttributeError):
        text.text = "other"
    with pytest.raises(AttributeError):
        del text._UserText__text  # type: ignore[attr-defined]


def test_equal_texts_are_equal_and_copies_are_the_same() -> None:
    text = UserText(PLANTED)
    assert text == UserText(PLANTED)
    assert text != UserText("other")
    assert text != PLANTED
    assert {text: 1}[UserText(PLANTED)] == 1
    assert copy.deepcopy([text])[0] is copy.copy(text) is text
