"""Recorded spans as plain values."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import format_span_id, format_trace_id
from opentelemetry.util.types import AnyValue

from quadra_matrix.telemetry.otel.span import RecordedSpan
from quadra_matrix.telemetry.span import Span, SpanEvent, Value


def plain(span: RecordedSpan, service: str) -> Span:
    """Return a finished span of ``service`` as a value."""
    return Span(
        trace_id=format_trace_id(span.trace_id),
        span_id=format_span_id(span.span_id),
        parent_id=format_span_id(span.parent_id) if span.parent_id else None,
        name=span.name,
        kind=span.kind.name.lower(),
        start=span.start_time,
        end=span.end_time,
        service=service,
        error=span.description if span.is_error else None,
        attributes=_values(span.attributes),
        events=tuple(SpanEvent(event.name, event.at, _values(event.attributes)) for event in span.events),
    )


def _values(attributes: Mapping[str, AnyValue]) -> dict[str, Value]:
    return {key: _value(value) for key, value in attributes.items()}


def _value(value: AnyValue) -> Value:
    if isinstance(value, str | bool | int | float):
        return value
    return tuple(map(str, value)) if isinstance(value, list | tuple) else str(value)
