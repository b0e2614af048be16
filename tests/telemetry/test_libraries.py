"""Calls of databases and of other servers are children of the request that makes them, where that is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import sqlalchemy as sa
from flask import Flask
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from redis import Redis

from quadra_matrix.service.app import create_app
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.telemetry.environment import Exporter, TracingOptions
from quadra_matrix.telemetry.flask import setup_distributed_tracing
from quadra_matrix.telemetry.otel import Tracing, libraries
from quadra_matrix.telemetry.otel.libraries import LIBRARIES, WithinProvider, instrument_libraries
from quadra_matrix.telemetry.otel.span import RecordedSpan
from quadra_matrix.telemetry.span import Span
from quadra_matrix.telemetry.traces import TraceStore
from tests.services.redis import redis_server
from tests.telemetry.receivers import http_receiver

UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


class Shop:
    """A traced application whose spans stay in the test."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.app = Flask("shop")
        self.tracing = setup_distributed_tracing(self.app, "embedded", deliver=self._spans.extend, environ={})

    def get(self, headers: Mapping[str, str] | None = None) -> list[Span]:
        """Ask for / and return the spans of it, the request's last."""
        self._spans.clear()
        assert self.app.test_client().get("/", headers=headers, buffered=True).status_code == 200
        assert self.tracing.flush(10)
        return list(self._spans)


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.tracing.close()


def calls_of(spans: list[Span]) -> list[Span]:
    """Return the spans within the request's, which is their parent."""
    *calls, request = spans
    assert request.kind == "server"
    assert {(call.parent_id, call.trace_id) for call in calls} == {(request.span_id, request.trace_id)}
    return calls


def test_all_that_is_installed_is_instrumented_once() -> None:
    assert instrument_libraries() == instrument_libraries() == set(LIBRARIES)


@pytest.mark.parametrize("client", [requests, httpx], ids=["requests", "httpx"])
def test_a_call_of_another_server_is_a_child_and_carries_the_trace(shop: Shop, client: Any) -> None:
    with http_receiver(is_otlp=False) as (url, received):

        @shop.app.get("/")
        def call() -> str:
            return str(client.post(f"{url}/pay?token=hunter2", json={}).status_code)

        (call_span,) = calls_of(shop.get())
        spans = shop.get({"traceparent": UNSAMPLED})

    assert call_span.kind == "client"
    assert "hunter2" not in str(call_span)
    assert received.headers[0]["traceparent"] == f"00-{call_span.trace_id}-{call_span.span_id}-01"
    assert spans == []
    assert received.headers[1]["traceparent"] == UNSAMPLED


def test_a_query_is_a_child(shop: Shop) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)

    @shop.app.get("/")
    def query() -> str:
        with engine.connect() as connection:
            return str(connection.scalar(sa.text("SELECT :n"), {"n": 7}))

    statement = next(span for span in calls_of(shop.get()) if span.name.startswith("SELECT"))
    engine.dispose()

    assert statement.kind == "client"
    assert "sqlite" in statement.attributes.values()
    assert "SELECT ?" in statement.attributes.values()


def test_a_failed_query_says_so(shop: Shop) -> None:
    engine = sa.create_engine("sqlite://")

    @shop.app.get("/")
    def query() -> str:
        with pytest.raises(sa.exc.OperationalError), engine.connect() as connection:
            connection.execute(sa.text("SELECT * FROM nowhere"))
        return "asked"

    assert [span.error for span in calls_of(shop.get()) if span.error] == ["no such table: nowhere"]
    engine.dispose()


def test_a_redis_command_is_a_child(shop: Shop, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, Redis.from_url(server.url) as client:

        @shop.app.get("/")
        def count() -> str:
            return str(client.incr("visits"))

        command = calls_of(shop.get())[-1]

    assert (command.name, command.kind) == ("INCRBY", "client")


def test_a_call_outside_of_a_trace_makes_no_span(shop: Shop) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    engine.dispose()

    assert shop.tracing.flush(10)
    assert shop.tracing.exported.sent == 0


def test_two_applications_keep_their_own(shop: Shop) -> None:
    engine, other = sa.create_engine("sqlite://", poolclass=sa.StaticPool), Shop()
    for made in (shop, other):

        @made.app.get("/")
        def query() -> str:
            with engine.connect() as connection:
                return str(connection.scalar(sa.text("SELECT 1")))

    first, second = calls_of(shop.get()), calls_of(other.get())
    engine.dispose()
    other.tracing.close()

    assert [span.name for span in first] == [span.name for span in second]
    assert {span.trace_id for span in first}.isdisjoint(span.trace_id for span in second)


def test_the_service_traces_its_own_queries(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings.database_url)
    upgrade(database)
    database.close()
    app = create_app(settings)

    assert app.test_client().get("/api/datasets", buffered=True).status_code == 200
    assert app.extensions["tracing"].flush(10)

    store = TraceStore(settings.traces_file)
    spans = [span for found in store.traces() for span in store.trace(found.trace_id)]
    (request,) = [span for span in spans if span.name == "GET /api/datasets"]
    queries = [span for span in spans if span.name.startswith("SELECT")]
    assert queries
    assert {query.parent_id for query in queries} == {request.span_id}
    app.extensions["quadra_matrix.end"]()


def test_a_missing_package_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_instrumented", set())
    monkeypatch.setattr(libraries, "LIBRARIES", {"none": libraries.Instrumentation("quadra_matrix.nowhere", "None")})

    assert instrument_libraries() == set()


def test_an_instrumentation_that_breaks_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(libraries, "_instrumented", set())
    monkeypatch.setattr(libraries, "LIBRARIES", {"math": libraries.Instrumentation("math", "NoInstrumentor")})

    assert instrument_libraries() == set()
    assert "calls of math cannot be traced" in caplog.text


def test_a_span_that_is_not_ours_is_not_ended_by_a_library() -> None:
    tracer = WithinProvider().get_tracer("library")
    foreign = NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1)))

    with trace.use_span(foreign):
        span = tracer.start_span("call", kind=SpanKind.CLIENT)

    assert span is not foreign
    assert span.get_span_context() == foreign.get_span_context()


def test_addresses_lose_their_secrets() -> None:
    tracing = Tracing(TracingOptions(exporter=Exporter.EMBEDDED), deliver=lambda spans: None)

    with tracing.create_span("request"):
        address = {"url.full": "http://me:hunter2@pay.test/?token=hunter2", "n": 1}
        span = WithinProvider().get_tracer("library").start_span("POST", attributes=address)

    assert isinstance(span, RecordedSpan)
    assert span.attributes == {"url.full": "http://***@pay.test/?token=***", "n": 1}
    tracing.close()
