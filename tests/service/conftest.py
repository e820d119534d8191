"""One service over all kinds of tasks, for the tests that only ask it."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import TASK_CASES, folder_of
from tests.service.golden_stage import Stage, staged
from tests.service.running import Running, running, saved, three_versions
from tunesmith.service.local import LocalEngine
from tunesmith.service.ray_engine import LOCAL_ENVIRONMENT, OBJECT_STORE, RayEngine, RaySettings
from tunesmith.service.scaling import Scaling
from tunesmith.service.versions import read_version

SERVED = {
    "classes": "single_label",
    "sets": "multi_label",
    "numbers": "regression",
    "spans": "tokens",
    "questions": "questions",
    "pairs": "pairs_cross",
    "relations": "relations",
    "chat": "dialogues",
    "items": "histories",
}
"""The name of each served model, and the case of `TASK_CASES` that it stands for."""


@pytest.fixture(scope="session")
def artifacts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artifact of each served model."""
    root = tmp_path_factory.mktemp("served")
    return {
        name: saved(root / name, name, folder_of(case, request), *TASK_CASES[case]) for name, case in SERVED.items()
    }


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A cluster of one node on this machine, started once, to which tests may add nodes; skipped without Ray."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra 'ray' is not installed")
    os.environ.update(LOCAL_ENVIRONMENT, RAY_AUTH_TOKEN=secrets.token_hex(32))
    ray = importlib.import_module("ray")
    node = {"node_ip_address": "127.0.0.1", "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    cluster = importlib.import_module("ray.cluster_utils").Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 4, **node},  # numbers of its book-keeping, not cores
    )
    ray.init(cluster.address, log_to_driver=False, configure_logging=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


ENGINES = ("local", "ray")
Made = Callable[[int], LocalEngine | RayEngine]


@pytest.fixture(params=ENGINES)
def made(request: pytest.FixtureRequest) -> Made:
    """Makes an engine with so many workers, of either kind."""
    if request.param == "local":
        return lambda workers: LocalEngine(workers, 1)
    request.getfixturevalue("ray_cluster")
    return lambda workers: RayEngine(RaySettings(start=300.0), Scaling(workers, workers))


@pytest.fixture(scope="session")
def local_service(artifacts: dict[str, Path]) -> Iterator[Running]:
    """A service with two workers of its own, which everybody may ask."""
    with running([read_version(folder) for folder in artifacts.values()], LocalEngine(2, 1)) as found:
        yield found


@pytest.fixture(scope="session")
def ray_service(artifacts: dict[str, Path], ray_cluster: Any) -> Iterator[Running]:
    """The same over two replicas in Ray."""
    engine = RayEngine(RaySettings(start=300.0), Scaling(2, 2))
    with running([read_version(folder) for folder in artifacts.values()], engine) as found:
        yield found


@pytest.fixture(scope="session")
def service(local_service: Running) -> Running:
    """The service for tests to which it does not matter who answers."""
    return local_service


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A root with three versions of a model `classes`: first, second, third; not to be changed."""
    return three_versions(tmp_path_factory.mktemp("versions"), "classes", tiny_model_folder)


@pytest.fixture
def stage(versions: Path, tmp_path: Path) -> Iterator[Stage]:
    """A service of the first of them, with golden examples."""
    with staged(versions, tmp_path) as found:
        yield found
