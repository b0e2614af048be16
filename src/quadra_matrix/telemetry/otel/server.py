"""The span of a request: a thin WSGI layer that asks the sampler first and builds nothing for what is not recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

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
    """A WSGI application whose requests are spans. May be shared between threads."""

    def __init__(self, wsgi: Wsgi, tracing: Tracing, *, untraced: tuple[str, ...] = ()) -> None:
        self._wsgi, self._tracing, self._untraced = wsgi, tracing, untraced

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request within its trace."""
        if self._untraced and environ.get("PATH_INFO", "").startswith(self._untraced):
            return self._wsgi(environ, start_response)
        context, is_recorded = self._tracing.incoming(environ_header(environ))
        if is_recorded:
            return _Exchange(self._tracing, context, environ).answer(self._wsgi, start_response)
        token = attach(context)
        try:
            return _Body(self._wsgi(environ, start_response), context)
        finally:
            detach(token)


class _Body:
    """The chunks of an answer, each made within the request's context: a view may stream them after it returned."""

    __slots__ = ("_chunks", "_close", "_context")

    def __init__(self, body: Iterable[bytes], context: Context) -> None:
        self._chunks, self._context = iter(body), context
        self._close: Callable[[], object] | None = getattr(body, "close", None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = attach(self._context)
        try:
            return next(self._chunks)
        finally:
            detach(token)

    def close(self) -> None:
        """Close the answer, as every server does at its end."""
        if self._close is not None:
            self._close()


class _Exchange:
    """One recorded request and its answer."""

    __slots__ = ("_body", "_context", "_environ", "_span", "_start_response", "_status")

    def __init__(self, tracing: Tracing, parent: Context, environ: Environ) -> None:
        self._environ = environ
        self._span = tracing.tracer.start_span(environ["REQUEST_METHOD"], parent, SpanKind.SERVER)
        self._context = trace.set_span_in_context(self._span, parent)
        self._status = 0
        environ[ERROR] = None

    def answer(self, wsgi: Wsgi, start_response: Any) -> Iterable[bytes]:
        """Return the answer; the span ends when the server has read it or closes it."""
        self._start_response = start_response
        token = attach(self._context)
        try:
            body = wsgi(self._environ, self._begin)
        except BaseException as error:
            self._environ[ERROR] = error
            self._end()
            raise
        finally:
            detach(token)
        self._body = _Body(body, self._context)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._body)
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            self._environ[ERROR] = error
            self._end()
            raise

    def close(self) -> None:
        """Close the answer and end the span."""
        try:
            self._body.close()
        finally:
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

    def _end(self) -> None:
        if not self._span.is_recording():
            return  # it has ended
        name, attributes = described(self._environ)
        if self._status:
            attributes["http.response.status_code"] = self._status
        error: BaseException | None = self._environ.pop(ERROR, None)
        if error is not None:
            record(self._span, error)
        elif self._status >= 500:
            attributes["error.type"] = str(self._status)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        self._span.end()


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
