"""Real workers: they end and are started again, models come and go under traffic, and nobody is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.builders import TASK_CASES
from tests.service.conftest import Made
from tests.service.running import FakeEngine, OpenDoor, Response, Running, running, saved
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import Limits
from tunesmith.components import build
from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import schema_hash, seal
from tunesmith.inference.predictor import Predictor
from tunesmith.service import room
from tunesmith.service.engine import Slot
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Doors, Settings
from tunesmith.service.versions import read_version
from tunesmith.tasks import TASKS

TEXTS = ["good film", "a bad bad day", "张三在北京", "Anna went to Rome and met the old man " * 3]


@contextmanager
def asking(service: Running, model: str, replies: list[Response]) -> Iterator[None]:
    """Ask on and on from several threads while the block runs."""
    stop = threading.Event()

    def ask(start: int) -> None:
        number = start
        while not stop.is_set():
            replies.append(service.predict(model, TEXTS[number % len(TEXTS)]))
            number += 1

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_request_is_lost_when_workers_are_killed(artifacts: dict[str, Path], made: Made) -> None:
    engine = made(2)
    replies: list[Response] = []
    with running([read_version(artifacts["classes"])], engine) as service:
        with asking(service, "classes", replies):
            killed: set[int] = set()
            until = time.monotonic() + 60
            while len(killed) < 4 and time.monotonic() < until:
                time.sleep(0.3)
                for pid in [one for one in engine.pids if one not in killed][:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
        assert {reply.status for reply in replies} == {200}
        waited = time.monotonic()
        while (restarts(service) < 4 or engine.alive < 2) and time.monotonic() - waited < 60:
            time.sleep(0.05)
        assert engine.alive == 2
        assert restarts(service) >= 4


def restarts(service: Running) -> float:
    counted = [line for line in service.get("/metrics").text.splitlines() if "worker_restarts_total{" in line]
    return float(counted[0].split()[-1])


def test_killing_all_workers_only_makes_requests_wait(artifacts: dict[str, Path], made: Made) -> None:
    engine = made(2)
    with running([read_version(artifacts["spans"])], engine) as service:
        for pid in engine.pids:
            os.kill(pid, signal.SIGKILL)
        assert service.predict("spans", "Anna went to Rome").status == 200


@pytest.fixture
def root(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """Two versions of one model, told apart by their answers' confidence."""
    for seed, name in ((0, "first"), (40, "second")):
        saved(
            tmp_path / "root" / "classes" / name, "classes", tiny_model_folder, *TASK_CASES["single_label"], seed=seed
        )
    return tmp_path / "root"


def admin(service: Running, verb: str, **body: Any) -> Response:
    return service.post(f"/admin/models/classes:{verb}", body)


def confidences(folder: Path) -> dict[str, float]:
    return {text: one.confidence for text, one in zip(TEXTS, Predictor.load(folder).predict_texts(TEXTS), strict=True)}


def test_hot_swaps_fail_nobody_and_every_answer_is_of_one_version(root: Path, tmp_path: Path, made: Made) -> None:
    folders = {read_version(folder, name="classes").id: folder for folder in (root / "classes").iterdir()}
    first = read_version(root / "classes" / "first", name="classes")
    replies: list[Response] = []
    store = KeyStore(tmp_path / "state")
    with running([first], made(1), Settings(root=root), Doors(OpenDoor(), store.audit)) as service:
        with asking(service, "classes", replies):
            second = admin(service, "load", version="second").body["version"]
            for version in [second, first.id] * 5:
                assert admin(service, "promote", version=version).body["roles"]["champion"] == version
                time.sleep(0.05)
        seen: set[str] = set()
        expected = {version: set(confidences(folder).values()) for version, folder in folders.items()}
        for reply in replies:
            assert reply.status == 200, reply.text
            version, answer = reply.body["version"], reply.body["answers"][0]
            seen.add(version)
            near = {
                name for name, values in expected.items() if any(abs(v - answer["confidence"]) < 1e-4 for v in values)
            }
            assert near == {version}
        assert seen == set(folders)
        assert admin(service, "rollback").body["roles"]["champion"] == second
    assert store.audit.verify().broken is None
    assert len(list(store.audit.records())) == 12


def test_uses_of_keys_are_written_down_when_the_service_stops(
    artifacts: dict[str, Path], tmp_path: Path, made: Made
) -> None:
    store = KeyStore(tmp_path / "state")
    key, secret = store.create(("predict",), Limits(), name="", by="test", lifetime=None)
    doors = Doors(Gate(store), store.audit, (store.save_uses,))
    with running([read_version(artifacts["classes"])], made(1), doors=doors) as service:
        answer = service.post("/v1/models/classes/predict", {"inputs": ["a"]}, authorization=f"Bearer {secret}")
        assert answer.status == 200
    assert set(KeyStore(tmp_path / "state").last_used()) == {key.id}


