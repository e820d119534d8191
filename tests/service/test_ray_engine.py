"""What only replicas in a cluster do: they come and go with the load, and outlive their machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from tests.service.running import Response, Running, running, said_until
from tests.service.test_workers import asking
from tunesmith.cli import app
from tunesmith.errors import ArtifactError, MissingExtraError
from tunesmith.service import ray_engine
from tunesmith.service.engine import Engine, ServiceError, Slot
from tunesmith.service.local import LocalEngine
from tunesmith.service.ray_engine import RayEngine, RaySettings
from tunesmith.service.scaling import Scaling
from tunesmith.service.versions import read_version


def until(seconds: float, true: Any) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(true())


def counted(service: Running, name: str) -> float:
    lines = service.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"tunesmith_{name}"))


def test_replicas_come_and_go_with_the_load_and_nothing_is_lost(artifacts: dict[str, Path], ray_cluster: Any) -> None:
    engine = RayEngine(RaySettings(), Scaling(1, 2, waiting_each=2.0, up_after=1.0, down_after=3.0))
    replies: list[Response] = []
    with running([read_version(artifacts["classes"])], engine) as service:
        assert engine.alive == 1
        with asking(service, "classes", replies):
            assert until(180, lambda: engine.alive == 2)
            time.sleep(1)
        assert until(30, lambda: engine.alive == 1)
        assert service.predict("classes", "good film").status == 200
        assert counted(service, "workers ") == 1
        assert counted(service, "worker_restarts_total") == 0
    assert {reply.status for reply in replies} == {200}


def test_the_loss_of_a_machine_loses_no_request(artifacts: dict[str, Path], ray_cluster: Any) -> None:
    node = ray_cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1", object_store_memory=100_000_000)
    engine = RayEngine(RaySettings(start=300.0), Scaling(2, 2))
    replies: list[Response] = []
    with running([read_version(artifacts["classes"])], engine) as service:
        assert until(180, lambda: engine.alive == 2)
        with asking(service, "classes", replies):
            time.sleep(0.5)
            ray_cluster.remove_node(node, allow_graceful=False)
            assert until(30, lambda: engine.alive < 2)
            time.sleep(1)
        assert {reply.status for reply in replies} == {200}
        assert until(180, lambda: engine.alive == 2)
        assert service.predict("classes", "good film").status == 200


def test_a_replica_that_hangs_is_replaced(artifacts: dict[str, Path], ray_cluster: Any) -> None:
    engine = RayEngine(RaySettings(start=300.0, stuck=1.0), Scaling(1, 1))
    with running([read_version(artifacts["classes"])], engine) as service:
        (hanging,) = engine.pids
        os.kill(hanging, signal.SIGSTOP)
        try:
            assert service.predict("classes", "good film").status in {200, 504}
            assert until(120, lambda: engine.pids and engine.pids != [hanging])
        finally:
            with contextlib.suppress(ProcessLookupError):  # Ray ended it with its actor
                os.kill(hanging, signal.SIGKILL)
        assert service.predict("classes", "good film").status == 200


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_another_artifact_than_the_front_read_is_refused(
    kind: str, artifacts: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_cluster")

    async def story() -> None:
        engine: Engine = LocalEngine(1, 1) if kind == "local" else RayEngine(RaySettings(), Scaling(1, 1))
        await engine.start(_Quiet())
        try:
            with pytest.raises(ArtifactError, match="another artifact"):
                await engine.load(Slot("x", artifacts["classes"], "", "0" * 64))
        finally:
            await engine.close()

    asyncio.run(story())


def test_a_cluster_without_room_is_said(ray_cluster: Any) -> None:
    engine = RayEngine(RaySettings(threads=64, start=2.0), Scaling(1, 1))
    with pytest.raises(ServiceError, match="No replica came up within 2 s"):
        asyncio.run(engine.start(_Quiet()))


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as missing:
        RayEngine(RaySettings(), Scaling())
    assert "tunesmith[ray]" in missing.value.to_do
    assert ray_engine.LOCAL_ENVIRONMENT["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_cluster_of_this_machine_listens_to_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    ray = types.SimpleNamespace(is_initialized=lambda: False, init=lambda **given: told.update(given))
    monkeypatch.setitem(sys.modules, "ray", cast(types.ModuleType, ray))
    RayEngine(RaySettings(), Scaling())._join()
    assert (told["address"], told["_node_ip_address"], told["include_dashboard"]) == ("local", "127.0.0.1", False)
    assert ray_engine.LOCAL_ENVIRONMENT["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_a_cluster_of_this_machine_lets_in_who_has_its_token(
    tmp_path: Path, artifacts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray runs whatever it is sent; its ports are open to everybody on the machine."""
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ray_engine.LOCAL_ENVIRONMENT:
        monkeypatch.setenv(name, "disabled")  # what the environment says of it does not open the ports
    given = ["serve", str(artifacts["classes"]), "--engine", "ray", "--state", str(tmp_path / "s"), "--port", "0"]
    assert isinstance(CliRunner().invoke(app, given).exception, MissingExtraError)
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "[::1]:1"])
def test_a_cluster_that_cannot_be_reached_is_said_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    ray = types.SimpleNamespace(is_initialized=lambda: False, init=lambda **given: pytest.fail("Ray tries for minutes"))
    monkeypatch.setitem(sys.modules, "ray", cast(types.ModuleType, ray))
    with pytest.raises(ServiceError, match="No Ray cluster can be reached") as refused:
        RayEngine(RaySettings(address=address), Scaling())._join()
    assert address in str(refused.value.where)


def test_a_service_joins_a_cluster_that_runs_already(
    artifacts: dict[str, Path], ray_cluster: Any, tmp_path: Path
) -> None:
    given = [f"c={artifacts['classes']}", "--engine", "ray", "--ray-address", ray_cluster.address]
    command = [sys.executable, "-m", "tunesmith", "serve", *given, "--state", str(tmp_path / "state"), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    patience = threading.Timer(180, process.kill)
    patience.start()
    try:
        said = said_until(process, "Try:")
        key, port = re.search(r"Key (ts_\S+)", said), re.search(r"Listening at http://127.0.0.1:(\d+)", said)
        assert key, said
        assert port, said
        body = {"inputs": ["good film"]}
        found = Running(int(port[1])).post("/v1/models/c/predict", body, authorization=f"Bearer {key[1]}")
        assert found.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, -signal.SIGTERM}
    finally:
        patience.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--workers", "2"], "follows the load"),
        (["--least", "4", "--most", "2"], "fewer replicas than the least"),
    ],
)
def test_options_of_ray_that_contradict_are_refused(
    wrong: list[str], said: str, tmp_path: Path, artifacts: dict[str, Path]
) -> None:
    given = [
        "serve",
        str(artifacts["classes"]),
        "--engine",
        "ray",
        "--state",
        str(tmp_path / "s"),
        "--port",
        "0",
        *wrong,
    ]
    found = CliRunner().invoke(app, given)
    assert said in str(found.exception)


class _Quiet:
    def restarted(self, reason: str) -> None: ...

    def alive(self, workers: int) -> None: ...


def test_a_cluster_that_is_not_there_is_said_in_words_of_our_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("Please specify the one to connect to by setting `--address` or `RAY_ADDRESS`.")

    ray = types.SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(ray_engine, "import_extra", lambda *_: ray)
    engine = RayEngine(RaySettings(address="auto", processors=1), Scaling(1, 1))
    with pytest.raises(ServiceError) as refused:
        engine._join()
    assert "RAY_ADDRESS" not in str(refused.value)
    assert refused.value.where == "--ray-address auto"
    assert "ray start" in refused.value.to_do
