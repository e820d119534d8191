"""Versions are let go once nobody is with them, and never while they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import TASK_CASES
from tests.inference.causal_artifacts import causal_artifact
from tests.service.running import FakeEngine, running, saved
from tunesmith.service import switching
from tunesmith.service.engine import Part
from tunesmith.service.front import Front
from tunesmith.service.guarded import GuardedLine
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.switching import Switch
from tunesmith.service.versions import Registry, Served, Version, read_version


class Watcher:
    def loaded(self, version: Version) -> None: ...

    def switched(self, served: Served, seconds: float) -> None: ...

    def released(self, version: Version) -> None: ...


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> list[Version]:
    folder = saved(tmp_path_factory.mktemp("one") / "a", "m", tiny_model_folder, *TASK_CASES["single_label"])
    one = read_version(folder)
    return [replace(one, id=name, slot=replace(one.slot, name=f"m@{name}")) for name in "abc"]


async def held_by(versions: list[Version]) -> tuple[Switch, Served, FakeEngine]:
    """A switch of three loaded versions, of which the first is champion."""
    engine, registry = FakeEngine(), Registry()
    switch = Switch(engine, registry, Watcher())
    await switch.begin(versions[:1])
    served = registry["m"]
    for one in versions[1:]:
        await engine.load(one.slot)
        served.held[one.id] = one
    return switch, served, engine


def test_a_version_that_was_called_back_stays_though_an_answer_takes_long(
    versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "DRAIN_SECONDS", 0.2)

    async def told() -> None:
        switch, served, engine = await held_by(versions)
        with served.holding(versions[0]):
            await switch.promote("m", "b")
            await switch.promote("m", "c")  # nothing holds the first but its long answer
            await asyncio.sleep(0.05)
            await switch.promote("m", "a")
            await asyncio.sleep(0.4)
        await asyncio.sleep(0.1)
        assert served.champion is served.held["a"]
        assert sorted(engine.loaded) == ["m@a", "m@c"]

    asyncio.run(told())


def test_what_nobody_comes_to_is_let_go_when_its_requests_are_answered_or_had_their_time(
    versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(asked_for: float) -> bool:
        switch, served, engine = await held_by(versions)
        with served.holding(versions[0]):
            await switch.promote("m", "b")
            await switch.promote("m", "c")
            await asyncio.sleep(asked_for)
            held_meanwhile = "m@a" in engine.loaded
        await asyncio.sleep(0.1)
        assert sorted(engine.loaded) == ["m@b", "m@c"]
        return held_meanwhile

    assert asyncio.run(told(0.2))
    monkeypatch.setattr(switching, "DRAIN_SECONDS", 0.1)
    assert not asyncio.run(told(0.3))


def test_what_is_promoted_while_it_is_unloaded_is_not_said_to_be_gone(versions: list[Version]) -> None:
    async def told() -> None:
        switch, served, engine = await held_by(versions)
        with served.holding(versions[1]):
            unloading = asyncio.create_task(switch.unload("m", "b"))
            await asyncio.sleep(0.05)
            await switch.promote("m", "b")
        with pytest.raises(NoAnswerError, match="still has a part"):
            await unloading
        assert "m@b" in engine.loaded

    asyncio.run(told())


def test_a_version_is_held_while_guards_look_at_its_questions(
    versions: list[Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a text is written: from before the guards until the end."""
    writer = read_version(causal_artifact(tmp_path / "writer"), name="chat")
    counts: dict[str, int] = {}
    rows, said = GuardedLine.rows, Front._said

    async def counted_rows(line: Any, served: Served, version: Version, *rest: Any) -> list[Any]:
        counts["predict"] = served.asked[version.id]
        return await rows(line, served, version, *rest)

    async def counted_parts(front: Front, asked: Any, version: Version, *rest: Any) -> AsyncGenerator[Part, None]:
        counts["write"] = front.registry[asked.model].asked[version.id]
        async for part in said(front, asked, version, *rest):
            yield part

    monkeypatch.setattr(GuardedLine, "rows", counted_rows)
    monkeypatch.setattr(Front, "_said", counted_parts)
    with running([versions[0], writer], FakeEngine()) as service:
        assert service.predict("m", "good film").status == 200
        body = {"model": "chat", "messages": [{"role": "user", "content": "good film?"}]}
        assert service.post("/v1/chat/completions", body).status == 200
    assert counts == {"predict": 1, "write": 1}