def test_a_canary_answers_its_share_and_a_shadow_nobody(root: Path) -> None:
    first = read_version(root / "classes" / "first", name="classes")
    with running([first], LocalEngine(1, 1), Settings(root=root)) as service:
        second = admin(service, "load", version="second").body["version"]
        admin(service, "canary", version=second, share=0.3)
        asked = [service.post("/v1/models/classes/predict", {"inputs": ["a"]}).body["version"] for _ in range(200)]
        assert 30 <= asked.count(second) <= 95  # 0.3 of 200 by a fair draw: outside once in ten thousand runs
        same = {
            service.post("/v1/models/classes/predict", {"inputs": ["a"]}, x_request_id="one").body["version"]
            for _ in range(5)
        }
        assert len(same) == 1
        admin(service, "canary", version=second, share=0.0)
        admin(service, "shadow", version=second)
        asked = [service.predict("classes", "a").body["version"] for _ in range(20)]
        assert set(asked) == {first.id}
        named = service.predict("classes", "a", version=second)
        assert named.body["version"] == second


def broken(folder: Path, how: str) -> None:
    """Break an artifact in a way that its files' sums do not show, or that they do."""
    if how == "a changed file":
        (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
        return
    if how == "a missing file":
        (folder / "tokenizer.json").unlink()
        return
    if how == "a pickle":
        (folder / "more.pkl").write_bytes(b"\x80\x04.")
        seal(folder)
        return
    told = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
    if how in {"other labels", "other labels with their hash"}:
        told["task"]["labels"] = ["bad", "worse"]
    if how == "other labels with their hash":
        told["schema_sha256"] = schema_hash(build(TASKS, told["task"], "task"))
    elif how == "weights that are no numbers":
        weights = load_file(folder / "model.safetensors")
        save_file({name: tensor * float("nan") for name, tensor in weights.items()}, folder / "model.safetensors")
    (folder / "artifact.json").write_text(json.dumps(told), encoding="utf-8")
    seal(folder)


@pytest.mark.parametrize(
    "how",
    [
        *("a changed file", "a missing file", "a pickle"),
        *("other labels", "other labels with their hash", "weights that are no numbers"),
    ],
)
def test_a_broken_version_is_refused_and_the_traffic_goes_on(how: str, root: Path) -> None:
    first = read_version(root / "classes" / "first", name="classes")
    shutil.copytree(root / "classes" / "second", root / "classes" / "broken")
    broken(root / "classes" / "broken", how)
    with running([first], LocalEngine(1, 1), Settings(root=root)) as service:
        before = service.predict("classes", "good film").body["answers"]
        answer = admin(service, "load", version="broken")
        assert (answer.status, answer.body["code"]) == (409, "not_loaded"), answer.text
        assert service.predict("classes", "good film").body["answers"] == before
        assert service.get("/v1/models/classes").body["versions"] == [first.id]


@pytest.mark.parametrize("lack", ["too_many_versions", "no_memory"])
def test_a_version_without_room_is_refused_until_another_one_is_let_go(
    lack: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_version(root / "classes" / "first", name="classes")
    engine = FakeEngine(width=2)
    most = 2 if lack == "too_many_versions" else 9
    with running([first], engine, Settings(root=root, versions=most)) as service:
        assert admin(service, "load", version="second").status == 200
        shutil.copytree(root / "classes" / "second", root / "classes" / "third")
        (root / "classes" / "third" / "NOTICE").write_text("another version")
        seal(root / "classes" / "third")
        if lack == "no_memory":
            monkeypatch.setattr(room, "free_memory", lambda: 3 * first.size - 1)  # two workers, and the file once more
        refused = admin(service, "load", version="third")
        assert (refused.status, refused.body["code"]) == ({"no_memory": 507}.get(lack, 409), lack)
        assert len(engine.loaded) == 2
        assert admin(service, "load", version="second").status == 200, "it is loaded already"
        admin(service, "unload", version=read_version(root / "classes" / "second").id)
        monkeypatch.undo()
        assert admin(service, "load", version="third").status == 200


@pytest.mark.parametrize("name", ["../first", "..", "/etc", "a/b", "%2e%2e", "First", ""])
def test_names_lead_nowhere_else(name: str, root: Path) -> None:
    first = read_version(root / "classes" / "first", name="classes")
    with running([first], LocalEngine(1, 1), Settings(root=root)) as service:
        assert admin(service, "load", version=name).status in {400, 404}


def test_without_a_root_nothing_is_loaded(service: Running) -> None:
    assert (admin(service, "load", version="x").body["code"]) == "no_root"


def test_an_engine_that_cannot_load_holds_nothing(tmp_path: Path, made: Made) -> None:
    async def story() -> None:
        engine = made(1)
        await engine.start(_Quiet())
        try:
            with pytest.raises(ArtifactError):
                await engine.load(Slot("x", tmp_path))
        finally:
            await engine.close()

    asyncio.run(story())


class _Quiet:
    def restarted(self, reason: str) -> None: ...

    def alive(self, workers: int) -> None: ...
