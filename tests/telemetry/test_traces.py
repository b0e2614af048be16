"""Traces are kept up to a bound, come in from this process and others, and can be listed and drawn."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import multiprocessing.synchronize
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from werkzeug.serving import make_server

from quadra_matrix.cli import main
from quadra_matrix.errors import InvalidValue, TracesUnavailable
from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.flask import LARGEST_REQUEST, setup_distributed_tracing, trace_routes
from quadra_matrix.telemetry.otel import Tracing
from quadra_matrix.telemetry.otel.receive import spans_of
from quadra_matrix.telemetry.span import Span, SpanEvent
from quadra_matrix.telemetry.traces import PAGE, SMALLEST, TraceStore
from quadra_matrix.telemetry.waterfall import waterfall
from tests.telemetry.receivers import http_receiver

PROTOBUF = "application/x-protobuf"
SECOND = 1_000_000_000


def span(
    number: int,
    *,
    trace: int = 1,
    parent: int | None = None,
    start: int = 0,
    end: int = SECOND,
    error: str | None = None,
) -> Span:
    return Span(
        trace_id=f"{trace:032x}",
        span_id=f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name=f"work {number}",
        kind="server",
        start=start,
        end=end,
        service="shop",
        error=error,
        attributes={"text": "a", "number": 3, "flag": True, "many": ("a", "b")},
        events=(SpanEvent("exception", start, {"exception.type": "KeyError"}),),
    )


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(tmp_path / "traces" / "traces.db")


@pytest.fixture
def app(store: TraceStore) -> Flask:
    made = Flask("shop")
    made.register_blueprint(trace_routes(store, authorize=lambda: True))
    return made


def test_a_trace_comes_back_as_it_was(store: TraceStore) -> None:
    spans = [span(1, start=1), span(2, parent=1, start=2, error="KeyError: 'x'"), span(3, parent=2, start=3)]

    store.add(list(reversed(spans)))
    store.add(spans)  # a batch that was sent twice

    assert store.trace(spans[0].trace_id) == tuple(spans)
    assert store.trace("0" * 32) == ()


def test_traces_are_listed_newest_first(store: TraceStore) -> None:
    store.add(
        [span(1, trace=1, start=SECOND, end=3 * SECOND), span(2, trace=1, parent=1, start=SECOND, end=2 * SECOND)]
    )
    store.add([span(3, trace=2, start=5 * SECOND, end=6 * SECOND, error="")])

    newest, oldest = store.traces()

    assert (newest.trace_id, newest.errors, newest.spans) == (f"{2:032x}", 1, 1)
    assert (oldest.name, oldest.seconds, oldest.spans, oldest.services) == ("work 1", 2.0, 2, ("shop",))
    assert store.traces(has_error=True) == [newest]
    assert store.traces(limit=1) == [newest]
    assert store.traces(service="other") == []


def test_a_trace_whose_beginning_is_missing_is_named_by_its_first_span(store: TraceStore) -> None:
    store.add([span(3, parent=2, start=2), span(2, parent=99, start=1)])

    assert [trace.name for trace in store.traces()] == ["work 2"]


def test_the_file_keeps_its_bound_and_the_newest(tmp_path: Path) -> None:
    file = tmp_path / "traces.db"
    store = TraceStore(file, limit=SMALLEST)

    for number in range(1, 3001):
        if number % 50 == 0:
            store.add([span(n, trace=n, start=n) for n in range(number - 49, number + 1)])

    kept = store.traces(limit=1000)
    assert kept[0].trace_id == f"{3000:032x}"
    assert 100 < len(kept) < 1000
    assert file.stat().st_size <= SMALLEST + 20 * PAGE


def test_one_huge_span_does_not_push_the_others_out(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "traces.db", limit=SMALLEST)
    store.add([span(1)])

    store.add([Span("2" * 32, "2" * 16, None, "n" * 10**6, "server", 1, 2, "shop", "e" * 10**6, {"a": "v" * 10**6})])

    assert len(store.traces()) == 2


def test_a_bound_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        TraceStore(tmp_path / "traces.db", limit=SMALLEST - 1)


def add_many(file: Path, first: int) -> None:
    store = TraceStore(file)
    for number in range(first, first + 50):
        store.add([span(number, trace=number)])


def test_processes_share_the_file(tmp_path: Path) -> None:
    file = tmp_path / "traces.db"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=add_many, args=(file, first)) for first in (1, 101)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert len(TraceStore(file).traces(limit=1000)) == 100


def test_an_application_can_keep_its_own_traces(store: TraceStore) -> None:
    app = Flask("shop")
    tracing = setup_distributed_tracing(app, "embedded", deliver=store.add, environ={})

    app.test_client().get("/nowhere", buffered=True)
    assert tracing.close(10)

    assert [trace.name for trace in store.traces()] == ["GET"]


def exported() -> bytes:
    """Return what a traced program sends."""
    with http_receiver() as (url, received):
        tracing = Tracing(tracing_options({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "SERVICE_NAME": "other"}))
        attributes = {"a": "b", "n": 1, "x": 0.5, "flag": True, "many": ["a", "b"]}
        with pytest.raises(KeyError), tracing.create_span("parent"), tracing.create_span("child", attributes):
            raise KeyError("x")
        assert tracing.close(10)
    return received.bodies[0]


def first_spans(folder: Path, number: int, ready: multiprocessing.synchronize.Barrier) -> None:
    for turn in range(10):
        ready.wait(60)
        TraceStore(folder / f"{turn}.db").add([span(number + 1)])


def test_processes_may_open_a_new_store_at_the_same_moment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    processes = [context.Process(target=first_spans, args=(tmp_path, number, ready)) for number in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [len(TraceStore(tmp_path / f"{turn}.db").trace(f"{1:032x}")) for turn in range(10)] == [3] * 10


def test_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "traces.db"
    file.write_bytes(b"no database " * 1000)
    store = TraceStore(file)

    with pytest.raises(TracesUnavailable, match="begin anew"):
        store.traces()
    store.add([span(1)])

    assert len(store.traces()) == 1
    assert file.with_name("traces.db.broken").read_bytes().startswith(b"no database")


def test_a_store_whose_folder_is_gone_is_not_available(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "folder" / "traces.db")
    (tmp_path / "folder").rmdir()

    with pytest.raises(TracesUnavailable):
        store.add([span(1)])


@pytest.mark.parametrize("is_packed", [False, True])
def test_other_services_send_otlp(app: Flask, store: TraceStore, is_packed: bool) -> None:
    body = exported()
    headers = {"Content-Encoding": "gzip"} if is_packed else {}

    answer = app.test_client().post(
        "/v1/traces", data=gzip.compress(body) if is_packed else body, headers=headers, content_type=PROTOBUF
    )

    assert (answer.status_code, answer.data) == (200, b"")
    (trace,) = store.traces()
    parent, child = store.trace(trace.trace_id)
    assert (trace.name, trace.services, trace.errors) == ("parent", ("other",), 2)
    assert child.parent_id == parent.span_id
    assert child.attributes == {
        "a": "b", "n": 1, "x": 0.5, "flag": True, "many": ("a", "b"), "error.type": "KeyError"
    }  # fmt: skip
    assert child.events[0].attributes["exception.type"] == "KeyError"


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "status"),
    [
        (b"\xff\xff garbage", PROTOBUF, None, 400),
        (b"not gzip", PROTOBUF, "gzip", 400),
        (b"{}", "text/plain", None, 415),
        (b"a" * (LARGEST_REQUEST + 1), PROTOBUF, None, 413),
        (gzip.compress(b"\0" * (LARGEST_REQUEST + 1)), PROTOBUF, "gzip", 413),
    ],
    ids=["garbage", "no gzip", "text", "too large", "bomb"],
)
def test_other_bodies_are_refused(
    app: Flask, body: bytes, content_type: str, encoding: str | None, status: int
) -> None:
    headers = {"Content-Encoding": encoding} if encoding else {}

    answer = app.test_client().post("/v1/traces", data=body, content_type=content_type, headers=headers)

    assert answer.status_code == status


@given(st.binary(max_size=200))
def test_no_body_breaks_the_receiver(body: bytes) -> None:
    try:
        spans_of(body)
    except InvalidValue:
        return


def test_spans_with_impossible_ids_times_and_kinds_do_no_harm(store: TraceStore) -> None:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=b"short", span_id=b"short")
    spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=2**64 - 1, kind=5)

    store.add(spans_of(request.SerializeToString()))

    assert len(store.traces()) == 1


def test_strangers_are_refused(store: TraceStore) -> None:
    app = Flask("shop")
    app.register_blueprint(trace_routes(store, authorize=lambda: False))
    client = app.test_client()

    assert client.get("/api/traces").status_code == 403
    assert client.post("/v1/traces", data=b"", content_type=PROTOBUF).status_code == 403


@pytest.mark.parametrize("query", ["limit=0", "limit=1001"])
def test_a_limit_outside_its_range_is_refused(app: Flask, query: str) -> None:
    assert app.test_client().get(f"/api/traces?{query}").status_code == 400


def test_an_unknown_trace_is_not_found(app: Flask) -> None:
    assert app.test_client().get("/api/traces/123").status_code == 404


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    import threading

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def quadra(*words: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, words, catch_exceptions=False)


def test_the_command_lists_and_draws(url: str, store: TraceStore) -> None:
    store.add([span(1, end=SECOND), span(2, parent=1, start=SECOND // 2, end=SECOND, error="")])

    listed = quadra("traces", "list", "--errors", "--url", url)
    shown = quadra("traces", "show", f"{1:032x}", "--url", url)
    as_json = json.loads(quadra("traces", "show", f"{1:032x}", "--url", url, "--json").stdout)

    assert listed.stdout.splitlines()[1].split() == [f"{1:032x}", "work", "1", "shop", "1000", "2", "1"]
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["work", "1"], ["work", "2"]]
    assert [found["name"] for found in as_json["spans"]] == ["work 1", "work 2"]


def test_the_command_says_what_is_missing(url: str) -> None:
    assert quadra("traces", "list", "--url", url, "--service", "none", "--json").stdout == "[]\n"
    assert quadra("traces", "show", "123", "--url", url).exit_code == 1


def test_a_waterfall_places_spans_on_the_time_of_the_trace() -> None:
    lines = waterfall([span(2, parent=1, start=SECOND // 2, end=SECOND, error=""), span(1)], width=74)

    assert lines == [
        f"{'work 1':<40}    1000.0 ms {'=' * 20}",
        f"{'  work 2':<40}     500.0 ms {' ' * 10}{'!' * 10}",
    ]


def test_a_waterfall_draws_every_span_once_even_in_a_circle() -> None:
    lines = waterfall([span(1, parent=2), span(2, parent=1), span(3, parent=3), span(4, parent=77), span(5)])

    assert sorted(line.split()[1] for line in lines) == ["1", "2", "3", "4", "5"]
    assert waterfall([]) == []


def test_a_waterfall_obeys_nobody() -> None:
    hostile = Span("1" * 32, "1" * 16, None, "\x1b[2J\nname", "server", 0, 1, "shop")

    (line,) = waterfall([hostile])

    assert line.isprintable()
