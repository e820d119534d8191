"""Who may ask what, and what stands on every answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.running import FakeEngine, Running, running
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import SCOPES, Limits
from tunesmith.errors import ModelError
from tunesmith.inference.artifact import seal
from tunesmith.service.openai_routes import MOST_NEW_TOKENS
from tunesmith.service.serving import Doors
from tunesmith.service.versions import read_version

OPEN = {"/livez", "/readyz", "/v2", "/v2/health/live", "/v2/health/ready"}
HEADERS = {"x-content-type-options", "x-frame-options", "referrer-policy", "cache-control", "x-request-id"}


@dataclass
class Locked:
    service: Running
    keys: dict[str, str]


@pytest.fixture(scope="module")
def locked(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    store = KeyStore(tmp_path_factory.mktemp("locked") / "state")
    keys = {scope: store.create((scope,), Limits(), name=scope, by="test", lifetime=None)[1] for scope in SCOPES}
    with running([read_version(artifacts["classes"])], FakeEngine(), None, Doors(Gate(store), store.audit)) as service:
        yield Locked(service, keys)


def test_every_route_but_the_open_ones_needs_a_key_and_its_scope(locked: Locked) -> None:
    page = locked.service.get("/openapi.json", authorization=f"Bearer {locked.keys['predict']}").body
    routes = {(verb.upper(), path) for path, verbs in page["paths"].items() for verb in verbs}
    assert len(routes) >= 18
    for verb, path in routes | {("GET", "/openapi.json")}:
        place = path.format(name="classes", version="x", verb="promote")
        wanted = 200 if path in OPEN else 401
        answer = locked.service.ask(verb, place, {} if verb == "POST" else None)
        assert answer.status == wanted, path
        assert set(answer.headers) >= HEADERS
        if path not in OPEN:
            feedback = {"authorization": f"Bearer {locked.keys['feedback']}"}
            expected = {403} if "feedback" not in path else {400, 404, 422}
            assert locked.service.ask(verb, place, {} if verb == "POST" else None, feedback).status in expected, path


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_pages_of_the_framework_are_not_there(path: str, locked: Locked) -> None:
    assert locked.service.get(path).status == 404


def test_a_key_in_the_query_string_does_not_count(locked: Locked) -> None:
    for name in ("key", "api_key", "access_token", "token"):
        assert locked.service.get(f"/v1/models?{name}={locked.keys['predict']}").status == 401


def test_other_origins_get_no_permission(locked: Locked) -> None:
    wished = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    for verb in ("OPTIONS", "GET"):
        answer = locked.service.ask(verb, "/v1/models", None, wished)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_wrong_method_names_the_right_ones(service: Running) -> None:
    answer = service.ask("DELETE", "/v1/models")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


def test_what_is_written_has_a_limit(service: Running) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "a"}], "max_tokens": MOST_NEW_TOKENS + 1}
    assert service.post("/v1/chat/completions", body).status == 400


@pytest.mark.parametrize("given", ["0", "-1", "1e3", "0000000001" + "9" * 5000, "9" * 20, "1" * 300, "x"])
def test_a_deadline_is_a_number_within_a_day(given: str, service: Running) -> None:
    answer = service.post("/v1/models/classes/predict", {"inputs": ["a"]}, x_request_timeout_ms=given)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")


def test_a_tokenizer_with_a_strange_pattern_is_not_served(artifacts: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifacts["classes"], tmp_path / "copy"))
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    told["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    (folder / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    seal(folder)
    with pytest.raises(ModelError, match="unknown pattern"):
        read_version(folder)
