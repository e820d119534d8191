"""Verbs that change who answers: what they need, what a second try does, and what the audit log says of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, OpenDoor, Response, Running, running, three_versions
from tunesmith.access.key_store import KeyStore
from tunesmith.service.serving import Doors, Settings
from tunesmith.service.versions import read_version


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """Three versions of a model."""
    return three_versions(tmp_path_factory.mktemp("root"), "m", tiny_model_folder)


@dataclass
class Stage:
    """A service whose champion is the first version, with the two others loaded."""

    service: Running
    store: KeyStore
    first: str
    second: str = ""
    third: str = ""

    def ask(self, verb: str, **body: Any) -> Response:
        return self.service.post(f"/admin/models/m:{verb}", body)

    @property
    def roles(self) -> Mapping[str, Any]:
        return dict(self.service.get("/v1/models/m").body["roles"])

    @property
    def audit(self) -> list[Mapping[str, Any]]:
        return [dict(one) for one in self.store.audit.records()]


@pytest.fixture
def stage(root: Path, tmp_path: Path) -> Iterator[Stage]:
    first, store = read_version(root / "m" / "first"), KeyStore(tmp_path / "state")
    with running([first], FakeEngine(), Settings(root=root), Doors(OpenDoor(), store.audit)) as service:
        found = Stage(service, store, first.id)
        found.second = found.ask("load", version="second").body["version"]
        found.third = found.ask("load", version="third").body["version"]
        yield found


def test_a_canary_without_a_share_is_refused_and_goes_on(stage: Stage) -> None:
    assert stage.ask("canary", version=stage.second, share=0.25).status == 200
    refused = stage.ask("canary", version=stage.second)
    assert (refused.status, refused.body["where"]) == (400, "share")
    assert "0 ends it" in refused.body["detail"]
    assert stage.roles["canary_share"] == 0.25
    assert stage.ask("canary", share=0.5).body["code"] == "unknown_version"
    assert stage.ask("canary", share=0).body["roles"]["canary"] is None


def test_a_rollback_that_is_sent_again_brings_nothing_back(stage: Stage) -> None:
    stage.ask("promote", version=stage.second)
    assert stage.ask("rollback", version=stage.first).body["roles"]["champion"] == stage.first
    lines = len(stage.audit)
    again = stage.ask("rollback", version=stage.first)
    assert (again.status, again.body["roles"]["champion"]) == (200, stage.first)
    assert len(stage.audit) == lines, "nothing was changed"
    other = stage.ask("rollback", version=stage.third)
    assert (other.status, other.body["code"]) == (409, "not_previous")
    assert stage.roles["champion"] == stage.first


def test_a_rollback_needs_no_body_and_no_other_verb_does_without(stage: Stage) -> None:
    stage.ask("promote", version=stage.second)
    assert stage.service.ask("POST", "/admin/models/m:rollback").body["roles"]["champion"] == stage.first
    assert stage.service.ask("POST", "/admin/models/m:promote").body["code"] == "not_json"


def test_an_unknown_verb_is_told_the_known_ones(stage: Stage) -> None:
    refused = stage.ask("promot", version=stage.second)
    assert (refused.status, refused.body["code"]) == (404, "unknown_verb")
    assert "load, promote, rollback, canary, shadow, unload" in refused.body["detail"]
    assert "promot." not in refused.body["detail"]


def test_the_audit_log_says_which_version_and_nothing_of_what_changed_nothing(stage: Stage) -> None:
    before = len(stage.audit)
    assert stage.ask("load", version="second").status == 200
    assert len(stage.audit) == before, "it was loaded already"
    stage.ask("canary", version=stage.second, share=0.5)
    stage.ask("canary", share=0)
    stage.ask("shadow", version=stage.third)
    stage.ask("shadow", version=stage.third)
    stage.ask("unload", version=stage.second)
    told = [(one["what"], one["after"]["version"], one["after"]["folder"]) for one in stage.audit]
    assert told == [
        ("model.load", stage.second, "second"),
        ("model.load", stage.third, "third"),
        ("model.canary", stage.second, "second"),
        ("model.canary", stage.second, "second"),
        ("model.shadow", stage.third, "third"),
        ("model.unload", stage.second, "second"),
    ]
    assert stage.store.audit.verify().broken is None


def test_metrics_tell_champion_canary_and_shadow_apart(root: Path) -> None:
    versions = [read_version(root / "m" / name) for name in ("first", "second", "third")]
    first, second, third = (one.id for one in versions)
    labels = {versions[0].slot.name: "good", versions[1].slot.name: "bad"}
    engine = FakeEngine()
    engine.said = lambda slot, text: {"label": "good" if text == "odd" else labels.get(slot, "bad"), "confidence": 0.9}
    with running([versions[0]], engine, Settings(root=root)) as service:
        for name in ("second", "third"):
            service.post("/admin/models/m:load", {"version": name})
        service.post("/admin/models/m:shadow", {"version": third})
        service.predict("m", "fine", "odd", "poor")
        service.post("/admin/models/m:canary", {"version": second, "share": 1.0})
        service.predict("m", "fine", version=second)
        time.sleep(0.1)
        metrics = service.get("/metrics").text
        seen = {line.rpartition(" ")[0]: float(line.split()[-1]) for line in metrics.splitlines() if "{" in line}
    assert seen[f'tunesmith_predictions_total{{label="good",model="m",version="{first}"}}'] == 3
    assert seen[f'tunesmith_predictions_total{{label="bad",model="m",version="{second}"}}'] == 1
    assert not [name for name in seen if "predictions_total" in name and ("other" in name or third in name)]
    kept = f'code="200",model="m",task="sequence_classification",version="{second}"'
    assert seen[f"tunesmith_requests_total{{{kept}}}"] == 1
    shadow = f'tunesmith_shadow_answers_total{{model="m",result="%s",version="{third}"}}'
    assert (seen[shadow % "same"], seen[shadow % "different"]) == (2, 2)
    shares = {name[-14:-2]: value for name, value in seen.items() if name.startswith("tunesmith_version_share")}
    assert shares == {first: 0, second: 1, third: 0}
    infos = [name for name in seen if name.startswith("tunesmith_model_info")]
    assert len(infos) == 3
