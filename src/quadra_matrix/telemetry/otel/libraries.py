"""Calls of other servers and of databases as spans, by OpenTelemetry's own instrumentations, where they are installed.

An instrumentation changes its library for the whole process, while a process may hold several applications. So each is
set up once, with tracers that start spans only within a recorded one, as its children: of whichever application it is.
A call outside a trace, such as a poll, makes no span.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Tracer, TracerProvider
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import AnyValue

from quadra_matrix.telemetry.otel.span import Attributes, RecordedSpan, Scope, UnrecordedSpan
from quadra_matrix.telemetry.otel.tracer import ParentedTracer
from quadra_matrix.telemetry.redact import redact

log = logging.getLogger(__name__)

ADDRESSES = frozenset({"http.url", "url.full", "url.query", "http.target"})
"""Attributes that may hold a secret in a query string or before a host."""


class Instrumentation(NamedTuple):
    """Where an instrumentation is found."""

    module: str
    name: str
    is_cautious: bool = False
    """True if it refuses versions of its library that it works with, as our tests show."""


LIBRARIES = {
    "requests": Instrumentation("opentelemetry.instrumentation.requests", "RequestsInstrumentor"),
    "httpx": Instrumentation("opentelemetry.instrumentation.httpx", "HTTPXClientInstrumentor"),
    "sqlalchemy": Instrumentation(
        "opentelemetry.instrumentation.sqlalchemy", "SQLAlchemyInstrumentor", is_cautious=True
    ),
    "redis": Instrumentation("opentelemetry.instrumentation.redis", "RedisInstrumentor"),
}
"""Library -> its instrumentation."""

_lock = threading.Lock()
_instrumented: set[str] = set()  # of the process, like what the instrumentations change


def instrument_libraries() -> frozenset[str]:
    """Instrument what is installed of ``LIBRARIES``, once a process; return the names of those that are.

    Call it before engines and clients are made: some are instrumented only from then on.
    """
    with _lock:
        for library, where in LIBRARIES.items():
            if library not in _instrumented and _instrument(library, where):
                _instrumented.add(library)
        return frozenset(_instrumented)


def _instrument(library: str, where: Instrumentation) -> bool:
    try:
        instrumentor = getattr(importlib.import_module(where.module), where.name)()
        if not instrumentor.is_instrumented_by_opentelemetry:  # the application may have done it, with another provider
            instrumentor.instrument(tracer_provider=WithinProvider(), skip_dep_check=where.is_cautious)
    except ModuleNotFoundError:
        return False
    except Exception:  # the edge of a plug-in: versions that do not fit must not stop an application
        log.exception("calls of %s cannot be traced", library)
        return False
    return bool(instrumentor.is_instrumented_by_opentelemetry)  # it logs why it refuses a version


class WithinProvider(TracerProvider):
    """Gives libraries tracers that only continue what is recorded."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return the tracer of a library."""
        return WithinTracer(Scope(instrumenting_module_name, instrumenting_library_version or "", schema_url or ""))


class WithinTracer(ParentedTracer):
    """Starts spans within recorded ones alone. May be shared between threads."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def within(self, parent: ApiSpan, name: str, kind: SpanKind = SpanKind.INTERNAL) -> ApiSpan:
        """Start a child of a recorded span; return one that only keeps the ids elsewhere."""
        if isinstance(parent, RecordedSpan):
            return parent.child(name, kind, self._scope)
        return parent if isinstance(parent, UnrecordedSpan) else NonRecordingSpan(parent.get_span_context())

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> ApiSpan:
        """Start a span with the secrets in its addresses hidden."""
        shown = {key: _shown(key, value) for key, value in (attributes or {}).items()}
        return super().start_span(
            name, context, kind, shown, links, start_time, record_exception, set_status_on_exception
        )


def _shown(key: str, value: AnyValue) -> AnyValue:
    return redact(value) if key in ADDRESSES and isinstance(value, str) else value
