"""The span of a request: a thin WSGI layer that asks the sampler first and builds nothing for what is not recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.telemetry.counts import CountsRequests
from quadra_matrix.telemetry.otel.tracing import Tracing, record
from quadra_matrix.telemetry.propagation import environ_header
from quadra_matrix.telemetry.redact import redact_query

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]

ROUTE = "quadra_matrix.route"
"""Where the web framework leaves the pattern of the matched route in the WSGI environment."""
ERROR = "quadra_matrix.error"
"""Where it leaves an exception that it turned into an answer; the place is there only if somebody will read it."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
LONGEST = 1024
"""Characters of a path, a query or a user agent that are kept."""


class TracedServer:
    """A WSGI application whose requests are spans, and are counted. May be shared between threads."""

    def __init__(
        self,
        wsgi: Wsgi,
        tracing: Tracing,
        *,
        untraced: tuple[str, ...] = (),
        counts: CountsRequests | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._wsgi, self._tracing, self._untraced = wsgi, tracing, untraced
        self._counts, self._clock = counts, clock

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request within its trace."""
        began = self._clock.monotonic()
        if self._untraced and environ.get("PATH_INFO", "").startswith(self._untraced):
            context, is_recorded = Context(), False
        else:
            context, is_recorded = self._tracing.incoming(environ_header(environ))
        span = None
        if is_recorded:
            environ[ERROR] = None
            span = self._tracing.tracer.start_span(environ["REQUEST_METHOD"], context, SpanKind.SERVER)
            context = trace.set_span_in_context(span, context)
        exchange = _Exchange(self, environ, start_response, context, span, began)
        return exchange.answer(self._wsgi)

    def count(self, environ: Environ, status: int, began: float) -> None:
        """Count an answered request."""
        if self._counts is not None:
            seconds = self._clock.monotonic() - began
            self._counts.request(environ["REQUEST_METHOD"], environ.get(ROUTE), status, seconds)


class _Exchange:
    """One request and the chunks of its answer, each made within its trace: a view may stream them after it returned.

    One object does everything, since each further one costs every request a microsecond.
    """

    __slots__ = ("_began", "_close", "_context", "_environ", "_next", "_server", "_span", "_start_response", "_status")

    def __init__(
        self,
        server: TracedServer,
        environ: Environ,
        start_response: Any,
        context: Context,
        span: Span | None,
        began: float,
    ) -> None:
        self._server, self._environ, self._start_response = server, environ, start_response
        self._context, self._span, self._began = context, span, began
        self._status = 0

    def answer(self, wsgi: Wsgi) -> Iterable[bytes]:
        """Return the answer; the span ends when the server has read it or closes it."""
        token = attach(self._context)
        try:
            body = wsgi(self._environ, self._begin)
        except BaseException as error:
            self._end(error)
            raise
        finally:
            detach(token)
        self._next = iter(body).__next__
        self._close: Callable[[], object] | None = getattr(body, "close", None)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = attach(self._context)
        try:
            return self._next()
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise
        finally:
            detach(token)

    def close(self) -> None:
        """Close the answer, as every server does at its end."""
        token = attach(self._context)  # a view that was left amid a span puts back what was current around it
        try:
            if self._close is not None:
                self._close()
        finally:
            detach(token)
            self._end()

    def _begin(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Any:
        code = status[:3]
        self._status = int(code) if code.isascii() and code.isdigit() else 0
        return self._start_response(status, headers, exc_info) if exc_info else self._start_response(status, headers)

    def _end(self, error: BaseException | None = None) -> None:
        """Count the request and end its span, once."""
        if self._began < 0:
            return
        self._server.count(self._environ, self._status or 500, self._began)
        self._began = -1.0
        if self._span is not None:
            _finish(self._span, self._environ, self._status, self._environ.pop(ERROR, None) or error)


def _finish(span: Span, environ: Environ, status: int, error: BaseException | None) -> None:
    """Describe and end the span of a request."""
    name, attributes = described(environ)
    if status:
        attributes["http.response.status_code"] = status
    if error is not None:
        record(span, error)
    elif status >= 500:
        attributes["error.type"] = str(status)
        span.set_status(Status(StatusCode.ERROR))
    span.update_name(name)
    span.set_attributes(attributes)
    span.end()


def described(environ: Environ) -> tuple[str, dict[str, AttributeValue]]:
    """Return the name and the attributes of a request's span, by OpenTelemetry's stable HTTP conventions."""
    get = environ.get
    method: str = environ["REQUEST_METHOD"]
    route: str | None = get(ROUTE)
    known = method in METHODS
    attributes: dict[str, AttributeValue] = {
        "http.request.method": method if known else "_OTHER",
        "url.scheme": get("wsgi.url_scheme", "http"),
        "url.path": _shown(get("SCRIPT_NAME", "") + get("PATH_INFO", "")),
        "server.address": get("SERVER_NAME", ""),
        "network.protocol.version": get("SERVER_PROTOCOL", "HTTP/1.1")[5:],
    }
    if not known:
        attributes["http.request.method_original"] = method[:32]
    if route:
        attributes["http.route"] = route
    if query := get("QUERY_STRING"):
        attributes["url.query"] = redact_query(query[:LONGEST])
    if agent := get("HTTP_USER_AGENT"):
        attributes["user_agent.original"] = _shown(agent)
    if client := get("REMOTE_ADDR"):
        attributes["client.address"] = attributes["network.peer.address"] = client
    if (port := get("SERVER_PORT", "")).isdigit():
        attributes["server.port"] = int(port)
    if (port := str(get("REMOTE_PORT", ""))).isdigit():
        attributes["network.peer.port"] = int(port)
    name = method if known else "HTTP"
    return (f"{name} {route}" if route else name), attributes


def _shown(text: str) -> str:
    """Return WSGI text (bytes read as Latin-1) as the UTF-8 it is, and not too much of it."""
    if text.isascii():
        return text[:LONGEST]
    return text.encode("latin-1", "replace").decode("utf-8", "replace")[:LONGEST]
