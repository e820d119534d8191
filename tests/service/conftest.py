"""One service over all kinds of tasks, for the tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import TASK_CASES, folder_of
from tests.service.running import Running, running, saved
from tunesmith.service.local import LocalEngine
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
def service(artifacts: dict[str, Path]) -> Iterator[Running]:
    """A service with two workers of its own, which everybody may ask."""
    with running([read_version(folder) for folder in artifacts.values()], LocalEngine(2, 1)) as found:
        yield found
