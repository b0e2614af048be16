"""Count, time and trace the requests of a Flask application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, abort, current_app, g, got_request_exception, has_request_context, request

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import InvalidValue, MissingExtra, require
from quadra_matrix.telemetry.counts import CountsRequests
from quadra_matrix.telemetry.environment import Exporter, tracing_options
from quadra_matrix.telemetry.export import Report, no_report
from quadra_matrix.telemetry.span import Span
from quadra_matrix.telemetry.traces import TraceStore, as_json
from quadra_matrix.telemetry.unpack import TooLarge, unpacked

if TYPE_CHECKING:
    from quadra_matrix.telemetry.otel import Tracing

LONGEST_ID = 128
"""Characters of a request's id; a longer one is not written into logs."""
LARGEST_REQUEST = 4 * 1024 * 1024
"""Bytes of one OTLP request, as sent and unpacked."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def count_requests(app: Flask, counts: CountsRequests, clock: Clock = SYSTEM_CLOCK) -> None:
    """Tell ``counts`` of every request that ``app`` answers, errors and unknown paths included.

    Call it before other features add their own hooks: the time of those is then part of the measured one.
    """

    @app.before_request
    def begin() -> None:
        g.quadra_began = clock.monotonic()

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else None
        began: float = g.get("quadra_began", clock.monotonic())
        counts.request(request.method, route, response.status_code, clock.monotonic() - began)
        return response


def request_ids() -> dict[str, str]:
    """Return ``request_id`` of the current request for a log line; empty outside a request.

    It is the caller's ``X-Request-Id`` if it sent a sane one, otherwise the id of the request's trace.
    """
    if not has_request_context():
        return {}
    given = request.headers.get("X-Request-Id", "")
    if given and len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return {"request_id": given}
    tracing: Tracing | None = current_app.extensions.get("tracing")
    known = tracing.current_trace_id() if tracing is not None else None
    return {} if known is None else {"request_id": known}


def setup_distributed_tracing(
    app: Flask,
    exporter_type: str | None = None,
    *,
    service_name: str | None = None,
    sample_ratio: float | None = None,
    endpoint: str | None = None,
    untraced: Iterable[str] = (),
    counts: CountsRequests | None = None,
    deliver: Callable[[Sequence[Span]], None] | None = None,
    report: Report = no_report,
    instrument: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Tracing:
    """Make every request of ``app`` a span, and return what other spans are made with.

    ``exporter_type`` is otlp, jaeger, zipkin, console, embedded or none; embedded hands the spans to ``deliver``, in
    this process. ``report`` is told how many were ``sent`` and ``dropped``. What no argument says is read from the
    variables: ``OTEL_*``, and ours such as ``TRACING_EXPORTER`` and ``JAEGER_HOST`` (``environ`` replaces them).
    Requests whose path begins with one of ``untraced`` make no span. ``counts`` is told of every request, as by
    ``count_requests`` and for less: one layer does both. Calls that requests, httpx, SQLAlchemy and Redis make within a
    recorded span are its children where their instrumentation is installed (the extra ``tracing-libraries``), unless
    ``instrument`` is False; engines and clients are to be made afterwards. Call it after other WSGI layers were added:
    they are then part of the measured time. Also ``app.extensions["tracing"]``.
    """
    require("tracing" not in app.extensions, "app", app.name, "an application that is not traced yet")
    options = tracing_options(
        environ, exporter_type=exporter_type, service_name=service_name, sample_ratio=sample_ratio, endpoint=endpoint
    )
    try:
        from quadra_matrix.telemetry.otel import Tracing, log_spans
        from quadra_matrix.telemetry.otel.libraries import instrument_libraries
        from quadra_matrix.telemetry.otel.server import ERROR, INCOMPLETE, ROUTE, TracedServer
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "opentelemetry", "tracing") from missing
    require(
        options.exporter is not Exporter.EMBEDDED or deliver is not None, "deliver", deliver, "given to embed the spans"
    )
    tracing = Tracing(options, deliver=deliver or log_spans, report=report)
    if instrument and tracing.is_on:
        instrument_libraries()

    def note_completeness(response: Response) -> Response:
        if type(response.response) is not list:  # what Werkzeug makes of every answer that is not streamed
            request.environ[INCOMPLETE] = True
        return response

    def note_error(app: Flask, exception: Exception) -> None:
        environ = request.environ
        environ[ROUTE] = _route_of(environ)
        if ERROR in environ:
            environ[ERROR] = exception

    app.after_request_funcs.setdefault(None, []).insert(
        0, note_completeness
    )  # runs last: others may replace the answer
    got_request_exception.connect(note_error, app, weak=False)
    app.wsgi_app = TracedServer(  # type: ignore[method-assign]
        app.wsgi_app, tracing, route_of=_route_of, untraced=tuple(untraced), counts=counts
    )
    app.extensions["tracing"] = tracing
    return tracing


def _route_of(environ: Mapping[str, Any]) -> str | None:
    """Return the pattern that the request matched, from the request that Werkzeug leaves in its environment."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return None if rule is None else rule.rule


def trace_routes(store: TraceStore, *, authorize: Callable[[], bool], prefix: str = "/api/traces") -> Blueprint:
    """Return the routes that show the traces of ``store`` under ``prefix`` and take OTLP from others at ``/v1/traces``.

    ``authorize`` is asked about each request: whoever sees traces sees how the service works, and whoever sends them
    can push others out.
    """
    routes = Blueprint("traces", __name__)

    @routes.before_request
    def refuse_strangers() -> None:
        if not authorize():
            abort(403)

    @routes.get(prefix)
    def list_traces() -> dict[str, Any]:
        limit = request.args.get("limit", 50, type=int)
        has_error = request.args.get("errors") == "true"
        try:
            found = store.traces(limit=limit, service=request.args.get("service"), has_error=has_error)
        except InvalidValue as refused:
            abort(400, str(refused))
        return {"traces": [trace.as_json() for trace in found]}

    @routes.get(f"{prefix}/<trace_id>")
    def show_trace(trace_id: str) -> dict[str, Any]:
        spans = store.trace(trace_id)
        if not spans:
            abort(404, f"no trace {trace_id!r} is kept")
        return {"trace_id": trace_id, "spans": [as_json(span) for span in spans]}

    @routes.post("/v1/traces")
    def receive() -> Response:
        request.max_content_length = LARGEST_REQUEST
        try:
            read = _reader(request.mimetype)
            body = unpacked(request.get_data(), request.headers.get("Content-Encoding", ""), LARGEST_REQUEST)
            store.add(read(body))
        except InvalidValue as refused:
            abort(400, str(refused))
        except TooLarge:
            abort(413)
        return Response(b"{}" if request.mimetype == JSON else b"", mimetype=request.mimetype)

    return routes


def _reader(mimetype: str) -> Callable[[bytes], list[Span]]:
    """Return what reads spans of a media type; each is loaded when somebody sends it."""
    if mimetype == PROTOBUF:
        from quadra_matrix.telemetry.otel import receive

        return receive.spans_of
    if mimetype == JSON:
        from quadra_matrix.telemetry import otlpjson

        return otlpjson.spans_of
    return abort(415, f"send OTLP as {PROTOBUF} or {JSON}")
