"""What traces tell of a request: whose it is, how long it waited, how long a model worked; and no text of anybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import FakeEngine, Running, running
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version
from tunesmith.watching.open_telemetry import OpenTelemetryTracer
from tunesmith.watching.traces import parse_traceparent

PLANTED = "planted-4111-1111-1111-1111"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PREDICT = "POST /v1/models/{name}/predict"


@contextmanager
def traced(*artifacts: Path, seconds: float = 0.0, settings: Settings | None = None) -> Iterator[tuple[Running, Any]]:
    """A service whose spans are kept in memory."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    versions = [read_version(one) for one in artifacts]
    engine = FakeEngine(seconds=seconds)
    with running(versions, engine, settings, tracer=OpenTelemetryTracer(provider)) as service:
        yield service, memory


def by_name(memory: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for span in memory.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def test_a_request_has_a_span_below_its_caller_with_its_wait_and_its_batch(artifacts: dict[str, Path]) -> None:
    with traced(artifacts["classes"], seconds=0.05) as (service, memory):
        answer = service.post(
            "/v1/models/classes/predict", {"inputs": ["a", "b"]}, traceparent=CALLER, x_request_id="one"
        )
        assert answer.status == 200
    spans = by_name(memory)
    (request,) = spans[PREDICT]
    assert f"{request.context.trace_id:032x}" == CALLER.split("-")[1]
    assert f"{request.parent.span_id:016x}" == CALLER.split("-")[2]
    assert request.kind.name == "SERVER"
    known = dict(request.attributes)
    assert known["http.request.method"] == "POST"
    assert known["http.route"] == "/v1/models/{name}/predict"
    assert known["http.response.status_code"] == 200
    assert (known["request_id"], known["model"]) == ("one", "classes")
    assert known["version"] == answer.headers["x-model-version"]
    told = parse_traceparent(answer.headers["traceparent"])
    assert told is not None
    assert told.span == f"{request.context.span_id:016x}"
    parts = [*spans["queue"], *spans["inference"]]
    assert all(one.parent.span_id == request.context.span_id for one in parts)
    assert sum(one.attributes["texts"] for one in spans["inference"]) == 2
    for queue, inference in zip(spans["queue"], spans["inference"], strict=True):
        assert request.start_time <= queue.start_time <= queue.end_time <= inference.start_time
        assert inference.end_time - inference.start_time >= 45e6
        assert inference.end_time <= request.end_time


def test_an_answer_that_is_written_says_what_it_read_and_wrote(artifacts: dict[str, Path]) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "one two three"}]}
    with traced(artifacts["chat"], seconds=0.02) as (service, memory):
        assert service.post("/v1/chat/completions", body).status == 200
        assert service.post("/v1/chat/completions", {**body, "stream": True}).status == 200
    spans = by_name(memory)
    assert len(spans["POST /v1/chat/completions"]) == len(spans["chat chat"]) == len(spans["queue"]) == 2
    requests = {one.context.span_id for one in spans["POST /v1/chat/completions"]}
    for written in spans["chat chat"]:
        assert written.parent.span_id in requests
        assert written.attributes["gen_ai.operation.name"] == "chat"
        assert written.attributes["gen_ai.usage.input_tokens"] == 3
        assert written.attributes["gen_ai.usage.output_tokens"] == 2
        assert written.end_time - written.start_time >= 55e6


def test_nothing_of_what_users_send_stands_in_a_span(artifacts: dict[str, Path]) -> None:
    with traced(artifacts["classes"]) as (service, memory):
        for path in ("/v1/models/classes/predict", f"/v1/models/{PLANTED}/predict", f"/{PLANTED}", f"/?q={PLANTED}"):
            service.post(path, {"inputs": [PLANTED]}, traceparent=PLANTED, x_request_id=f"{PLANTED} x", referer=PLANTED)
        service.ask("PURGE", "/v1/models")
        service.post("/v1/models/classes/predict", {"inputs": ["poison", PLANTED]})
    spans = memory.get_finished_spans()
    assert len([one for one in spans if one.kind.name == "SERVER"]) == 6
    shown = "".join(one.to_json() for one in spans)
    assert PLANTED not in shown
    assert "PURGE" not in shown


def test_only_what_the_service_itself_could_not_do_is_an_error(artifacts: dict[str, Path]) -> None:
    with traced(artifacts["classes"], seconds=0.5) as (service, memory):
        late = service.post("/v1/models/classes/predict", {"inputs": ["a"]}, x_request_timeout_ms="50")
        assert late.status == 504
        assert service.post("/v1/models/none/predict", {"inputs": ["a"]}).status == 404
    one, other = by_name(memory)[PREDICT]
    assert (one.status.status_code.name, one.attributes["error.type"]) == ("ERROR", "504")
    assert other.status.status_code.name == "UNSET"
    assert "model" not in other.attributes, "a name that is not served is a word of the client"


def test_probes_have_no_spans(artifacts: dict[str, Path]) -> None:
    with traced(artifacts["classes"]) as (service, memory):
        for path in ("/livez", "/readyz", "/metrics", "/v2/health/ready"):
            assert "traceparent" not in service.get(path).headers
        service.get("/v1/models/classes")
    assert set(by_name(memory)) == {"GET /v1/models/{name}"}


def test_a_service_without_a_tracer_has_nothing_of_it(artifacts: dict[str, Path]) -> None:
    with running([read_version(artifacts["classes"])], FakeEngine()) as service:
        assert "traceparent" not in service.post("/v1/models/classes/predict", {"inputs": ["a"]}).headers
