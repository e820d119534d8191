"""Spans given to OpenTelemetry, whose packages are the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import TunesmithError, import_extra
from tunesmith.watching.traces import Attribute, TraceParent, cleaned, parse_traceparent


@dataclass(frozen=True)
class OpenTelemetrySpan:
    """A span that OpenTelemetry records."""

    span: Any
    tracer: OpenTelemetryTracer

    @property
    def traceparent(self) -> str:
        """The header for whoever is asked next."""
        place = self.span.get_span_context()
        return str(TraceParent(f"{place.trace_id:032x}", f"{place.span_id:016x}", bool(place.trace_flags & 1)))

    def note(self, name: str, value: Attribute) -> None:
        """Add an attribute that became known."""
        self.span.set_attributes(cleaned({name: value}))

    def fail(self) -> None:
        """Mark it as failed; why is told by attributes alone."""
        self.tracer.fail(self.span)

    def child(self, name: str, attributes: Mapping[str, Attribute], began: float, ended: float) -> None:
        """A piece of this work that is done already, with its times by `time.time`."""
        self.tracer.past(self.span, name, attributes, (began, ended))


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
        kind = self._trace.SpanKind.SERVER
        span = self._tracer.start_span(name, self._parent(parent), kind=kind, attributes=cleaned(attributes))
        is_done = False
        try:
            yield OpenTelemetrySpan(span, self)
            is_done = True
        finally:
            if not is_done:
                self.fail(span)
            span.end()

    def fail(self, span: Any) -> None:
        """Mark a span as failed."""
        span.set_status(self._trace.StatusCode.ERROR)

    def past(self, span: Any, name: str, attributes: Mapping[str, Attribute], times: tuple[float, float]) -> None:
        """Record a part of a span's work that is done already: when it began and ended, in seconds of Unix time."""
        began, ended = (int(1e9 * one) for one in times)
        context = self._trace.set_span_in_context(span, self._context.Context())
        self._tracer.start_span(name, context, attributes=cleaned(attributes), start_time=began).end(ended)

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
        TunesmithError: the endpoint is no address.
    """
    if not endpoint.startswith(("http://", "https://")):
        raise TunesmithError(
            "Spans go to an http or https address.",
            where=f"--traces {endpoint}",
            to_do="Write it whole, as in: --traces http://127.0.0.1:4318/v1/traces",
        )
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
