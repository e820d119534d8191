"""Traces: spans that carry W3C's traceparent from one process to the next, and no text."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

ATTRIBUTES = frozenset(
    {
        "task", "model", "version", "form", "code", "texts", "tokens", "padding", "batch", "worker", "guard", "action",
        "reason", "request_id", "queue_seconds", "inference_seconds", "generated_tokens", "attempt",
        "http.request.method", "http.route", "http.response.status_code", "url.scheme", "error.type",
        "gen_ai.operation.name", "gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens",
    }
)  # fmt: skip
"""The attributes that a span may have; those with dots are OpenTelemetry's own names. There is none for text."""

Attribute = str | int | float | bool
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NAME = re.compile(r"[A-Za-z0-9_.:/@{}-]{0,100}")
HIDDEN = "hidden"


@dataclass(frozen=True)
class TraceParent:
    """The place of a span: its trace, itself, and whether the trace is kept (W3C Trace Context, section 3.2)."""

    trace: str
    span: str
    is_sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{int(self.is_sampled):02x}"

    def child(self) -> TraceParent:
        """A new span of the same trace."""
        return TraceParent(self.trace, _random_id(8), self.is_sampled)


def parse_traceparent(header: str | None) -> TraceParent | None:
    """The place that a header names; none where it is missing or not well formed, as the standard asks."""
    found = _TRACEPARENT.fullmatch(header) if header and len(header) < 200 else None
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not trace.strip("0") or not span.strip("0"):
        return None
    return TraceParent(trace, span, bool(int(flags, 16) & 1))


def new_trace() -> TraceParent:
    """The first span of a trace of its own."""
    return TraceParent(_random_id(16), _random_id(8))


def cleaned(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes as they may be kept: known names only; a string that could be text stands as "hidden".

    Raises:
        ValueError: a name is not among ATTRIBUTES, which is a slip in the program.
    """
    for name in attributes:
        if name not in ATTRIBUTES:
            raise ValueError(f"no span has an attribute '{name}'")
    return {
        name: HIDDEN if isinstance(value, str) and not _NAME.fullmatch(value) else value
        for name, value in attributes.items()
    }


class Span(Protocol):
    """A piece of work that is going on."""

    @property
    def traceparent(self) -> str:
        """The header for whoever is asked next."""
        ...

    def note(self, name: str, value: Attribute) -> None:
        """Add an attribute that became known."""
        ...

    def fail(self) -> None:
        """Mark it as failed."""
        ...

    def child(self, name: str, attributes: Mapping[str, Attribute], began: float, ended: float) -> None:
        """A piece of this work that is done already, with its times by `time.time`."""
        ...


class Tracer(Protocol):
    """Opens spans. An error that leaves the block marks the span as failed, by the kind of the error only."""

    def span(
        self, name: str, attributes: Mapping[str, Attribute], parent: str | None = None
    ) -> AbstractContextManager[Span]:
        """A span of a request, for the time of a block; `parent` is a traceparent, or a new trace begins."""
        ...

    def close(self) -> None:
        """Send what was not sent yet; this may block."""
        ...


@dataclass(frozen=True)
class PlainSpan:
    """A span of which only the place is known."""

    place: TraceParent

    @property
    def traceparent(self) -> str:
        """The header for whoever is asked next."""
        return str(self.place)

    def note(self, name: str, value: Attribute) -> None:
        """Check the attribute as every tracer does, and keep nothing."""
        cleaned({name: value})

    def fail(self) -> None:
        """Keep nothing."""

    def child(self, name: str, attributes: Mapping[str, Attribute], began: float, ended: float) -> None:
        """Check the attributes, and keep nothing."""
        cleaned(attributes)


@dataclass(frozen=True)
class PlainTracer:
    """Hands ids on and records nothing."""

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Attribute], parent: str | None = None) -> Iterator[PlainSpan]:
        """A span that only carries ids."""
        cleaned(attributes)
        before = parse_traceparent(parent)
        yield PlainSpan(before.child() if before else new_trace())

    def close(self) -> None:
        """There is nothing to send."""


def _random_id(size: int) -> str:
    found = secrets.token_hex(size)
    return found if found.strip("0") else _random_id(size)
