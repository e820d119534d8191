"""Personal data, guards and feedback at the service: what a model sees, what a client sees, and what is kept."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, Running, running
from tests.service.test_batching import QUIET
from tunesmith import cli_service
from tunesmith.access.principal import Limits as KeyLimits
from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import RateLimiter
from tunesmith.access.refusals import RefusedError
from tunesmith.components import build
from tunesmith.guarding import GUARDS
from tunesmith.guarding.guards import Guards
from tunesmith.privacy import Mask, Pseudonymise, RedactionKey, Redactor, Refuse, standard
from tunesmith.remembered.labels import LabelSchema, label_check
from tunesmith.remembered.records import Answered, Feedback, Policy
from tunesmith.remembered.reviewing import Which, found
from tunesmith.remembered.store import Store
from tunesmith.remembered.text_keys import TextKeys
from tunesmith.service.batching import Batcher
from tunesmith.service.engine import Slot
from tunesmith.service.front import Front
from tunesmith.service.hushed import logged_to
from tunesmith.service.jobs import Asked, Limits
from tunesmith.service.local import LocalEngine
from tunesmith.service.protection import Protection
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.serving import Behind
from tunesmith.service.versions import Registry, Version, read_version
from tunesmith.service_arguments import Protections
from tunesmith.watching.metrics import Metrics

MAIL = "anna.bell@example.com"
ID_CARD = "11010519491231002X"


def served(artifacts: dict[str, Path], behind: Behind, *names: str) -> Any:
    return running([read_version(artifacts[name]) for name in names], LocalEngine(1, 1), behind=behind)


@pytest.fixture(scope="module")
def redacted(artifacts: dict[str, Path]) -> Iterator[Running]:
    redactor = Redactor(standard(), Pseudonymise(), {"ID_CARD": Refuse()}, key=RedactionKey(b"k" * 32))
    with served(artifacts, Behind(redactor), "spans", "classes", "chat", "relations") as found:
        yield found


def test_spans_lie_in_the_text_that_was_sent(redacted: Running, service: Running) -> None:
    text = f"write to {MAIL} and Anna went to Rome, 张三在北京"
    found = redacted.predict("spans", text).body["answers"][0]["label"]
    assert found
    for span in found:
        assert span["text"] == text[span["start"] : span["end"]]
    behind = [span for span in found if span["start"] > text.index(" and ")]
    assert behind, "a span behind the replaced address shows that places were moved back"


def test_a_kind_that_is_refused_is_refused_without_being_repeated(redacted: Running) -> None:
    answer = redacted.predict("classes", "fine", f"身份证{ID_CARD}")
    assert (answer.status, answer.body["code"], answer.body["where"]) == (422, "personal_data", "inputs[1]")
    assert ID_CARD not in answer.text
    assert "ID_CARD" in answer.body["detail"]
    metrics = redacted.get("/metrics").text
    assert 'tunesmith_pii_found_total{action="refuse",kind="ID_CARD"} 1.0' in metrics
    assert ID_CARD not in metrics


def test_marks_are_moved_with_the_text(redacted: Running) -> None:
    text = f"{MAIL} says Anna went to Rome"
    marks = [
        {"start": text.index("Anna"), "end": text.index("Anna") + 4, "label": "e1"},
        {"start": text.index("Rome"), "end": len(text), "label": "e2"},
    ]
    assert redacted.predict("relations", {"text": text, "marks": marks}).status == 200


def test_streamed_answers_come_as_one_part_where_they_are_judged(redacted: Running) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": f"hi {MAIL}"}], "max_tokens": 8}
    whole = redacted.post("/v1/chat/completions", body).body["choices"][0]["message"]["content"]
    streamed = redacted.post("/v1/chat/completions", {**body, "stream": True}).text
    events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == whole


def guards_of(*rows: dict[str, Any]) -> Guards:
    return Guards([build(GUARDS, row, "guards") for row in rows])


def test_guards_refuse_before_and_say_that_they_do_not_know_after(artifacts: dict[str, Path]) -> None:
    guards = guards_of({"name": "size", "most_characters": 20}, {"name": "confidence_floor", "least": 0.999})
    with served(artifacts, Behind(guards={"classes": guards}), "classes", "spans") as service:
        long = service.predict("classes", "good film", "a" * 30)
        assert (long.status, long.body["code"], long.body["where"]) == (422, "text_too_long", "inputs[1]")
        answer = service.predict("classes", "good film").body["answers"][0]
        assert answer["label"] is None
        assert answer["unknown"]["code"]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in answer["unknown"]["zh"])
        assert service.predict("spans", "a" * 30).status == 200
        metrics = service.get("/metrics").text
        assert 'guard_actions_total{action="refuse",guard="size"} 1.0' in metrics
        assert 'guard_actions_total{action="unknown",guard="confidence_floor"} 1.0' in metrics


def test_a_guard_asks_a_model_of_its_own_that_no_client_may_ask(artifacts: dict[str, Path]) -> None:
    folder = str(artifacts["classes"])
    version = read_version(artifacts["classes"])
    row = {"name": "toxicity", "artifact": folder, "labels": list(version.labels), "threshold": 0.1}
    guards = guards_of(row)
    behind = Behind(guards={"spans": guards}, further={folder: read_version(artifacts["classes"], name="guard-0")})
    with served(artifacts, behind, "spans") as service:
        refused = service.predict("spans", "good film")
        assert refused.status == 422, refused.text
        assert service.get("/v1/models").body["data"][0]["id"] == "spans"
        assert service.predict("guard-0", "good film").status == 404


@pytest.fixture(scope="module")
def remembering(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    place = tmp_path_factory.mktemp("store") / "answers.db"
    masking = Redactor(standard(), Mask())

    def mask(text: str) -> list[tuple[int, int, str]]:
        return [(one.start, one.end, f"<{one.kind}>") for one in masking.find(text)]

    policy = Policy(text="masked", mask=mask)
    behind = Behind(opened=lambda schemas: Store.open(str(place), policy, b"s" * 32, label_check(schemas)))
    with served(artifacts, behind, "classes", "spans", "chat") as found:
        yield found, place


def test_feedback_is_acknowledged_and_kept(remembering: tuple[Running, Path]) -> None:
    service, place = remembering
    asked = service.predict("classes", "good film", {"text": f"bad {MAIL}", "subject": "client 7"}).body
    other = {"good": "bad", "bad": "good"}[asked["answers"][1]["label"]]
    said = {"request_id": asked["request_id"], "item": 1, "verdict": "wrong", "right": {"label": other}}
    first = service.post("/v1/feedback", said)
    assert (first.status, first.body["repeated"]) == (200, False), first.text
    assert service.post("/v1/feedback", said).body["repeated"]
    assert 'tunesmith_feedback_total{verdict="wrong"} 1.0' in service.get("/metrics").text
    kept = b"".join(file.read_bytes() for file in place.parent.iterdir())
    assert MAIL.encode() not in kept
    assert b"client 7" not in kept


def test_feedback_on_spans_and_on_written_answers(remembering: tuple[Running, Path]) -> None:
    service, _ = remembering
    asked = service.predict("spans", "Anna went to Rome").body
    right = {"spans": [{"start": 0, "end": 4, "label": "PER"}]}
    body = {"request_id": asked["request_id"], "verdict": "wrong", "right": right}
    assert service.post("/v1/feedback", body).status == 200
    chat = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    told = service.post("/v1/chat/completions", chat)
    name = told.headers["x-request-id"]
    answered = {"request_id": name, "verdict": "wrong", "right": {"answer": "hello"}}
    assert service.post("/v1/feedback", answered).status == 200


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown request": ({"request_id": "nobody", "verdict": "correct"}, 404, "unknown_request"),
    "an unknown verdict": ({"request_id": "nobody", "verdict": "maybe"}, 400, "bad_request"),
    "a label of no model": ({"verdict": "wrong", "right": {"label": "sekret"}}, 422, "wrong_right_answer"),
    "both at once": ({"verdict": "correct", "right": {"label": "good"}}, 422, "contradictory_feedback"),
}


def test_feedback_that_contradicts_itself_is_refused_in_two_languages(remembering: tuple[Running, Path]) -> None:
    service, _ = remembering
    asked = service.predict("classes", "good film").body
    label = asked["answers"][0]["label"]
    body = {"request_id": asked["request_id"], "verdict": "wrong", "right": {"label": label}}
    answer = service.post("/v1/feedback", body)
    assert (answer.status, answer.body["code"]) == (422, "same_answer"), answer.text
    assert "the one that was served" in answer.text
    chinese = service.post("/v1/feedback", body, accept_language="zh")
    assert "与已返回的回答相同" in chinese.text


@pytest.mark.parametrize("case", REFUSED)
def test_feedback_that_is_refused_says_why(case: str, remembering: tuple[Running, Path]) -> None:
    service, _ = remembering
    body, status, code = REFUSED[case]
    name = service.predict("classes", "good film").body["request_id"]
    answer = service.post("/v1/feedback", {"request_id": name, **body})
    assert (answer.status, answer.body["code"]) == (status, code), answer.text
    assert "sekret" not in answer.text


def test_personal_data_is_not_kept_where_nothing_is_said_of_texts(tmp_path: Path) -> None:
    with cli_service._store(Protections(store=str(tmp_path / "a.db")), tmp_path)({}) as store:
        store.remember([Answered("r1", 0, "classes", "0", "key", f"write to {MAIL}", {"label": "good"})])
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"write to <EMAIL>" in kept
    assert MAIL.encode() not in kept


def test_making_the_store_writes_no_log_line(tmp_path: Path) -> None:
    """The steps of a migration say nothing that whoever starts a service can use."""
    shown = io.StringIO()
    with logged_to(shown):
        with cli_service._store(Protections(store=str(tmp_path / "new.db")), tmp_path)({}):
            pass
        logging.getLogger("alembic.runtime.migration").warning("said")
    assert [json.loads(line)["level"] for line in shown.getvalue().splitlines()] == ["warning"]


def test_raw_texts_are_kept_encrypted_by_the_service(tmp_path: Path) -> None:
    schemas = {"chat": LabelSchema("text")}
    with cli_service._store(Protections(store=str(tmp_path / "a.db"), keep="raw"), tmp_path)(schemas) as store:
        store.remember([Answered("r1", 0, "chat", "0", "key", f"write to {MAIL}", {"answer": f"{MAIL} it is"})])
        store.feedback(Feedback("r1", 0, "key", "wrong", {"answer": f"not {MAIL}"}, comment=f"it is {MAIL}"))
        for file in tmp_path.iterdir():
            assert MAIL.encode() not in file.read_bytes(), file
        assert [row.text for row in found(store.database, Which())] == [f"write to {MAIL}"]


def test_what_is_past_its_date_is_gone_once_the_service_has_looked(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Retention does not wait for somebody to call `feedback purge`."""
    policy = Policy(text="raw", keep_days=1e-9)
    keys = TextKeys.of(tmp_path)
    behind = Behind(opened=lambda schemas: Store.open(str(tmp_path / "a.db"), policy, b"s" * 32, keys=keys))
    with served(artifacts, behind, "classes") as service:
        assert service.predict("classes", "kept for no time").status == 200
        time.sleep(0.5)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"kept for no time" not in kept


