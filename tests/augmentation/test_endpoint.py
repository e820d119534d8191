"""An endpoint is asked politely, within limits, and only where the recipe lets texts go."""

from __future__ import annotations

import json
import logging
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.augmentation.conftest import Chat, said
from tunesmith.augmentation import BackTranslation, Paraphrase
from tunesmith.augmentation.rewriters import chat_requests
from tunesmith.augmentation.rewriters.endpoint import Endpoint, TranslatingEndpoint
from tunesmith.data.records import Example
from tunesmith.errors import ModelError, RecipeError

KEY = "sk-very-secret"


def endpoint(chat: Chat, **changes: Any) -> Endpoint:
    return Endpoint(**{"url": chat.url, "model": "m", "timeout": 5.0, **changes})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, none of which is waited for."""
    found: list[float] = []
    monkeypatch.setattr("tunesmith.augmentation.rewriters.chat_requests.time.sleep", found.append)
    return found


def test_a_request_is_a_chat_completion_with_the_key_of_the_environment(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    opened = endpoint(chat, key="MY_KEY", temperature=0.5, max_new_tokens=7).opened()
    assert opened.rewritten(["hello", "", "you"]) == ["hello, so to speak", "", "you, so to speak"]
    first = next(one for one in chat.asked if one["messages"][0]["content"] == "hello")
    assert first == {
        "path": "/v1/chat/completions",
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "max_tokens": 7,
        "seed": 0,
    }
    assert chat.keys == [f"Bearer {KEY}"] * 2
    assert KEY not in repr(opened)
    assert KEY not in opened.identity


def test_an_answer_that_was_cut_is_none(chat: Chat) -> None:
    def cut(text: str) -> tuple[int, dict[str, str], bytes]:
        reason = "length" if text == "long" else "stop"
        choice = {"message": {"content": "so to"}, "finish_reason": reason}
        return 200, {}, json.dumps({"choices": [choice]}).encode()

    chat.answer = cut
    assert endpoint(chat).opened().rewritten(["long", "short"]) == ["", "so to"]


def test_answers_stand_in_the_order_of_what_was_asked_and_few_requests_are_under_way(chat: Chat) -> None:
    def slow(text: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.002 * (7 - int(text) % 7))
        return said(f"answer {text}")

    chat.answer = slow
    asked = [str(number) for number in range(30)]
    assert endpoint(chat, together=3).opened().rewritten(asked) == [f"answer {text}" for text in asked]
    assert 1 < chat.most_together <= 3


def test_passing_failures_are_tried_again_after_longer_and_longer_waits(chat: Chat, pauses: list[float]) -> None:
    answers = iter([(503, {}, b""), (429, {"Retry-After": "7"}, b""), (500, {}, b""), said("well")])
    chat.answer = lambda _: next(answers)
    assert endpoint(chat).opened().rewritten(["a"]) == ["well"]
    assert pauses[1] == 7.0
    assert 0.5 <= pauses[0] <= 1
    assert 2 <= pauses[2] <= 4
    chat.answer = lambda _: (503, {"Retry-After": "100000"}, b"busy")
    with pytest.raises(ModelError, match=r"answers 503, 3 times"):
        endpoint(chat, tries=3).opened().rewritten(["a"])
    assert pauses[-1] == chat_requests.LONGEST_WAIT
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=r"refused.*4 times"):
        Endpoint(nowhere, "m").opened().rewritten(["a"])


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (401, {}, f"wrong key {KEY}".encode(), "the key is not accepted"),
        (404, {}, b"", "no such place or model"),
        (400, {}, b"x" * 5000, "answers 400"),
        (302, {"Location": "http://127.0.0.1:9/"}, b"", "points elsewhere, which is not followed"),
        (307, {"Location": "http://127.0.0.1:9/"}, b"", "points elsewhere"),
        (200, {}, b"not json", "no chat completion"),
        (200, {}, b'{"choices": []}', "no chat completion"),
        (200, {}, b'{"choices": [{"message": {"content": null}}]}', "no chat completion"),
        (200, {}, b"[" * 100, "no chat completion"),
        (200, {}, b" " * ((4 << 20) + 1), "more than 4 MiB"),
    ],
)
def test_refusals_and_answers_that_are_none_stop_at_once_and_never_show_the_key(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], body: bytes, reason: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    chat.answer = lambda _: (status, headers, body)
    with pytest.raises(ModelError, match=reason) as raised:
        endpoint(chat, key="MY_KEY").opened().rewritten(["a"])
    assert KEY not in str(raised.value)
    assert len(str(raised.value)) < 600
    assert len(chat.asked) == 1


def test_an_answer_that_takes_too_long_is_given_up(chat: Chat, pauses: list[float]) -> None:
    def late(text: str) -> tuple[int, dict[str, str], bytes]:
        threading.Event().wait(0.5)
        return said(text)

    chat.answer = late
    with pytest.raises(ModelError, match=r"timed out, 2 times"):
        endpoint(chat, timeout=0.1, tries=2).opened().rewritten(["a"])


def test_translations_go_there_and_back(chat: Chat) -> None:
    by = {"name": "endpoint", "url": chat.url, "model": "m", "pivot": "Greek"}
    words = {"Greek": "ena kalo", "English": "a fine film"}
    chat.answer = lambda text: said(next(answer for name, answer in words.items() if f"into {name}" in text))
    copy = BackTranslation(by=by).augment(Example("1", "a good {language} film", "x"), random.Random(0))
    assert copy is not None
    assert copy.text == "a fine film"
    asked = [one["messages"][0]["content"] for one in chat.asked]
    assert asked[0].endswith("\n\na good {language} film")
    assert asked[1].endswith("\n\nena kalo")


def test_texts_leave_the_machine_only_where_the_recipe_says_so_and_that_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    far = {"name": "endpoint", "url": "https://api.example.org/v1", "model": "m"}
    with pytest.raises(RecipeError, match=r"would be sent to api\.example\.org"):
        Paraphrase(by=far)
    with pytest.raises(RecipeError, match="https only"):
        Paraphrase(by={**far, "url": "http://api.example.org/v1", "send_texts": True})
    known = Paraphrase(by={**far, "send_texts": True}).fitted([])
    assert known.findings() == []
    monkeypatch.setattr(chat_requests.Requests, "answer", lambda self, text: "a text with other words")
    with caplog.at_level(logging.WARNING):
        copies = known.augment_all([Example("1", "a text in some words", "x")], [random.Random(0)])
    assert copies[0] is not None
    assert "1 training texts are sent to https://api.example.org/v1 (model m)." in caplog.text
    (finding,) = known.findings()
    assert (finding.code, finding.severity, finding.count) == ("texts_sent", "warning", 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs a url and a model"),
        ({"url": "ftp://x/v1", "model": "m"}, "needs a url and a model"),
        ({"url": "http://127.0.0.1/v1"}, "needs a url and a model"),
        ({"url": "https://user:pass@x.org/v1", "model": "m", "send_texts": True}, "more than a place"),
        ({"url": "https://x.org/v1?key=1", "model": "m", "send_texts": True}, "more than a place"),
        ({"url": "http://127.0.0.1/v1", "model": "m", "together": 0}, "together"),
        ({"url": "http://127.0.0.1/v1", "model": "m", "timeout": 0}, "timeout"),
        ({"url": "http://127.0.0.1/v1", "model": "m", "modle": 0}, "Did you mean 'model'"),
    ],
)
@pytest.mark.parametrize("kind", [Paraphrase, BackTranslation])
def test_mistaken_settings_are_explained(kind: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        kind(by={"name": "endpoint", **settings})


def test_a_key_that_is_not_there_and_a_request_without_a_text_are_explained(chat: Chat) -> None:
    with pytest.raises(RecipeError, match="NO_SUCH_KEY holds no key"):
        endpoint(chat, key="NO_SUCH_KEY").opened()
    with pytest.raises(RecipeError, match="request must say"):
        TranslatingEndpoint(url=chat.url, model="m", request="Translate!")
    with pytest.raises(RecipeError, match="Each prompt must say"):
        Paraphrase(by={"name": "endpoint", "url": chat.url, "model": "m"}, prompts=("Say it again",))
    with pytest.raises(RecipeError, match="Unknown name 'apertum'"):
        BackTranslation(by="apertum")
    assert json.loads(said("a")[2])["choices"]


def test_a_server_of_this_machine_is_reached_without_the_proxy(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    chat.answer = lambda _: said("well")
    assert endpoint(chat).opened().rewritten(["a"]) == ["well"]


def test_what_a_refusal_repeats_of_a_text_is_not_shown(chat: Chat) -> None:
    chat.answer = lambda text: (400, {}, f"cannot read {text}".encode())
    with pytest.raises(ModelError, match="answers 400") as caught:
        endpoint(chat).opened().rewritten(["my secret"])
    assert "secret" not in str(caught.value)
