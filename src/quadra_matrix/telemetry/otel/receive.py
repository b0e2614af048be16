"""What another service sends as OTLP, as plain spans."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from quadra_matrix.errors import InvalidValue
from quadra_matrix.telemetry.span import KINDS, LARGEST_TIME, Span, SpanEvent, Value


def spans_of(body: bytes) -> list[Span]:
    """Return the spans of an export request; those whose ids are no ids are left out.

    Raises ``InvalidValue`` for a body that is no such request.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as failed:
        raise InvalidValue("body", f"{len(body)} bytes", "an OTLP export request in protobuf") from failed
    return [
        _span(span, str(_attributes(group.resource.attributes).get("service.name", "unknown")))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
        if len(span.trace_id) == 16 and len(span.span_id) == 8
    ]


def _span(span: OtlpSpan, service: str) -> Span:
    start = min(span.start_time_unix_nano, LARGEST_TIME)
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=KINDS[span.kind] if span.kind < len(KINDS) else "internal",
        start=start,
        end=max(start, min(span.end_time_unix_nano, LARGEST_TIME)),
        service=service,
        error=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
        attributes=_attributes(span.attributes),
        events=tuple(
            SpanEvent(event.name, min(event.time_unix_nano, LARGEST_TIME), _attributes(event.attributes))
            for event in span.events
        ),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return value.double_value
    if kind == "array_value":
        return tuple(str(_value(item)) for item in value.array_value.values)
    return "" if kind is None else str(value).strip()
