"""Spans of the OpenTelemetry SDK as plain values."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id
from opentelemetry.util.types import AnyValue

from quadra_matrix.telemetry.span import Span, SpanEvent, Value


def plain(span: ReadableSpan) -> Span:
    """Return a finished span as a value."""
    context = span.context
    start = span.start_time or 0
    return Span(
        trace_id=format_trace_id(context.trace_id),
        span_id=format_span_id(context.span_id),
        parent_id=format_span_id(span.parent.span_id) if span.parent else None,
        name=span.name,
        kind=span.kind.name.lower(),
        start=start,
        end=span.end_time or start,
        service=str(span.resource.attributes.get("service.name", "")),
        error=(span.status.description or "") if span.status.status_code is StatusCode.ERROR else None,
        attributes=_values(span.attributes),
        events=tuple(SpanEvent(event.name, event.timestamp, _values(event.attributes)) for event in span.events),
    )


def _values(attributes: Mapping[str, AnyValue] | None) -> dict[str, Value]:
    return {key: _value(value) for key, value in (attributes or {}).items()}


def _value(value: AnyValue) -> Value:
    if isinstance(value, str | bool | int | float):
        return value
    return tuple(map(str, value)) if isinstance(value, list | tuple) else str(value)
