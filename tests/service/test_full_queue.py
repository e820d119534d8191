"""A queue that is full: every route that asks a model refuses with a time to come back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, Running, running
from tests.service.test_adversarial import requests
from tunesmith.service.engine import Answers
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version


class Held(FakeEngine):
    """Keeps its first batch until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = threading.Event()
        self.goes_on = threading.Event()

    async def answer(self, slot: str, questions: Sequence[Mapping[str, Any]]) -> Answers:
        self.is_asked.set()
        await asyncio.to_thread(self.goes_on.wait, 60)
        return await super().answer(slot, questions)


@pytest.fixture(scope="module")
def full(artifacts: dict[str, Path]) -> Iterator[Running]:
    """A service whose only worker has a batch, and in whose queue there is no room beside what waits."""
    engine = Held()
    versions = [read_version(folder) for folder in artifacts.values()]
    with running(versions, engine, Settings(waiting_tokens=4)) as service:
        asking = [threading.Thread(target=service.predict, args=("classes", "good film"))]
        asking[0].start()
        assert engine.is_asked.wait(30)
        asking.append(threading.Thread(target=service.predict, args=("classes", "a bad bad day")))
        asking[1].start()
        until = time.monotonic() + 30
        while engine.told < 1:  # the queue's own word for how many texts wait
            assert time.monotonic() < until
            time.sleep(0.01)
        yield service
        engine.goes_on.set()
        for one in asking:
            one.join(30)


ASKED = requests("good film")


@pytest.mark.parametrize("path", ASKED)
def test_a_full_queue_says_when_to_come_back(path: str, full: Running) -> None:
    body = {**ASKED[path], "inputs": [{"history": ["i1"]}]} if "items" in path else ASKED[path]
    refused = full.post(path, body)
    assert refused.status == 429, refused.text
    told = refused.headers["retry-after"]
    assert told.isdecimal()
    assert int(told) >= 1
