"""The bytes that are written by hand are the message that the official definitions read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceState

from quadra_matrix.telemetry.otel.otlp import export_request
from quadra_matrix.telemetry.otel.span import SAMPLED, RecordedSpan, Scope
from quadra_matrix.testing import FakeClock

TRACE, SPAN, PARENT = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, 0xFFFFFFFFFFFFFFFF

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
SCALARS = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def span(name: str = "work", **ids: Any) -> RecordedSpan:
    given: dict[str, Any] = {"trace_id": TRACE, "span_id": SPAN, "scope": Scope("tests"), "clock": FakeClock()}
    return RecordedSpan(name, SpanKind.INTERNAL, finish=lambda ended: None, **(given | ids))


def sent(*spans: RecordedSpan, resource: Mapping[str, Any] | None = None) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(export_request(spans, resource or {}))


def only(request: ExportTraceServiceRequest) -> OtlpSpan:
    (found,) = [found for group in request.resource_spans for scope in group.scope_spans for found in scope.spans]
    return found


def value(read: AnyValue) -> Any:
    match read.WhichOneof("value"):
        case "array_value":
            return tuple(value(item) for item in read.array_value.values)
        case "kvlist_value":
            return attributes(read.kvlist_value.values)
        case None:
            return None
        case kind:
            return getattr(read, kind)


def attributes(pairs: Iterator[KeyValue] | Any) -> dict[str, Any]:
    return {pair.key: value(pair.value) for pair in pairs}


@given(st.dictionaries(TEXT, VALUES, max_size=8))
def test_every_value_arrives_as_what_it_is(given: dict[str, Any]) -> None:
    made = span()
    made.set_attributes(given)
    made.end()

    found = attributes(only(sent(made)).attributes)

    assert found == given
    assert {key: type(item) for key, item in found.items()} == {key: type(item) for key, item in given.items()}


def test_equal_numbers_of_different_types_stay_different() -> None:
    made = span()
    made.set_attributes({"a": 1})
    made.add_event("next", {"a": True})
    made.add_event("last", {"a": 1.0})
    made.end()

    found = only(sent(made))

    read = [attributes(found.attributes), *(attributes(event.attributes) for event in found.events)]
    assert [type(item["a"]) for item in read] == [int, bool, float]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(2**80, str(2**80)), ("half \ud800", "half ?"), (["a", "b"], ("a", "b")), (("a", None), ("a", None))],
)
def test_what_no_message_can_hold_is_sent_as_text(given: Any, expected: Any) -> None:
    made = span()
    made.set_attribute("x", given)
    made.set_attribute("none", None)
    made.end()

    assert attributes(only(sent(made)).attributes) == {"x": expected}


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), st.booleans())
def test_ids_and_flags(trace_id: int, span_id: int, parent_id: int, is_remote: bool) -> None:
    made = span(trace_id=trace_id, span_id=span_id, parent_id=parent_id, is_parent_remote=is_remote, state="a=1")
    made.end()

    found = only(sent(made))

    assert int.from_bytes(found.trace_id) == trace_id
    assert int.from_bytes(found.span_id) == span_id
    assert int.from_bytes(found.parent_span_id) == parent_id
    assert len(found.parent_span_id) == (8 if parent_id else 0)
    assert found.trace_state == "a=1"
    assert found.flags == (0x300 if is_remote else 0x100)


@pytest.mark.parametrize("kind", SpanKind)
def test_every_kind_of_span_is_known(kind: SpanKind) -> None:
    made = span()
    made.kind = kind
    made.end()

    assert OtlpSpan.SpanKind.Name(only(sent(made)).kind) == f"SPAN_KIND_{kind.name}"


def test_times_events_links_and_status() -> None:
    clock = FakeClock()
    made = span("a" * 300, clock=clock)
    clock.advance(1)
    made.add_event("halfway", {"rows": 3})
    made.add_link(SpanContext(7, 8, True, SAMPLED, TraceState([("v", "1")])), {"why": "retry"})
    clock.advance(1)
    made.set_status(StatusCode.ERROR, "it broke")
    made.end()

    found = only(sent(made))

    assert found.name == "a" * 300
    assert found.end_time_unix_nano - found.start_time_unix_nano == 2 * 10**9
    assert found.events[0].time_unix_nano - found.start_time_unix_nano == 10**9
    assert (found.events[0].name, attributes(found.events[0].attributes)) == ("halfway", {"rows": 3})
    link = found.links[0]
    assert (int.from_bytes(link.trace_id), int.from_bytes(link.span_id), link.trace_state) == (7, 8, "v=1")
    assert (attributes(link.attributes), link.flags) == ({"why": "retry"}, 0x300)
    assert (found.status.code, found.status.message) == (2, "it broke")


def test_what_did_not_fit_is_counted() -> None:
    made = span()
    for number in range(200):
        made.set_attribute(f"a{number}", number)
        made.add_event("e")
        made.add_link(SpanContext(1, 2, False))
    made.end()

    found = only(sent(made))

    assert (len(found.attributes), len(found.events), len(found.links)) == (128, 128, 128)
    assert (found.dropped_attributes_count, found.dropped_events_count, found.dropped_links_count) == (72, 72, 72)


def test_spans_stand_with_their_library_and_their_process() -> None:
    spans = [
        span(scope=Scope("redis", "1.0", "https://example.test/schema")),
        span(),
        span(scope=Scope("redis", "1.0")),
    ]
    for made in spans:
        made.end()

    (group,) = sent(*spans, resource={"service.name": "shop", "replica": 3}).resource_spans

    assert attributes(group.resource.attributes) == {"service.name": "shop", "replica": 3}
    assert [(scope.scope.name, scope.scope.version, scope.schema_url) for scope in group.scope_spans] == [
        ("redis", "1.0", "https://example.test/schema"),
        ("tests", "", ""),
        ("redis", "1.0", ""),
    ]
