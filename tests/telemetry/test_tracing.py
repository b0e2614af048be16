"""Spans of functions, generators, threads and jobs are in the right trace, and failures are on them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import baggage, context, trace

from quadra_matrix.telemetry.environment import Exporter, TracingOptions, tracing_options
from quadra_matrix.telemetry.otel import Tracing
from quadra_matrix.telemetry.span import Span
from tests.telemetry.receivers import grpc_receiver, http_receiver, silent_receiver

SOON = 10.0
CALLER = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


class Kept:
    """A tracing whose spans stay in the test."""

    def __init__(self, ratio: float = 1.0, **options: object) -> None:
        self._spans: list[Span] = []
        given = TracingOptions(exporter=Exporter.EMBEDDED, sample_ratio=ratio, **options)  # type: ignore[arg-type]
        self.tracing = Tracing(given, deliver=self._spans.extend)

    @property
    def spans(self) -> dict[str, Span]:
        assert self.tracing.flush(SOON)
        return {span.name: span for span in self._spans}


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.tracing.close()


def test_spans_nest(kept: Kept) -> None:
    with kept.tracing.create_span("outer") as outer, kept.tracing.create_span("inner", {"rows": 3}):
        assert kept.tracing.current_trace_id() == trace.format_trace_id(outer.get_span_context().trace_id)

    inner, around = kept.spans["inner"], kept.spans["outer"]
    assert (inner.parent_id, inner.trace_id) == (around.span_id, around.trace_id)
    assert inner.attributes == {"rows": 3}
    assert around.parent_id is None
    assert kept.tracing.current_trace_id() is None


def test_an_exception_is_recorded_without_its_secrets_and_goes_on(kept: Kept) -> None:
    with pytest.raises(ValueError, match="hunter2"), kept.tracing.create_span("query"):
        raise ValueError("cannot reach postgresql://me:hunter2@db/app")

    span = kept.spans["query"]
    assert span.error == "ValueError: cannot reach postgresql://***@db/app"
    assert span.events[0].name == "exception"
    assert span.events[0].attributes["exception.type"] == "ValueError"
    assert "test_tracing.py" in str(span.events[0].attributes["exception.stacktrace"])
    assert "hunter2" not in str(span)


def test_functions_keep_their_name_result_and_signature(kept: Kept) -> None:
    @kept.tracing.trace_function(name="train_model")
    def train(rows: int, *, deep: bool = False) -> tuple[int, bool]:
        """Train."""
        return rows, deep

    assert train(3, deep=True) == (3, True)
    assert (train.__name__, train.__doc__) == ("train", "Train.")
    assert list(kept.spans) == ["train_model"]


def test_a_function_without_a_name_is_its_own(kept: Kept) -> None:
    @kept.tracing.trace_function()
    def train() -> None: ...

    train()

    assert next(iter(kept.spans)).endswith("train")


def test_a_coroutine_is_one_span_across_its_waits(kept: Kept) -> None:
    @kept.tracing.trace_function("fetch")
    async def fetch(name: str) -> str | None:
        with kept.tracing.create_span(name):
            await asyncio.sleep(0)
            return kept.tracing.current_trace_id()

    async def both() -> list[str | None]:
        return list(await asyncio.gather(fetch("a"), fetch("b")))

    first, second = asyncio.run(both())

    assert first != second
    assert {kept.spans["a"].trace_id, kept.spans["b"].trace_id} == {first, second}


def test_a_generator_is_one_span_that_is_current_only_in_its_steps(kept: Kept) -> None:
    @kept.tracing.trace_function("rows")
    def rows() -> Iterator[str | None]:
        yield kept.tracing.current_trace_id()
        yield kept.tracing.current_trace_id()

    seen = []
    for trace_id in rows():
        assert kept.tracing.current_trace_id() is None
        seen.append(trace_id)

    assert seen == [kept.spans["rows"].trace_id] * 2
    assert kept.spans["rows"].error is None


@pytest.mark.parametrize("end", ["close", "abandon", "throw"])
def test_a_generator_left_early_ends_its_span(kept: Kept, end: str) -> None:
    @kept.tracing.trace_function("rows")
    def rows() -> Iterator[int]:
        yield 1
        yield 2

    generator = rows()
    next(generator)
    if end == "close":
        generator.close()  # type: ignore[attr-defined]
    elif end == "throw":
        with pytest.raises(KeyError):
            generator.throw(KeyError("x"))  # type: ignore[attr-defined]
    del generator

    assert kept.spans["rows"].error == ("KeyError: 'x'" if end == "throw" else None)


def test_a_generator_that_never_ran_makes_no_span(kept: Kept) -> None:
    @kept.tracing.trace_function("rows")
    def rows() -> Iterator[int]:
        yield 1

    rows().close()  # type: ignore[attr-defined]

    assert kept.spans == {}


def test_an_asynchronous_generator_is_one_span(kept: Kept) -> None:
    @kept.tracing.trace_function("ticks")
    async def ticks() -> AsyncIterator[str | None]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield kept.tracing.current_trace_id()

    async def read() -> set[str | None]:
        return {trace_id async for trace_id in ticks()}

    assert asyncio.run(read()) == {kept.spans["ticks"].trace_id}


def test_an_asynchronous_generator_can_be_closed_and_thrown_into(kept: Kept) -> None:
    @kept.tracing.trace_function("ticks")
    async def ticks() -> AsyncIterator[int]:
        while True:
            try:
                yield 1
            except KeyError:
                yield 2

    async def read() -> list[int]:
        generator = ticks()
        seen = [await anext(generator), await generator.athrow(KeyError())]  # type: ignore[attr-defined]
        await generator.aclose()  # type: ignore[attr-defined]
        return seen

    assert asyncio.run(read()) == [1, 2]
    assert kept.spans["ticks"].error is None


def test_an_unrecorded_trace_makes_no_span_and_keeps_its_id() -> None:
    kept = Kept(ratio=0.0)

    with kept.tracing.create_span("outer"):
        outer = kept.tracing.current_trace_id()
        with kept.tracing.create_span("inner") as span:
            span.set_attribute("ignored", 1)
            assert kept.tracing.current_trace_id() == outer
            assert kept.tracing.carried()["traceparent"].endswith("-00")

    assert outer is not None
    assert kept.spans == {}


def test_log_lines_get_the_ids_of_the_current_span(kept: Kept) -> None:
    with kept.tracing.create_span("work"):
        ids = kept.tracing.ids()

    assert ids == {"trace_id": kept.spans["work"].trace_id, "span_id": kept.spans["work"].span_id}
    assert kept.tracing.ids() == {}


def test_a_thread_can_be_in_the_trace(kept: Kept) -> None:
    def work() -> None:
        with kept.tracing.create_span("work"):
            """Nothing more."""

    with kept.tracing.create_span("request"):
        threads = [threading.Thread(target=kept.tracing.in_context(work)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert kept.spans["work"].parent_id == kept.spans["request"].span_id


def test_a_job_is_in_the_trace_of_the_request_that_started_it(kept: Kept) -> None:
    token = context.attach(baggage.set_baggage("tenant", "blue"))
    with kept.tracing.create_span("request"):
        row = json.dumps(kept.tracing.carried())  # what a job table keeps
    context.detach(token)

    with kept.tracing.continue_trace(json.loads(row), "job"):
        assert baggage.get_baggage("tenant") == "blue"

    assert kept.spans["job"].parent_id == kept.spans["request"].span_id
    assert kept.spans["job"].trace_id == kept.spans["request"].trace_id
    assert baggage.get_baggage("tenant") is None


def test_a_job_without_a_trace_begins_one(kept: Kept) -> None:
    with kept.tracing.continue_trace({}, "job"):
        assert kept.tracing.current_trace_id()

    assert kept.spans["job"].parent_id is None


def test_tracing_that_is_off_passes_the_callers_trace_on() -> None:
    tracing = Tracing(TracingOptions(exporter=Exporter.NONE))

    with tracing.continue_trace(CALLER, "job") as span:
        assert not span.is_recording()
        assert tracing.carried()["traceparent"] == CALLER["traceparent"]

    assert tracing.exported.sent == 0


def test_the_console_exporter_logs_each_span(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tracing = Tracing(TracingOptions(exporter=Exporter.CONSOLE))

    with tracing.create_span("train"):
        """Nothing more."""
    assert tracing.close(SOON)

    assert " train " in caplog.text


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_otlp_arrives_as_the_definitions_say(protocol: str) -> None:
    with (http_receiver if protocol == "http/protobuf" else grpc_receiver)() as (url, received):
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=k",
            "SERVICE_NAME": "shop",
            "ENVIRONMENT": "production",
        }
        tracing = Tracing(tracing_options(environ))
        with pytest.raises(KeyError), tracing.create_span("parent"), tracing.create_span("child"):
            raise KeyError("x")
        assert tracing.close(SOON)

    child, parent = received.spans
    assert (child.name, parent.name) == ("child", "parent")
    assert child.parent_span_id == parent.span_id
    assert child.events[0].name == "exception"
    assert received.resource["service.name"] == "shop"
    assert received.resource["deployment.environment.name"] == "production"
    assert received.headers[0]["api-key"] == "k"


def test_zipkin_gets_its_own_json() -> None:
    with http_receiver(is_otlp=False) as (url, received):
        tracing = Tracing(tracing_options({"TRACING_EXPORTER": "zipkin", "ZIPKIN_URL": f"{url}/api/v2/spans"}))
        with (
            pytest.raises(KeyError),
            tracing.continue_trace(CALLER, "parent"),
            tracing.create_span("child", {"ok": True}),
        ):
            raise KeyError("x")
        assert tracing.close(SOON)

    first, last = json.loads(received.bodies[0])
    assert first["parentId"] == last["id"]
    assert last["parentId"] == "00f067aa0ba902b7"
    assert first["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert first["tags"]["ok"] == "true"
    assert first["tags"]["error"] == "KeyError: 'x'"
    assert first["annotations"][0]["value"] == "exception"
    assert first["localEndpoint"] == {"serviceName": "quadra-matrix"}
    assert first["duration"] >= 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_receiver_that_hangs_delays_nobody(protocol: str) -> None:
    with silent_receiver() as url:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        tracing = Tracing(tracing_options(environ))
        with tracing.create_span("work"):
            """Nothing more."""

        assert not tracing.flush(0.1)
        assert not tracing.close(0.1)
        assert tracing.exported.waiting == 1


def test_libraries_get_a_provider_that_follows_the_trace(kept: Kept) -> None:
    tracer = kept.tracing.provider.get_tracer("library")

    with kept.tracing.create_span("request"), tracer.start_as_current_span("SELECT"):
        """Nothing more."""

    assert kept.spans["SELECT"].parent_id == kept.spans["request"].span_id
