"""Who may ask what, and what stands on every answer."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.running import FakeEngine, Running, running
from tunesmith.access.bearer_tokens import LONGEST_TOKEN, TokenRules
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import SCOPES, Limits
from tunesmith.access.rate_limits import WRONG_KEYS_PER_MINUTE
from tunesmith.errors import ModelError
from tunesmith.inference.artifact import seal
from tunesmith.service.openai_routes import MOST_NEW_TOKENS
from tunesmith.service.serving import Doors, Settings
from tunesmith.service.versions import read_version
from tunesmith.service_arguments import Address

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
OPEN = {"/livez", "/readyz", "/v2", "/v2/health/live", "/v2/health/ready"}
HEADERS = {
    *("x-content-type-options", "x-frame-options", "referrer-policy", "cache-control", "x-request-id"),
    "cross-origin-resource-policy",
}
SCOPE_OF = {
    "/metrics": "metrics",
    "/admin": "admin",
    "/v1/feedback": "feedback",
    **dict.fromkeys(("/embed", "/v1/embeddings"), "embed"),
}
"""The scope that the routes below a path need, where it is not "predict"."""


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
            needed = next((SCOPE_OF[start] for start in SCOPE_OF if path.startswith(start)), "predict")
            for scope, key in locked.keys.items():
                asked = {"authorization": f"Bearer {key}"}
                status = locked.service.ask(verb, place, {} if verb == "POST" else None, asked).status
                assert (status == 403) == (scope != needed), (path, scope, status)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_pages_of_the_framework_are_not_there(path: str, locked: Locked) -> None:
    assert locked.service.get(path).status == 404


@pytest.mark.parametrize(
    "how", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_the_page_makes_no_markup_of_what_models_and_users_say(how: str, locked: Locked) -> None:
    script = locked.service.get("/playground.js").text
    assert "textContent" in script
    assert how not in script


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


def test_the_page_says_the_limits_that_a_service_has_where_nothing_else_is_said() -> None:
    settings, key = Settings(), Limits()
    limits, patience, body = settings.limits, settings.patience, settings.limits.body
    values = f"{body.depth} levels, {body.values:,} values, numbers of {body.number} characters"
    texts = f"{body.items} a request, {body.characters:,} characters and {limits.tokens:,} tokens each"
    silence = f"{patience.idle_seconds:g} seconds, then closed"
    head = f"{patience.head:,} bytes, then 431; {patience.head_seconds:g} seconds from the first byte"
    leeway = TokenRules("issuer", "audience", ("HS256",), secret_file="secret").leeway
    answer = f"{limits.deadline:g} seconds, or `X-Request-Timeout-Ms`; a text that is written {limits.writing:g}"
    said = [
        f"| body | {body.bytes:,} bytes, {values} |",
        f"| texts | {texts}, {body.all_characters:,} characters together |",
        f"| written answers | {MOST_NEW_TOKENS:,} tokens |",
        f"| key | 90 days, {key.tokens_per_minute:,} tokens and {key.requests_per_minute} requests a minute |",
        f"| wrong keys | {WRONG_KEYS_PER_MINUTE} a minute from one source |",
        f"| token | {LONGEST_TOKEN:,} characters, {leeway} seconds of leeway |",
        f"| versions of a model | {settings.versions} loaded at once |",
        f"| request line and headers | {head} to the end, then 408 |",
        f"| silence before the first request or between two | {silence} |",
        f"| body | {body.bytes:,} bytes on the stream, then 413; {limits.body_seconds:g} seconds in all, then 408;",
        f"| bodies held at once | {limits.held_bytes // 10**6} MB together, then 429 |",
        f"| requests sent ahead on one connection | {patience.ahead}, then it is cut |",
        f"| connections | {patience.connections}; ",
        f"| a client that does not read | cut after {patience.write_seconds:g} seconds |",
        f"| an answer | {answer} seconds, its first part {limits.deadline:g} |",
    ]
    page = PAGE.read_text(encoding="utf-8")
    assert not [one for one in said if one not in page]


def test_a_service_listens_to_this_machine_alone_where_nothing_else_is_said() -> None:
    """It speaks no TLS itself: whoever opens it to others puts a proxy before it."""
    assert Settings().host == "127.0.0.1"
    assert Address().host == "127.0.0.1"


def test_every_test_that_the_page_names_is_there() -> None:
    """Each row names whole paths; `::test_x` alone is of the file before it in its row."""
    tests = Path(__file__).parents[1]
    named, missing = 0, []
    for row in PAGE.read_text(encoding="utf-8").splitlines():
        file = ""
        for place, test in re.findall(r"`([\w/]+\.py)?::(test_\w+)`", row):
            file, named = place or file, named + 1
            if not file or f"def {test}(" not in (tests / file).read_text(encoding="utf-8"):
                missing.append(f"{file}::{test}")
    assert not missing
    assert named > 100


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
