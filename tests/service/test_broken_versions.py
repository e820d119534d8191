"""Versions that are broken in many ways: none is loaded, each refusal has a code and a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.broken_models import ELSEWHERE, WAYS, copies

from tests.builders import TASK_CASES
from tests.service.running import Running, running, saved
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for place in (folder / "m" / "first", folder / "elsewhere"):
        saved(place, "m", tiny_model_folder, *TASK_CASES["single_label"])
    (folder / "m" / "link").symlink_to(folder / "elsewhere")
    return folder


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[Running]:
    with running([read_version(root / "m" / "first", name="m")], LocalEngine(1, 1), Settings(root=root)) as found:
        yield found


@pytest.mark.parametrize("way", WAYS)
def test_what_is_broken_is_not_loaded(way: str, root: Path, service: Running) -> None:
    place = copies(root / "m" / "first", root / "m", {way: WAYS[way]})[way]
    before = service.predict("m", "good film").body
    refused = service.post("/admin/models/m:load", {"version": place.name})
    assert (refused.status, refused.body.get("code")) == (409, "not_loaded"), refused.text
    assert len(refused.body["detail"]) > len("It was not loaded, and the traffic is as before: ")
    after = service.predict("m", "good film").body
    assert (after["version"], after["answers"]) == (before["version"], before["answers"])


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_of_no_version_lead_nowhere(name: str, service: Running) -> None:
    refused = service.post("/admin/models/m:load", {"version": name})
    assert (refused.status, refused.body["code"]) in {(400, "bad_name"), (404, "bad_path")}, refused.text
