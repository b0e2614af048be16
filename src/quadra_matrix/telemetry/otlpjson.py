"""What another service sends as OTLP in JSON, as plain spans. Ids are hexadecimal there, long integers are text."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from quadra_matrix.errors import InvalidValue
from quadra_matrix.telemetry.span import KINDS, LARGEST_TIME, Span, SpanEvent, Value

FAILED = 2
"""The code of a status that is an error."""

_TRACE_ID, _SPAN_ID = re.compile(r"[0-9a-f]{32}", re.ASCII), re.compile(r"[0-9a-f]{16}", re.ASCII)

Nanoseconds = Annotated[int, Field(ge=0, lt=2**64)]
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Message(BaseModel):
    """A message of the definitions; what they add later is ignored, as they ask."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", allow_inf_nan=True)


class _AnyValue(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Integer | None = None
    double_value: float | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _Values(_Message):
    values: list[_AnyValue] = []


class _Pair(_Message):
    key: str
    value: _AnyValue | None = None


class _Pairs(_Message):
    values: list[_Pair] = []


class _Event(_Message):
    name: str = ""
    time_unix_nano: Nanoseconds = 0
    attributes: list[_Pair] = []


class _Status(_Message):
    code: int = 0
    message: str = ""


class _Span(_Message):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: Nanoseconds = 0
    end_time_unix_nano: Nanoseconds = 0
    attributes: list[_Pair] = []
    events: list[_Event] = []
    status: _Status = _Status()


class _ScopeSpans(_Message):
    spans: list[_Span] = []


class _Resource(_Message):
    attributes: list[_Pair] = []


class _ResourceSpans(_Message):
    resource: _Resource = _Resource()
    scope_spans: list[_ScopeSpans] = []


class _Request(_Message):
    resource_spans: list[_ResourceSpans] = []


def spans_of(body: bytes) -> list[Span]:
    """Return the spans of an export request; those whose ids are no ids are left out.

    Raises ``InvalidValue`` for a body that is no such request.
    """
    try:
        request = _Request.model_validate_json(body)
    except ValidationError as failed:
        first = failed.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidValue(
            "body", f"{len(body)} bytes", f"an OTLP export request in JSON ({place}: {first['msg']})"
        ) from None
    found = []
    for group in request.resource_spans:
        service = str(_attributes(group.resource.attributes).get("service.name", "unknown"))
        spans = (span for scope in group.scope_spans for span in scope.spans)
        found += [_plain(span, service) for span in spans if _has_ids(span)]
    return found


def _has_ids(span: _Span) -> bool:
    return bool(_TRACE_ID.fullmatch(span.trace_id.lower()) and _SPAN_ID.fullmatch(span.span_id.lower()))


def _plain(span: _Span, service: str) -> Span:
    start = min(span.start_time_unix_nano, LARGEST_TIME)
    parent = span.parent_span_id.lower()
    return Span(
        trace_id=span.trace_id.lower(),
        span_id=span.span_id.lower(),
        parent_id=parent if _SPAN_ID.fullmatch(parent) else None,
        name=span.name,
        kind=KINDS[span.kind] if 0 <= span.kind < len(KINDS) else "internal",
        start=start,
        end=max(start, min(span.end_time_unix_nano, LARGEST_TIME)),
        service=service,
        error=span.status.message if span.status.code == FAILED else None,
        attributes=_attributes(span.attributes),
        events=tuple(
            SpanEvent(event.name, min(event.time_unix_nano, LARGEST_TIME), _attributes(event.attributes))
            for event in span.events
        ),
    )


def _attributes(pairs: list[_Pair]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: _AnyValue | None) -> Value:
    if value is None:
        return ""
    for plain in (value.string_value, value.bool_value, value.int_value, value.double_value, value.bytes_value):
        if plain is not None:
            return plain
    if value.array_value is not None:
        return tuple(str(_value(item)) for item in value.array_value.values)
    return "" if value.kvlist_value is None else str(_attributes(value.kvlist_value.values))
