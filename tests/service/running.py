"""A service that runs beside a test, and a client that speaks HTTP as it is."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn
import yaml

from tests.builders import TASK_CASES, build_model
from tunesmith.access.principal import SCOPES, Limits, Principal
from tunesmith.components import name_of
from tunesmith.data.records import Example
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.service.engine import Answers, Engine, Part, Slot, UnanswerableError, WorkerLostError
from tunesmith.service.serving import Behind, Doors, Settings, assembled, configured, listening
from tunesmith.service.versions import Version
from tunesmith.tasks import TASKS, Task
from tunesmith.watching.traces import Tracer


class OpenDoor:
    """Lets everybody in."""

    def admit(self, authorization: str | None, source: str) -> Principal:
        return Principal("anyone", frozenset(SCOPES), Limits(10**9, 10**9))

    def lacks_key(self, authorization: str | None) -> bool:
        return False

    def fetch_keys(self) -> bool:
        return True


@dataclass(frozen=True)
class Response:
    status: int
    body: Any
    headers: Mapping[str, str]
    text: str


@dataclass
class Running:
    """A service at a port of this machine."""

    port: int

    def ask(self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(verb, path, content, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, json.loads(text) if "json" in told.get("content-type", "") else text, told, text)

    def post(self, path: str, body: Any, **headers: str) -> Response:
        return self.ask("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def get(self, path: str, **headers: str) -> Response:
        return self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def predict(self, model: str, *inputs: Any, **more: Any) -> Response:
        return self.post(f"/v1/models/{model}/predict", {"inputs": list(inputs), **more})


@contextmanager
def running(
    versions: Sequence[Version],
    engine: Engine,
    settings: Settings | None = None,
    doors: Doors | None = None,
    behind: Behind | None = None,
    tracer: Tracer | None = None,
) -> Iterator[Running]:
    """A service over an engine, in a thread, until the block ends."""
    told = replace(settings or Settings(drain=5), port=0)
    channel = listening(told.host, told.port)
    app = assembled(versions, engine, doors or Doors(OpenDoor()), told, behind, tracer)
    server = uvicorn.Server(configured(app, told))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[channel])), daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the service did not start"
    try:
        yield Running(channel.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        channel.close()


def three_versions(root: Path, model: str, body: Path) -> Path:
    """The versions "first", "second" and "third" of a classifier below `root`, which it gives."""
    for seed, name in ((0, "first"), (40, "second"), (80, "third")):
        saved(root / model / name, model, body, *TASK_CASES["single_label"], seed=seed)
    return root


def saved(folder: Path, name: str, body: Path, task: Task, examples: Sequence[Example], seed: int = 0) -> Path:
    """An artifact of a model that was not trained, whose recipe has a name."""
    model, prepared, encoder = build_model(body, task, examples)
    for number, parameter in enumerate(model.head.parameters()):
        parameter.data.add_(0.01 * (seed + number))
    recipe = {"name": name, "task": name_of(TASKS, task), "data": {"train": "train.jsonl", "keep": ["channel"]}}
    origin = Origin(yaml.safe_dump(recipe), {}, "tiny", {}, seed)
    save_artifact(folder, model, prepared, encoder, origin, "")
    return folder


class FakeEngine:
    """Workers that are coroutines: they answer with the text, fail on "poison" and end on "deadly".

    What else they answer may be said by slot and text.
    """

    def __init__(self, width: int = 1, seconds: float = 0.0) -> None:
        self.batches: list[list[str]] = []
        self.loaded: list[str] = []
        self.seconds = seconds
        self.refused: str = ""
        self.told = 0
        self.said: Callable[[str, str], Mapping[str, Any]] = lambda slot, text: {"label": text, "confidence": 1.0}
        self._width = width
        self._free = asyncio.Semaphore(width)

    @property
    def width(self) -> int:
        return self._width

    @property
    def alive(self) -> int:
        return self._width

    @property
    def copies(self) -> int:
        return self._width

    async def start(self, watcher: object) -> None: ...

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        self.loaded.append(slot.name)
        return {"width": 256}

    async def unload(self, name: str) -> None:
        self.loaded.remove(name)

    async def take(self) -> FakeEngine:
        await self._free.acquire()
        return self

    def give(self, place: object) -> None:
        self._free.release()

    def waits(self, texts: int) -> None:
        self.told = texts

    async def close(self) -> None: ...

    async def answer(self, slot: str, questions: Sequence[Mapping[str, Any]]) -> Answers:
        texts = [question["text"] for question in questions]
        self.batches.append(texts)
        await asyncio.sleep(self.seconds)
        if "deadly" in texts:
            raise WorkerLostError("A model worker ended.")
        if "poison" in texts:
            raise UnanswerableError("The model failed.")
        rows = [{**self.said(slot, text), "slot": slot} for text in texts]
        return Answers(rows, max(self.seconds, 1e-3), sum(map(len, texts)), 0)

    async def write(self, slot: str, question: Mapping[str, Any]) -> Any:
        for word in question["text"].split():
            await asyncio.sleep(self.seconds)
            yield Part(word)
        yield Part("", "stop", 3, 2)


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """What a program prints until it says these words."""
    assert process.stdout is not None
    said = ""
    while words not in said:
        line = process.stdout.readline()
        assert line, f"the program ended: {said}"
        said += line
    return said
