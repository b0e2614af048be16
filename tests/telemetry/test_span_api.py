"""Spans and tracers do what OpenTelemetry's API says, whoever calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import context, trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from quadra_matrix.telemetry.environment import Exporter, TracingOptions
from quadra_matrix.telemetry.otel import Tracing
from quadra_matrix.telemetry.otel.span import RecordedSpan
from quadra_matrix.testing import FakeClock

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tracing(clock: FakeClock) -> Iterator[Tracing]:
    made = Tracing(TracingOptions(exporter=Exporter.EMBEDDED), deliver=lambda spans: None, clock=clock)
    yield made
    made.close()


def recorded(span: trace.Span) -> RecordedSpan:
    assert isinstance(span, RecordedSpan)
    return span


def test_nothing_changes_a_span_after_its_end(tracing: Tracing, clock: FakeClock) -> None:
    span = recorded(tracing.start("work"))
    span.end()
    ended = span.end_time
    clock.advance(5)

    span.end()
    span.update_name("other")
    span.set_attribute("a", 1)
    span.add_event("late")
    span.add_link(SpanContext(1, 2, False))
    span.set_status(StatusCode.ERROR)

    assert not span.is_recording()
    assert (span.name, span.attributes, span.events, span.links, span.is_error) == ("work", {}, [], [], None)
    assert span.end_time == ended
    assert tracing.flush(10)
    assert tracing.exported.sent == 1


def test_a_span_can_begin_and_end_when_the_caller_says(tracing: Tracing) -> None:
    span = recorded(tracing.tracer.start_span("work", start_time=5_000))
    span.add_event("said", timestamp=6_000)
    span.end(7_000)

    assert (span.start_time, span.events[0].at, span.end_time) == (5_000, 6_000, 7_000)


def test_a_span_that_began_earlier_ends_now(tracing: Tracing, clock: FakeClock) -> None:
    now = int(clock.now() * 1e9)
    span = recorded(tracing.tracer.start_span("work", start_time=now - 3 * 10**9))
    clock.advance(1)
    span.end()

    assert span.end_time == pytest.approx(now + 10**9, abs=1000)


def test_a_list_that_the_caller_changes_later_is_kept_as_it_was(tracing: Tracing) -> None:
    rows = [1, 2]
    span = recorded(tracing.start("work", {"rows": rows}))
    rows.append(3)

    assert span.attributes == {"rows": (1, 2)}


def test_ok_is_final_and_unset_says_nothing(tracing: Tracing) -> None:
    span = recorded(tracing.start("work"))

    span.set_status(StatusCode.ERROR, "password=hunter2")
    span.set_status(Status(StatusCode.UNSET))
    assert (span.is_error, span.description) == (True, "password=***")
    span.set_status(Status(StatusCode.OK))
    span.set_status(StatusCode.ERROR, "late")
    assert (span.is_error, span.description) == (False, "")


def test_a_span_as_a_block_records_what_leaves_it(tracing: Tracing) -> None:
    with pytest.raises(ValueError, match="x"), tracing.tracer.start_span("work") as span:
        raise ValueError("x")

    assert recorded(span).events[0].attributes["exception.type"] == "ValueError"
    assert (recorded(span).is_error, recorded(span).description) == (True, "ValueError: x")


def test_a_span_as_a_block_can_be_told_to_record_nothing(tracing: Tracing) -> None:
    quiet = tracing.tracer.start_span("work", record_exception=False, set_status_on_exception=False)

    with pytest.raises(ValueError, match="x"), quiet as span:
        raise ValueError("x")

    assert (recorded(span).events, recorded(span).is_error) == ([], None)
    assert recorded(span).end_time


def test_the_current_span_of_a_library_ends_with_its_block(tracing: Tracing) -> None:
    tracer = tracing.provider.get_tracer("library", "1.0")

    def fail() -> None:
        with tracer.start_as_current_span("query", kind=SpanKind.CLIENT) as made:
            spans.append(made)
            assert trace.get_current_span() is made
            raise KeyError("x")

    spans: list[trace.Span] = []
    with pytest.raises(KeyError):
        fail()

    (span,) = spans
    assert recorded(span).end_time
    assert (recorded(span).kind, recorded(span).scope.name) == (SpanKind.CLIENT, "library")
    assert recorded(span).events[0].name == "exception"
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_functions_and_coroutines_can_be_decorated(tracing: Tracing) -> None:
    @tracing.tracer.start_as_current_span("called")
    def call() -> trace.Span:
        return trace.get_current_span()

    @tracing.tracer.start_as_current_span("awaited")
    async def wait() -> trace.Span:
        await asyncio.sleep(0)
        return trace.get_current_span()

    assert call() is not call()
    assert recorded(call()).name == "called"
    assert recorded(asyncio.run(wait())).name == "awaited"


def test_links_given_at_the_start_are_kept(tracing: Tracing) -> None:
    other = SpanContext(1, 2, False)

    span = recorded(tracing.tracer.start_span("work", links=[Link(other, {"why": "batch"})]))

    assert [(link.context, link.attributes) for link in span.links] == [(other, {"why": "batch"})]


@pytest.mark.parametrize(("flag", "is_recorded"), [("01", True), ("00", False)])
def test_headers_read_by_the_apis_own_propagator_are_followed(tracing: Tracing, flag: str, is_recorded: bool) -> None:
    received = extract({"traceparent": f"00-{TRACE}-{CALLER}-{flag}", "tracestate": "v=1"})

    span = tracing.tracer.start_span("work", received)

    assert span.is_recording() == is_recorded
    assert trace.format_trace_id(span.get_span_context().trace_id) == TRACE
    assert span.get_span_context().trace_state.to_header() == "v=1"
    if is_recorded:
        assert (recorded(span).is_parent_remote, trace.format_span_id(recorded(span).parent_id)) == (True, CALLER)


def test_a_span_of_another_sdk_is_a_parent_like_ours(tracing: Tracing) -> None:
    foreign = SdkProvider(shutdown_on_exit=False).get_tracer("other")

    with foreign.start_as_current_span("outer") as outer:
        inner = recorded(tracing.start("inner"))

    assert (inner.trace_id, inner.parent_id) == (outer.get_span_context().trace_id, outer.get_span_context().span_id)
    assert not inner.is_parent_remote


def test_an_unsampled_span_of_another_sdk_begins_nothing(tracing: Tracing) -> None:
    outer = trace.NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(0)))

    with trace.use_span(outer):
        inner = tracing.start("inner")

    assert inner is not outer  # whoever has it will end it
    assert inner.get_span_context() == outer.get_span_context()
    assert not inner.is_recording()


@pytest.mark.parametrize("flag", ["00", "01"])
def test_outgoing_headers_carry_the_callers_choice(tracing: Tracing, flag: str) -> None:
    headers: dict[str, str] = {}

    with tracing.continue_trace({"traceparent": f"00-{TRACE}-{CALLER}-{flag}", "tracestate": "v=1"}, "work"):
        inject(headers)

    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert headers["traceparent"].endswith(f"-{flag}")
    assert headers["tracestate"] == "v=1"
    assert (CALLER in headers["traceparent"]) == (flag == "00")


def test_an_unrecorded_trace_that_begins_here_has_ids_that_stay(clock: FakeClock) -> None:
    tracing = Tracing(TracingOptions(exporter=Exporter.EMBEDDED, sample_ratio=0.0), deliver=lambda spans: None)
    span, current = tracing.tracer.begin({}.get, "work")

    assert span.get_span_context() == span.get_span_context()
    assert span.get_span_context().is_valid
    assert not span.get_span_context().trace_flags.sampled
    assert tracing.tracer.start_span("inner", current) is span
    assert "UnrecordedSpan" in repr(span)
    assert context.get_current() == {}
