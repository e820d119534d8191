"""Spans given to OpenTelemetry, whose packages are the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import import_extra
from tunesmith.watching.traces import Attribute, TraceParent, cleaned, parse_traceparent


@dataclass(frozen=True)
class OpenTelemetrySpan:
    """A span that OpenTelemetry records."""

    span: Any

    @property
    def traceparent(self) -> str:
        """The header for whoever is asked next."""
        place = self.span.get_span_context()
        return str(TraceParent(f"{place.trace_id:032x}", f"{place.span_id:016x}", bool(place.trace_flags & 1)))

    def note(self, name: str, value: Attribute) -> None:
        """Add an attribute that became known."""
        self.span.set_attributes(cleaned({name: value}))


class OpenTelemetryTracer:
    """A tracer over a TracerProvider of OpenTelemetry's SDK; the global one is neither read nor set.

    Needs: the extra `otel`.
    """

    def __init__(self, provider: Any) -> None:
        self._trace = import_extra("opentelemetry.trace", "otel")
        self._context = import_extra("opentelemetry.context", "otel")
        self._provider = provider
        self._tracer = provider.get_tracer("tunesmith")

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, Attribute], parent: str | None = None
    ) -> Iterator[OpenTelemetrySpan]:
        """A span for the time of a block. Of an error that leaves it only the kind is kept: messages may hold text."""
        span = self._tracer.start_span(name, context=self._parent(parent), attributes=cleaned(attributes))
        is_done = False
        try:
            yield OpenTelemetrySpan(span)
            is_done = True
        finally:
            if not is_done:
                span.set_status(self._trace.StatusCode.ERROR)
            span.end()

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()

    def _parent(self, header: str | None) -> Any:
        empty = self._context.Context()
        place = parse_traceparent(header)
        if place is None:
            return empty
        trace = self._trace
        flags = trace.TraceFlags(int(place.is_sampled))
        remote = trace.SpanContext(int(place.trace, 16), int(place.span, 16), is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(remote), empty)


def open_tracer(endpoint: str, *, share: float = 1.0) -> OpenTelemetryTracer:
    """A tracer that sends spans by OTLP over HTTP, in the background; of new traces the given share is kept.

    Raises:
        MissingExtraError: the extra `otel` is not installed.
    """
    sdk = import_extra("opentelemetry.sdk.trace", "otel")
    export = import_extra("opentelemetry.sdk.trace.export", "otel")
    sampling = import_extra("opentelemetry.sdk.trace.sampling", "otel")
    resources = import_extra("opentelemetry.sdk.resources", "otel")
    otlp = import_extra("opentelemetry.exporter.otlp.proto.http.trace_exporter", "otel")
    provider = sdk.TracerProvider(
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(share)),
        resource=resources.Resource.create({"service.name": "tunesmith"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=endpoint)))
    return OpenTelemetryTracer(provider)
