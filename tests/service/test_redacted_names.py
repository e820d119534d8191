"""Names that a tagger finds are redacted as every other kind is, and the loop does not wait for the tagger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Made
from tests.service.running import FakeEngine, OpenDoor, Response, Running, running, said_until
from tunesmith import cli_service
from tunesmith.access.principal import SCOPES, Limits, Principal
from tunesmith.data.records import Span
from tunesmith.errors import RecipeError
from tunesmith.inference.name_tagger import names_by
from tunesmith.inference.predictor import Predictor
from tunesmith.privacy import Action, Hash, Mask, Names, Pseudonymise, RedactionKey, Redactor, Refuse, restore, standard
from tunesmith.remembered.records import Answered, Feedback
from tunesmith.service.aside import Aside, in_time
from tunesmith.service.engine import Engine, Part
from tunesmith.service.names import names_of
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.serving import Behind, Doors
from tunesmith.service.versions import read_version
from tunesmith.service_arguments import Protections

KEY = RedactionKey(b"k" * 32)
MAIL = "anna.bell@example.com"


@dataclass
class Tagger:
    """Tags "Anna Bell" and 张三 wherever they stand, and notes who asked; waits where it is told to."""

    texts: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    begun: threading.Event = field(default_factory=threading.Event)
    may: threading.Event = field(default_factory=threading.Event)
    waits: bool = False
    waited_in_vain: bool = False

    def __call__(self, text: str) -> Sequence[Span]:
        self.texts.append(text)
        self.threads.add(threading.current_thread().name)
        self.begun.set()
        if self.waits:
            self.waited_in_vain |= not self.may.wait(30)
        found = [(name, text.find(name)) for name in ("Anna Bell", "张三")]
        return [Span(at, at + len(name), "PER") for name, at in found if at >= 0]


class Writer(FakeEngine):
    """Writes a name in two parts."""

    async def write(self, slot: str, question: Mapping[str, Any]) -> Any:
        self.batches.append([text for _, text in question["turns"]])
        for piece in ("It was An", "na Bell, 张", "三说"):
            yield Part(piece)
        yield Part("", "stop", 3, 6)


@contextmanager
def named(
    artifacts: dict[str, Path],
    tagger: Tagger,
    action: Action | None = None,
    engine: Engine | None = None,
    door: OpenDoor | None = None,
) -> Iterator[Running]:
    """A service that redacts what the tagger finds; its engine says what the model saw."""
    redactor = Redactor((*standard(), Names(tagger)), action or Mask(), key=KEY)
    versions = [read_version(artifacts[name]) for name in ("classes", "chat", "relations")]
    behind = Behind(redactor, names=[read_version(artifacts["spans"])])
    with running(versions, engine or Writer(), doors=Doors(door or OpenDoor()), behind=behind) as service:
        yield service


def seen(answer: Response) -> list[str]:
    """What the model saw, which it gives as its label."""
    assert answer.status == 200, answer.text
    return [one["label"] for one in answer.body["answers"]]


def chat(service: Running, text: str, **more: Any) -> Response:
    return service.post(
        "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": text}], **more}
    )


def test_names_are_masked_beside_what_rules_find_in_both_languages(artifacts: dict[str, Path]) -> None:
    tagger = Tagger()
    with named(artifacts, tagger) as service:
        answer = service.predict("classes", f"Anna Bell, {MAIL}", "张三在北京，手机13812345678", "nobody")
        assert seen(answer) == ["<PERSON>, <EMAIL>", "<PERSON>在北京，手机<MOBILE>", "nobody"]
        assert 'tunesmith_pii_found_total{action="replaced",kind="PERSON"} 2.0' in service.get("/metrics").text
    assert len(tagger.threads) == 1
    assert next(iter(tagger.threads)).startswith("aside")


@pytest.mark.parametrize("action", [Hash(), Pseudonymise()])
def test_a_name_stays_the_same_and_comes_back_where_it_can(artifacts: dict[str, Path], action: Action) -> None:
    with named(artifacts, Tagger(), action) as service:
        first, second = seen(service.predict("classes", "张三在北京", "在北京的张三"))
    assert "张三" not in first + second
    assert first.partition("在北京")[0] == second.rpartition("在北京的")[2]
    assert restore(first, KEY).text == ("张三在北京" if isinstance(action, Pseudonymise) else first)


def test_a_name_that_is_refused_is_not_repeated(artifacts: dict[str, Path]) -> None:
    with named(artifacts, Tagger(), Refuse()) as service:
        answer = service.predict("classes", "fine", "I met Anna Bell")
        assert (answer.status, answer.body["code"], answer.body["where"]) == (422, "personal_data", "inputs[1]")
        assert "PERSON" in answer.body["detail"]
        assert "Anna" not in answer.text
        written = chat(service, "who was it?")
        assert (written.status, written.body["error"]["code"]) == (422, "personal_data")
        streamed = chat(service, "who was it?", stream=True)
        assert "Bell" not in written.text + streamed.text


def test_names_in_a_dialogue_and_in_what_is_written_are_masked(artifacts: dict[str, Path]) -> None:
    """Streamed or not: a name that two parts share is one name."""
    engine, tagger = Writer(), Tagger()
    with named(artifacts, tagger, engine=engine) as service:
        whole = chat(service, "Who is Anna Bell?")
        assert whole.body["choices"][0]["message"]["content"] == "It was <PERSON>, <PERSON>说"
        streamed = chat(service, "谁是张三？", stream=True).text
        events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
        parts = [event["choices"][0]["delta"].get("content", "") for event in events]
        assert list(filter(None, parts)) == ["It was <PERSON>, <PERSON>说"]
    assert engine.batches == [["Who is <PERSON>?"], ["谁是<PERSON>？"]]
    assert tagger.texts.count("Who is Anna Bell?") == 1, "the last turn is the text: it is looked through once"


def test_the_loop_answers_others_while_a_tagger_reads(artifacts: dict[str, Path]) -> None:
    tagger = Tagger(waits=True)
    with named(artifacts, tagger) as service, ThreadPoolExecutor(1) as others:
        asked = others.submit(service.predict, "classes", "Anna Bell")
        assert tagger.begun.wait(30)
        assert service.get("/livez").status == 200
        tagger.may.set()
        assert seen(asked.result()) == ["<PERSON>"]
    assert not tagger.waited_in_vain, "the loop was held until the tagger gave up"


def test_what_is_too_long_is_not_read_by_the_tagger(artifacts: dict[str, Path]) -> None:
    tagger = Tagger()
    with named(artifacts, tagger) as service:
        assert service.predict("classes", "a b " * 4000).status == 413
        assert service.predict("classes", "a" * 30_000).status == 413
    assert tagger.texts == []


class Poor(OpenDoor):
    """Lets in who may ask for thirty tokens a minute."""

    def admit(self, authorization: str | None, source: str) -> Principal:
        return Principal("poor", frozenset(SCOPES), Limits(30, 100))


def test_who_has_used_up_his_tokens_has_nothing_read_by_the_tagger(artifacts: dict[str, Path]) -> None:
    tagger = Tagger()
    with named(artifacts, tagger, door=Poor()) as service:
        assert service.predict("classes", "good " * 15).status == 200
        assert service.predict("classes", "good " * 25).status == 429
        assert chat(service, "good good good good").status == 429
    assert len(tagger.texts) == 1


def test_a_text_whose_names_are_late_is_refused_in_time(artifacts: dict[str, Path]) -> None:
    tagger = Tagger(waits=True)
    with named(artifacts, tagger) as service:
        answer = service.post("/v1/models/classes/predict", {"inputs": ["Anna Bell"]}, x_request_timeout_ms="50")
        assert (answer.status, answer.body["code"]) == (504, "deadline")
        tagger.may.set()


def test_a_dialogue_whose_names_are_late_is_refused_by_its_own_limit(artifacts: dict[str, Path]) -> None:
    tagger = Tagger(waits=True)
    with named(artifacts, tagger) as service:
        body = {"model": "chat", "messages": [{"role": "user", "content": "Anna Bell"}]}
        answer = service.post("/v1/chat/completions", body, x_request_timeout_ms="50")
        tagger.may.set()
        assert answer.status == 504
    assert not tagger.waited_in_vain


def test_what_waits_is_bounded_and_what_nobody_waits_for_is_not_begun() -> None:
    async def story() -> list[str]:
        aside, may, done = Aside(most=10), threading.Event(), list[str]()

        def work(name: str) -> None:
            assert name != "first" or may.wait(30)
            done.append(name)

        first = asyncio.create_task(aside.done(lambda: work("first"), 6))
        left = asyncio.create_task(aside.done(lambda: work("left"), 4))
        await asyncio.sleep(0)
        with pytest.raises(NoAnswerError) as refused:
            await aside.done(lambda: work("too much"), 1)
        assert refused.value.code == "overloaded"
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        late = time.monotonic() - 1
        with pytest.raises(NoAnswerError) as refused:
            async with in_time(late):
                await aside.done(lambda: work("late"), 4)
        assert refused.value.code == "deadline"
        may.set()
        await first
        await aside.done(lambda: work("large"), 100)
        await asyncio.to_thread(aside.close)
        return done

    assert asyncio.run(story()) == ["first", "large"]


def test_stored_texts_and_comments_hold_no_names(tmp_path: Path) -> None:
    given = Protections(store=str(tmp_path / "a.db"), redact="mask")
    with cli_service._store(given, tmp_path, [Names(Tagger())])({}) as store:
        store.remember([Answered("r1", 0, "classes", "0", "key", "I met Anna Bell", {"label": "good"})])
        store.feedback(Feedback("r1", 0, "key", "wrong", comment="张三 was not there"))
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"I met <PERSON>" in kept
    assert b"<PERSON> was not there" in kept
    assert b"Anna" not in kept
    assert "张三".encode() not in kept


def test_a_text_on_which_the_tagger_fails_is_refused(
    artifacts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_of(version := read_version(artifacts["spans"]))

    def broken(predictor: Predictor, examples: object) -> object:
        raise RuntimeError(f"cannot read {examples}")

    monkeypatch.setattr(Predictor, "predict", broken)
    versions = [read_version(artifacts["classes"])]
    with running(versions, FakeEngine(), behind=Behind(Redactor((names,)), names=[version])) as service:
        answer = service.predict("classes", "Anna Bell")
        assert (answer.status, answer.body["code"]) == (422, "unanswerable")
        assert "Anna" not in answer.text


def test_names_are_redacted_whichever_engine_answers(artifacts: dict[str, Path], made: Made) -> None:
    tagger = Tagger()
    with named(artifacts, tagger, engine=made(1)) as service:
        assert service.predict("classes", "Anna Bell").status == 200
        assert 'tunesmith_pii_found_total{action="replaced",kind="PERSON"} 1.0' in service.get("/metrics").text


def test_a_program_says_who_finds_names_and_refuses_them(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """The tagger was not trained: it is asked beside for what it finds."""
    text = "Anna went to Rome, 张三在北京"
    kinds = {{"PER": "PERSON", "LOC": "PLACE"}[span.label] for span in names_by(artifacts["spans"]).tagger(text)}
    assert kinds
    version = read_version(artifacts["spans"])
    options = ["--redact", "refuse", "--redact-names", str(artifacts["spans"]), "--port", "0", "--workers", "1"]
    command = [sys.executable, "-m", "tunesmith", "serve", f"classes={artifacts['classes']}", *options]
    told = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*command, "--state", str(tmp_path)], stdout=subprocess.PIPE, text=True, env=told) as process:
        try:
            said = said_until(process, "Names are redacted")
            assert f"found by spans, version {version.id}" in said
            port = int(said.partition("Listening at http://127.0.0.1:")[2].split()[0])
            bearer = {"authorization": f"Bearer {said.partition('Key ')[2].split()[0]}"}
            body = {"inputs": [text]}
            answer = Running(port).ask("POST", "/v1/models/classes/predict", body, bearer)
            assert (answer.status, answer.body["code"]) == (422, "personal_data")
            assert any(kind in answer.body["detail"] for kind in kinds)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_a_tagger_finds_the_kinds_that_it_has_labels_for_and_no_others(artifacts: dict[str, Path]) -> None:
    names = names_of(read_version(artifacts["spans"]))
    assert set(names.kinds) == {"PERSON", "PLACE"}
    with pytest.raises(NoAnswerError):
        names.tagger("a" * 20_001)


def test_kinds_that_leave_all_names_out_are_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("kinds: [EMAIL]\n", encoding="utf-8")
    given = Protections(redact="mask", recognisers=rules, redact_names=[artifacts["spans"]])
    with pytest.raises(RecipeError, match="It finds PERSON, PLACE"):
        cli_service._redactor(given, tmp_path, [names_by(artifacts["spans"])])
