"""Traces: ids are handed on by W3C's header, with OpenTelemetry and without, and no text gets into a span."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import MissingExtraError, import_extra
from tunesmith.watching import open_telemetry
from tunesmith.watching.traces import HIDDEN, PlainTracer, TraceParent, Tracer, cleaned, new_trace, parse_traceparent

EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # of the standard, section 3.2.2.3
SECRET = "my card is 4111 1111 1111 1111"


def test_the_example_of_the_standard_is_read_and_written() -> None:
    place = parse_traceparent(EXAMPLE)
    assert place == TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", is_sampled=True)
    assert str(place) == EXAMPLE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        EXAMPLE.upper(),
        EXAMPLE + "-more",
        EXAMPLE.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        EXAMPLE[:-1],
        EXAMPLE + "\n",
        "01" + EXAMPLE[2:] + "-" + "x" * 500,
    ],
)
def test_a_header_that_is_not_well_formed_begins_a_new_trace(header: str | None) -> None:
    assert parse_traceparent(header) is None
    with PlainTracer().span("request", {}, header) as span:
        assert parse_traceparent(span.traceparent) is not None


def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent("01" + EXAMPLE[2:] + "-more") == parse_traceparent(EXAMPLE)


def test_what_is_not_to_be_kept_stays_so() -> None:
    with PlainTracer().span("request", {}, EXAMPLE[:-2] + "00") as span:
        assert span.traceparent.endswith("-00")


@given(st.text(max_size=120))
def test_any_header_is_read_without_an_error_and_what_is_read_is_written_the_same(header: str) -> None:
    place = parse_traceparent(header)
    assert place is None or parse_traceparent(str(place)) == place


def test_spans_of_one_trace_differ() -> None:
    first = new_trace()
    assert first.child().trace == first.trace
    assert len({str(first.child()) for _ in range(100)} | {str(first)}) == 101


def test_text_cannot_become_an_attribute() -> None:
    assert cleaned({"reason": SECRET, "model": "news", "tokens": 3}) == {
        "reason": HIDDEN,
        "model": "news",
        "tokens": 3,
    }
    assert cleaned({"reason": "张伟"}) == {"reason": HIDDEN}
    with pytest.raises(ValueError, match="no span has an attribute 'text'"):
        cleaned({"text": "a"})


def test_the_plain_tracer_checks_as_the_other_does() -> None:
    with pytest.raises(ValueError, match="text"), PlainTracer().span("request", {"text": SECRET}):
        pass
    with PlainTracer().span("request", {}) as span, pytest.raises(ValueError, match="text"):
        span.note("text", SECRET)


def recording() -> tuple[open_telemetry.OpenTelemetryTracer, Any]:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return open_telemetry.OpenTelemetryTracer(provider), exporter


def test_opentelemetry_records_spans_under_the_caller_of_the_request() -> None:
    tracer, exporter = recording()
    with (
        tracer.span("request", {"model": "news", "reason": SECRET}, EXAMPLE) as outer,
        tracer.span("batch", {"texts": 3}, outer.traceparent) as inner,
    ):
        inner.note("inference_seconds", 0.5)
    batch, request = exporter.get_finished_spans()
    assert f"{request.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert f"{request.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert batch.parent.span_id == request.context.span_id
    assert dict(request.attributes) == {"model": "news", "reason": HIDDEN}
    assert dict(batch.attributes) == {"texts": 3, "inference_seconds": 0.5}


def test_an_error_marks_the_span_and_its_message_is_kept_nowhere() -> None:
    tracer, exporter = recording()
    with pytest.raises(RuntimeError), tracer.span("request", {}):
        raise RuntimeError(SECRET)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert SECRET not in span.to_json()
    assert not span.events


def test_a_trace_that_the_caller_does_not_keep_is_not_recorded_but_handed_on() -> None:
    tracer, exporter = recording()
    with tracer.span("request", {}, EXAMPLE[:-2] + "00") as span:
        assert span.traceparent.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        assert span.traceparent.endswith("-00")
    assert not exporter.get_finished_spans()


def test_both_are_tracers() -> None:
    tracers: list[Tracer] = [PlainTracer(), recording()[0]]
    for tracer in tracers:
        with tracer.span("request", {"model": "news"}) as span:
            assert parse_traceparent(span.traceparent)


class Collector(BaseHTTPRequestHandler):
    """A collector of spans, as OTLP over HTTP has it."""

    received: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        plain = gzip.decompress(content) if self.headers.get("content-encoding") == "gzip" else content
        self.received.append((self.path, self.headers["content-type"], plain))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


def test_spans_reach_a_collector_by_otlp() -> None:
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        tracer = open_telemetry.open_tracer(f"http://127.0.0.1:{server.server_port}/v1/traces")
        with tracer.span("request", {"model": "news"}, EXAMPLE):
            pass
        tracer.close()
        server.shutdown()
        serving.join()
    ((path, kind, content),) = Collector.received
    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    (resource,) = messages.ExportTraceServiceRequest.FromString(content).resource_spans
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "tunesmith"
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("request", EXAMPLE.split("-")[1])
    assert {one.key: one.value.string_value for one in span.attributes} == {"model": "news"}


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> object:
        return import_extra("no_such_package" if "otlp" in module else module, extra)

    monkeypatch.setattr(open_telemetry, "import_extra", missing)
    with pytest.raises(MissingExtraError) as refusal:
        open_telemetry.open_tracer("http://127.0.0.1:4318/v1/traces")
    assert "tunesmith[otel]" in str(refusal.value)