def test_written_tokens_are_counted(remembering: tuple[Running, Path]) -> None:
    service, _ = remembering
    told = service.post(
        "/v1/chat/completions",
        {"model": "chat", "messages": [{"role": "user", "content": "good film?"}], "max_tokens": 5},
    ).body
    written = told["usage"]["completion_tokens"]
    line = [
        one for one in service.get("/metrics").text.splitlines() if one.startswith("tunesmith_generated_tokens_total")
    ]
    assert float(line[0].split()[-1]) >= written


def test_without_a_store_there_is_no_feedback(service: Running) -> None:
    answer = service.post("/v1/feedback", {"request_id": "x", "verdict": "correct"})
    assert answer.body["code"] == "no_store"


@pytest.mark.parametrize("is_written", [False, True])
def test_what_is_refused_for_the_load_costs_no_tokens(is_written: bool) -> None:
    """The queue is full: the key has all its tokens afterwards, whichever way it asked."""

    async def story() -> int:
        version = replaced_counter()
        registry = Registry()
        registry.add(version)
        batcher = Batcher(FakeEngine(), QUIET, most=10)
        limiter = RateLimiter()
        front = Front(registry, batcher, Limits(), limiter, Protection(Metrics()))
        who = Principal("key", frozenset({"predict"}), KeyLimits(1_000, 100))
        batcher.put("other", [({"text": "x"}, 10)], time.monotonic() + 5)  # nothing takes it: the batcher never began
        asked = Asked("id", "m", [{"text": "a" * 50}], who)
        with pytest.raises(NoAnswerError) as refused:
            await (anext(front.write(asked)) if is_written else front.answer(asked))
        assert refused.value.code == "overloaded"
        await batcher.close()
        return limiter.left(who).tokens.remaining

    assert asyncio.run(story()) == 1_000


