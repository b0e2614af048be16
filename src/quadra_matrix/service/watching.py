"""How each process of the service logs and traces."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from quadra_matrix.errors import TracesUnavailable
from quadra_matrix.service.settings import LogLevel, Settings
from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.export import NotDelivered, Report, no_report
from quadra_matrix.telemetry.logs import Identify, no_ids, setup_logging
from quadra_matrix.telemetry.otel import Tracing
from quadra_matrix.telemetry.otel.current import current_ids
from quadra_matrix.telemetry.propagation import remote_of
from quadra_matrix.telemetry.span import Span
from quadra_matrix.telemetry.traces import TraceStore

UNTRACED = ("/health", "/metrics", "/v1/traces", "/api/traces")
"""Beginnings of the paths that probes, scrapers and those who look at traces ask for: nobody wants traces of these."""

NO_HEADERS: Mapping[str, str] = {}


def log_to_stderr(settings: Settings, identify: Identify = no_ids) -> None:
    """Write the records of every logger of this process, its server's too, to stderr."""
    setup_logging(sys.stderr, level=str(settings.log_level), identify=identify)
    # What these say at INFO, a start, a stop and a plug-in, is our DEBUG.
    quiet = logging.WARNING if settings.log_level is LogLevel.INFO else logging.NOTSET
    for talkative in ("_granian", "alembic"):
        logging.getLogger(talkative).setLevel(quiet)


def ids_of_requests() -> Identify:
    """Return what names the current span and the current request."""
    from quadra_matrix.telemetry.flask import request_ids  # Flask takes a third of a second; only HTTP workers have it

    return lambda: current_ids() | request_ids()


def ids_of_job(carried: Mapping[str, str]) -> Identify:
    """Return what names the current span, or outside of one the trace that a job carries."""
    remote = remote_of(carried.get)
    outside = {} if remote is None else {"trace_id": f"{remote.trace_id:032x}"}
    return lambda: current_ids() or outside


def kept_by(store: TraceStore) -> Callable[[Sequence[Span]], None]:
    """Return what delivers finished spans to the store; a store that is locked or full loses them, not the work."""

    def deliver(spans: Sequence[Span]) -> None:
        try:
            store.add(spans)
        except TracesUnavailable as away:
            raise NotDelivered(str(away), may_retry=True) from away

    return deliver


def new_tracing(settings: Settings, report: Report = no_report) -> Tracing:
    """Return what a process traces with that serves no Flask application; ``close`` delivers what is finished."""
    store = TraceStore(settings.traces_file, settings.trace_store_bytes)
    return Tracing(tracing_options(settings.tracing_variables()), deliver=kept_by(store), report=report)


@contextmanager
def traced(settings: Settings, report: Report = no_report) -> Iterator[Tracing]:
    """Yield what a process traces with that serves no HTTP; what is finished at the end is delivered."""
    tracing = new_tracing(settings, report)
    try:
        yield tracing
    finally:
        tracing.close()
