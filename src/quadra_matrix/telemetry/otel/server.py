"""The span of a request: a thin WSGI layer that asks the sampler first and builds nothing for what is not recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AnyValue

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.telemetry.counts import CountsRequests
from quadra_matrix.telemetry.otel.span import RecordedSpan
from quadra_matrix.telemetry.otel.tracing import Tracing
from quadra_matrix.telemetry.propagation import WSGI_NAMES
from quadra_matrix.telemetry.redact import redact_keys, redact_query

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]
RouteOf = Callable[[Environ], str | None]
"""Returns the pattern of the route that the web framework chose for a request; asked when the answer begins."""

ROUTE = "quadra_matrix.route"
"""Where the framework leaves that pattern if an exception ends the request before an answer begins."""
ERROR = "quadra_matrix.error"
"""Where the framework leaves an exception that it answered; the place is there only if somebody will read it."""

INCOMPLETE = "quadra_matrix.incomplete"
"""What it leaves there if chunks of the answer are made while the server sends it."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
LONGEST = 1024
"""Characters of a path, a query or a user agent that are kept."""
_NOWHERE = Context()


class TracedServer:
    """A WSGI application whose requests are spans, and are counted. May be shared between threads."""

    def __init__(
        self,
        wsgi: Wsgi,
        tracing: Tracing,
        *,
        route_of: RouteOf,
        untraced: tuple[str, ...] = (),
        counts: CountsRequests | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._wsgi, self._begin, self._untraced = wsgi, tracing.tracer.begin, untraced
        self._route_of, self._counts, self._monotonic = route_of, counts, clock.monotonic

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request within its trace. Where nothing is recorded, the answer itself is returned.

        One function with its variables: each object and each call costs a request half a microsecond.
        """
        began, route_of = self._monotonic(), self._route_of
        status, route = "", None
        context, span = _NOWHERE, None
        if not self._untraced or not environ.get("PATH_INFO", "").startswith(self._untraced):
            begun, context = self._begin(environ.get, environ["REQUEST_METHOD"], SpanKind.SERVER, WSGI_NAMES)
            if type(begun) is RecordedSpan:  # an abstract class is slow to ask about instances
                span, environ[ERROR] = begun, None

        def begin_answer(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status, route
            status, route = line[:3], route_of(environ)
            return start_response(line, headers, exc_info) if exc_info else start_response(line, headers)

        token = attach(context)
        try:
            body = self._wsgi(environ, begin_answer)
        except BaseException as error:
            self._end(environ, span, status, route, began, error)
            raise
        finally:
            detach(token)
        if span is not None or not status or INCOMPLETE in environ:
            return Chunks(body, context, lambda error: self._end(environ, span, status, route, began, error))
        if self._counts is not None:
            self._counts.request(environ["REQUEST_METHOD"], route, _code(status), self._monotonic() - began)
        return body

    def _end(
        self,
        environ: Environ,
        span: RecordedSpan | None,
        status: str,
        route: str | None,
        began: float,
        error: BaseException | None,
    ) -> None:
        """Count a request and end its span."""
        code, pattern = _code(status), route or environ.get(ROUTE)
        if self._counts is not None:
            trace_id = 0 if span is None else span.trace_id
            self._counts.request(environ["REQUEST_METHOD"], pattern, code, self._monotonic() - began, trace_id)
        if span is not None:
            finish(span, environ, pattern, code, environ.pop(ERROR, None) or error)


class Chunks:
    """The chunks of an answer, each made within its trace: a view may stream them after it returned."""

    __slots__ = ("_close", "_context", "_end", "_next")

    def __init__(self, body: Iterable[bytes], context: Context, end: Callable[[BaseException | None], None]) -> None:
        """``end`` is called once: after the last chunk, or when the server closes the answer."""
        self._next = iter(body).__next__
        self._close: Callable[[], object] | None = getattr(body, "close", None)
        self._context = context
        self._end: Callable[[BaseException | None], None] | None = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = attach(self._context)
        try:
            return self._next()
        except BaseException as error:
            self._finish(None if isinstance(error, StopIteration) else error)
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
            self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        end, self._end = self._end, None
        if end is not None:
            end(error)


def _code(status: str) -> int:
    return int(status) if status.isdecimal() else 500


def finish(span: RecordedSpan, environ: Environ, route: str | None, status: int, error: BaseException | None) -> None:
    """Describe and end the span of a request."""
    name, attributes = described(environ, route)
    attributes["http.response.status_code"] = status
    if error is not None:
        span.fail(error)
    elif status >= 500:
        attributes["error.type"] = str(status)
        span.set_status(StatusCode.ERROR)
    span.name = name
    span.attributes.update(attributes)  # few, and ours: nothing to check
    span.end()


def described(environ: Environ, route: str | None) -> tuple[str, dict[str, AnyValue]]:
    """Return the name and the attributes of a request's span, by OpenTelemetry's stable HTTP conventions."""
    get = environ.get
    method: str = environ["REQUEST_METHOD"]
    known = method in METHODS
    attributes: dict[str, AnyValue] = {
        "http.request.method": method if known else "_OTHER",
        "url.scheme": get("wsgi.url_scheme", "http"),
        "url.path": redact_keys(_shown(get("SCRIPT_NAME", "") + get("PATH_INFO", ""))),
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
