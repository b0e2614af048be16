"""A request is one span with stable names, whatever its headers are; what is not recorded builds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, stream_with_context
from opentelemetry import trace
from opentelemetry.propagate import inject
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

from quadra_matrix.errors import InvalidValue
from quadra_matrix.telemetry.flask import request_ids, setup_distributed_tracing
from quadra_matrix.telemetry.otel import Tracing
from quadra_matrix.telemetry.span import Span

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE}-{CALLER}-00"


class Traced:
    """An application whose spans stay in the test."""

    def __init__(self, **options: Any) -> None:
        self._spans: list[Span] = []
        self.app = Flask("shop")
        self.seen: list[str | None] = []
        self.tracing: Tracing = setup_distributed_tracing(
            self.app, "embedded", deliver=self._spans.extend, environ={}, **options
        )
        routes(self.app, self)

    def get(self, path: str, method: str = "GET", **headers: str) -> TestResponse:
        return self.app.test_client().open(path, method=method, headers=headers, buffered=True)

    @property
    def spans(self) -> list[Span]:
        assert self.tracing.flush(10)
        return self._spans

    @property
    def span(self) -> Span:
        (only,) = self.spans
        return only


def routes(app: Flask, traced: Traced) -> None:
    @app.get("/items/<int:item>")
    def show(item: int) -> str:
        traced.seen.append(traced.tracing.current_trace_id())
        return str(item)

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("token=hunter2")

    @app.get("/gone")
    def gone() -> str:
        abort(410)

    @app.get("/unavailable")
    def unavailable() -> tuple[str, int]:
        return "later", 503

    @app.get("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[str]:
            with traced.tracing.create_span("chunk"):
                traced.seen.append(traced.tracing.current_trace_id())
                yield "a"
            yield "b"

        return Response(stream_with_context(chunks()))


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.tracing.close()


def test_a_request_is_a_span_by_the_stable_conventions(traced: Traced) -> None:
    traced.get("/items/7?page=2&token=hunter2", **{"User-Agent": "tests/1"})

    assert traced.span.name == "GET /items/<int:item>"
    assert traced.span.kind == "server"
    assert traced.span.attributes == {
        "http.request.method": "GET",
        "http.route": "/items/<int:item>",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/items/7",
        "url.query": "page=2&token=***",
        "server.address": "localhost",
        "server.port": 80,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "tests/1",
    }
    assert traced.span.error is None


def test_the_callers_trace_goes_on(traced: Traced) -> None:
    traced.get("/items/7", traceparent=PARENT)

    assert (traced.span.trace_id, traced.span.parent_id) == (TRACE, CALLER)
    assert traced.seen == [TRACE]


def test_an_unsampled_caller_gets_no_span_and_keeps_its_id(traced: Traced) -> None:
    traced.get("/items/7", traceparent=UNSAMPLED)
    traced.get("/broken", traceparent=UNSAMPLED)

    assert traced.spans == []
    assert traced.seen == [TRACE]


def test_a_ratio_of_nothing_records_nothing() -> None:
    traced = Traced(sample_ratio=0.0)

    traced.get("/items/7")

    assert traced.spans == []
    assert len(traced.seen[0] or "") == 32


def test_an_exception_is_on_the_span_though_the_framework_answers_it(traced: Traced) -> None:
    assert traced.get("/broken").status_code == 500

    assert traced.span.error == "RuntimeError: token=***"
    assert traced.span.attributes["error.type"] == "RuntimeError"
    assert traced.span.attributes["http.response.status_code"] == 500
    assert "hunter2" not in str(traced.span.events)


def test_an_exception_that_leaves_the_application_is_recorded_once(traced: Traced) -> None:
    traced.app.testing = True

    with pytest.raises(RuntimeError):
        traced.get("/broken")

    assert (traced.span.name, traced.span.error) == ("GET /broken", "RuntimeError: token=***")
    assert [event.name for event in traced.span.events] == ["exception"]


@pytest.mark.parametrize(
    ("path", "name", "status", "error"),
    [
        ("/nowhere/secret-id", "GET", 404, None),
        ("/gone", "GET /gone", 410, None),
        ("/unavailable", "GET /unavailable", 503, ""),
    ],
)
def test_answers_that_are_no_exceptions(traced: Traced, path: str, name: str, status: int, error: str | None) -> None:
    traced.get(path)

    assert (traced.span.name, traced.span.error) == (name, error)
    assert traced.span.attributes["http.response.status_code"] == status
    assert traced.span.attributes.get("error.type") == (None if error is None else "503")


@pytest.mark.parametrize("caller", [PARENT, UNSAMPLED])
def test_a_streamed_answer_stays_in_the_trace(traced: Traced, caller: str) -> None:
    answer = traced.get("/stream", traceparent=caller)

    assert answer.data == b"ab"
    assert traced.seen == [TRACE]
    if caller == PARENT:
        chunk, request = traced.spans
        assert (chunk.name, chunk.parent_id) == ("chunk", request.span_id)
        assert request.end >= chunk.end
    else:
        assert traced.spans == []


def test_an_answer_that_a_hook_makes_a_stream_stays_in_the_trace(traced: Traced) -> None:
    @traced.app.after_request
    def stream(response: Response) -> Response:
        def chunks() -> Iterator[str]:
            traced.seen.append(traced.tracing.current_trace_id())
            yield "chunk"

        return Response(chunks())

    answer = traced.get("/gone", traceparent=UNSAMPLED)

    assert (answer.data, traced.seen) == (b"chunk", [TRACE])


def test_outgoing_calls_of_an_unsampled_request_tell_the_callers_choice(traced: Traced) -> None:
    sent: dict[str, str] = {}

    @traced.app.get("/calls")
    def calls() -> str:
        inject(sent)
        return "done"

    traced.get("/calls", traceparent=UNSAMPLED, tracestate="v=1", baggage="tenant=blue")

    assert sent == {"traceparent": UNSAMPLED, "tracestate": "v=1", "baggage": "tenant=blue"}


def test_nothing_stays_current_after_a_request(traced: Traced) -> None:
    for path in ("/items/7", "/broken", "/stream"):
        traced.get(path)
        traced.get(path, traceparent=UNSAMPLED)

    assert trace.get_current_span() is trace.INVALID_SPAN


def test_every_request_is_counted_once_by_route_and_status() -> None:
    counted: list[tuple[str, str | None, int]] = []

    class Counts:
        def request(self, method: str, route: str | None, status: int, seconds: float, trace_id: int = 0) -> None:
            assert seconds >= 0
            counted.append((method, route, status))

    traced = Traced(counts=Counts(), untraced=["/gone"])
    for path in ("/items/7", "/gone", "/nowhere", "/stream", "/broken"):
        traced.get(path)
        traced.get(path, traceparent=UNSAMPLED)

    one_each = [
        ("GET", "/items/<int:item>", 200),
        ("GET", "/gone", 410),
        ("GET", None, 404),
        ("GET", "/stream", 200),
        ("GET", "/broken", 500),
    ]
    assert counted == [answer for answer in one_each for _ in range(2)]


def test_left_alone_paths_are_not_traced() -> None:
    traced = Traced(untraced=["/health", "/metrics"])

    traced.get("/health/live", traceparent=PARENT)
    traced.get("/items/7")

    assert [span.name for span in traced.spans] == ["GET /items/<int:item>"]


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "garbage"},
        {"traceparent": "00-" + "f" * 10_000},
        {"traceparent": PARENT, "tracestate": ",,==,\x7f" + "a=1," * 1000},
        {"baggage": "x" * 10_000},
        {"baggage": ",=;%zz%00,a=%F0%28", "b3": "a-b-c-d-e"},
        {"User-Agent": "\xff" * 5000},
        {f"X-Header-{number}": "v" for number in range(1000)},
    ],
)
def test_no_header_breaks_a_request(traced: Traced, headers: dict[str, str]) -> None:
    assert traced.get("/items/7", **headers).status_code == 200
    assert traced.span.name == "GET /items/<int:item>"


def test_a_made_up_method_is_one_name(traced: Traced) -> None:
    traced.get("/items/7", method="MADEUP")

    assert traced.span.name == "HTTP"
    assert traced.span.attributes["http.request.method"] == "_OTHER"
    assert traced.span.attributes["http.request.method_original"] == "MADEUP"


def test_paths_are_read_as_utf8(traced: Traced) -> None:
    traced.get("/grüße")

    assert traced.span.attributes["url.path"] == "/grüße"


def test_a_server_that_stops_reading_ends_the_span(traced: Traced) -> None:
    chunks, _, _ = run_wsgi_app(traced.app.wsgi_app, EnvironBuilder("/stream").get_environ(), buffered=False)
    next(iter(chunks))

    chunks.close()  # type: ignore[attr-defined]

    assert [span.name for span in traced.spans] == ["chunk", "GET /stream"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_an_application_is_traced_once(traced: Traced) -> None:
    with pytest.raises(InvalidValue, match="not traced yet"):
        setup_distributed_tracing(traced.app, "none", environ={})


def test_embedded_needs_somewhere_to_put_the_spans() -> None:
    with pytest.raises(InvalidValue, match="deliver"):
        setup_distributed_tracing(Flask("shop"), "embedded", environ={})


def test_an_unreachable_host_never_fails_a_request() -> None:
    app = Flask("shop")
    tracing = setup_distributed_tracing(app, "jaeger", environ={"JAEGER_HOST": "127.0.0.1", "JAEGER_PORT": "9"})

    assert app.test_client().get("/", buffered=True).status_code == 404
    assert not tracing.close(0.5)


@pytest.mark.parametrize(
    ("sent", "known"),
    [("order-7", "order-7"), ("", TRACE), ("x" * 129, TRACE), ("two\tlines", TRACE), ("caf\u00e9", TRACE)],
    ids=["sane", "none", "long", "control", "not ASCII"],
)
def test_a_request_is_known_by_the_callers_id_or_by_its_trace(sent: str, known: str) -> None:
    traced = Traced()
    found: list[dict[str, str]] = []
    traced.app.get("/known")(lambda: found.append(request_ids()) or "")

    traced.get("/known", traceparent=PARENT, **{"X-Request-Id": sent})

    assert found == [{"request_id": known}]
    assert request_ids() == {}


def test_a_request_outside_a_trace_has_only_the_callers_id() -> None:
    app = Flask("shop")
    with app.test_request_context():
        assert request_ids() == {}