def test_a_key_is_charged_for_what_it_asks_and_for_what_is_written() -> None:
    """50 letters asked for are 50 tokens; the engine says that it wrote 2 more."""

    async def story() -> list[int]:
        version = replaced_counter()
        registry = Registry()
        registry.add(version)
        batcher = Batcher(FakeEngine(), QUIET)
        batcher.start()
        limiter = RateLimiter(now=lambda: 0.0)
        front = Front(registry, batcher, Limits(), limiter, Protection(Metrics()))
        who = Principal("key", frozenset({"predict"}), KeyLimits(140, 100))
        asked = Asked("id", "m", [{"text": "a" * 50}], who)
        await front.answer(asked)
        left = [limiter.left(who).tokens.remaining]
        assert [part.written async for part in front.write(asked)] == [0, 2]
        left.append(limiter.left(who).tokens.remaining)
        with pytest.raises(RefusedError, match="140 tokens per minute"):
            await front.answer(asked)
        with pytest.raises(RefusedError, match="140 tokens per minute"):
            front.write(asked)
        await batcher.close()
        return left

    assert asyncio.run(story()) == [90, 38]


def test_a_shadow_is_measured_by_its_own_tokenizer() -> None:
    """Its tokens are what its batches hold and what waits for it: not those of the version that answers."""

    async def story() -> list[int]:
        champion = replaced_counter()
        counter: Any = Letters(times=3)
        shadow = replace(champion, id="w", slot=Slot("m@w", Path("none")), counter=counter)
        registry = Registry()
        registry.add(champion)
        registry["m"].shadow = shadow
        batcher = Batcher(FakeEngine(), QUIET)
        lengths: list[int] = []
        put = batcher.put

        def noted(slot: str, questions: Sequence[tuple[Any, int]], until: float) -> Any:
            lengths.extend(tokens for _, tokens in questions)
            return put(slot, questions, until)

        batcher.put = noted  # type: ignore[method-assign]
        batcher.start()
        front = Front(registry, batcher, Limits(), RateLimiter(), Protection(Metrics()))
        who = Principal("key", frozenset({"predict"}), KeyLimits(1_000, 100))
        await front.answer(Asked("id", "m", [{"text": "a" * 50}], who))
        await asyncio.sleep(0.05)
        await batcher.close()
        return lengths

    assert asyncio.run(story()) == [50, 150]


class Letters:
    """Counts letters for tokens, each so many times."""

    def __init__(self, times: int = 1) -> None:
        self.sha256 = str(times)
        self._times = times

    def count(self, texts: Sequence[str]) -> int:
        return self._times * sum(map(len, texts))


def replaced_counter() -> Version:
    """A version without an artifact, whose tokens are letters."""
    counter: Any = Letters()
    plain = {"task": "t", "label_kind": "class", "inputs": ("text",), "labels": (), "schema": "", "form": "torch"}
    return Version("m", "v", "s", Slot("m@v", Path("none")), width=9, counter=counter, **plain)  # type: ignore[arg-type]
