"""``Tracing``: what an application traces with."""

from __future__ import annotations

import contextvars
import functools
import logging
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import ParamSpec, TypeVar

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from quadra_matrix import __version__
from quadra_matrix.telemetry.environment import Exporter, TracingOptions
from quadra_matrix.telemetry.export import Exported, ExportQueue, Report, no_report
from quadra_matrix.telemetry.otel.provide import Deliver, providers, sender
from quadra_matrix.telemetry.propagation import Header, Remote, baggage_of, remote_of
from quadra_matrix.telemetry.redact import redact
from quadra_matrix.telemetry.sampling import Sampling
from quadra_matrix.telemetry.span import Span as PlainSpan

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

SAMPLED, UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
NO_STATE = TraceState()
_OUTGOING = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


def log_spans(spans: Sequence[PlainSpan]) -> None:
    """Write a log line for each finished span: the exporter ``console``."""
    for span in spans:
        outcome = "" if span.error is None else " failed"
        log.info("%s %s %.1f ms%s", span.trace_id, span.name, span.seconds * 1e3, outcome)


class Tracing:
    """Starts spans, and hands the finished ones to the exporter's queue. May be shared between threads.

    Nothing here raises because of telemetry, and nothing waits for the receiver but ``flush`` and ``close``, which
    keep to their deadline.
    """

    def __init__(self, options: TracingOptions, *, deliver: Deliver = log_spans, report: Report = no_report) -> None:
        self.options = options
        self.is_on = options.exporter is not Exporter.NONE
        self.sampling = Sampling(options.sample_ratio if self.is_on else 0.0, options.follows_caller)
        self._queue = ExportQueue(
            sender(options, deliver),
            limit=options.queue_limit,
            batch=options.batch,
            delay=options.delay,
            report=report,
        )
        made = providers(options, self.sampling, self._queue)
        self.provider = made.shared
        """The provider to give to OpenTelemetry's instrumentations of libraries."""
        self.tracer = made.own.get_tracer("quadra_matrix", __version__)
        weakref.finalize(self, self._queue.close)  # also at the end of the process

    def create_span(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> SpanBlock:
        """Return a block whose work is the span ``name``, within the current span or as the start of a trace.

        An exception that leaves the block is recorded and goes on. In a trace that is not recorded the block costs a
        microsecond and its span takes attributes and forgets them.
        """
        return SpanBlock(self, name, attributes)

    def trace_function(self, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return the decorator that makes each call a span: of functions, coroutines and generators of both kinds.

        The span of a generator lasts from its first step to its last; it is current only while a step runs.
        """
        from quadra_matrix.telemetry.otel.functions import traced

        return lambda function: traced(self, function, name)

    def start(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Span:
        """Start a span within the current one, not yet made current; in an unrecorded trace return the current one."""
        current = trace.get_current_span()
        context = current.get_span_context()
        if not context.is_valid:
            return self._begin_trace(name, attributes)
        if not self.is_on or not context.trace_flags.sampled:
            return current
        return self.tracer.start_span(name, attributes=attributes)

    def current_trace_id(self) -> str | None:
        """Return the id of the current trace, recorded or not, as 32 hexadecimal digits; None outside a trace."""
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None

    def ids(self) -> dict[str, str]:
        """Return ``trace_id`` and ``span_id`` of the current span for a log line; empty outside a trace."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }

    def carried(self) -> dict[str, str]:
        """Return the current trace and baggage as headers, to be kept with a job or sent along with a message."""
        headers: dict[str, str] = {}
        _OUTGOING.inject(headers)
        return headers

    def continue_trace(self, carried: Mapping[str, str], name: str) -> SpanBlock:
        """Return a block that is the span ``name`` in the trace that ``carried`` names: of a job, in any process.

        Headers that name no trace begin a new one.
        """
        return SpanBlock(self, name, None, self.incoming(carried.get)[0])

    def in_context(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function`` bound to the trace of here and now, to be run by another thread."""
        context = contextvars.copy_context()

        @functools.wraps(function)
        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            # A copy for each call: one context cannot be entered by two threads at a time.
            return context.copy().run(function, *args, **kwargs)

        return bound

    def flush(self, seconds: float = 2.0) -> bool:
        """Tell whether every span finished so far was delivered within ``seconds``; never wait longer."""
        return self._queue.flush(seconds)

    def close(self, seconds: float = 2.0) -> bool:
        """Flush within ``seconds`` and record nothing more. May be repeated."""
        return self._queue.close(seconds)

    @property
    def exported(self) -> Exported:
        """Return how many spans of this process were sent and dropped, and how many wait."""
        return self._queue.exported

    def incoming(self, header: Header) -> tuple[Context, bool]:
        """Return the context that a caller's headers continue, and whether what happens in it is recorded.

        The context of an unrecorded request holds a span that keeps the ids, so that logs and outgoing calls have them.
        """
        remote = remote_of(header)
        entries = header("baggage")
        context = Context() if entries is None else _with_baggage(entries)
        if remote is not None:
            is_recorded = self.is_on and self.sampling.records(remote)
            # With tracing off the caller's choice is passed on; otherwise ours is.
            is_sampled = is_recorded or (not self.is_on and bool(remote.is_sampled))
            caller = NonRecordingSpan(_context(remote, is_sampled=is_sampled))
            return trace.set_span_in_context(caller, context), is_recorded
        trace_id, is_recorded = self.sampling.new_trace()
        if is_recorded:
            return context, True
        return trace.set_span_in_context(self._unrecorded(trace_id), context), False

    def _begin_trace(self, name: str, attributes: Mapping[str, AttributeValue] | None) -> Span:
        trace_id, is_recorded = self.sampling.new_trace()
        return self.tracer.start_span(name, attributes=attributes) if is_recorded else self._unrecorded(trace_id)

    def _unrecorded(self, trace_id: int) -> Span:
        return NonRecordingSpan(SpanContext(trace_id, self.sampling.new_span(), False, UNSAMPLED))


class SpanBlock:
    """A ``with`` block that is a span. Use it once."""

    __slots__ = ("_attributes", "_name", "_outside", "_parent", "_span", "_token", "_tracing")

    def __init__(
        self,
        tracing: Tracing,
        name: str,
        attributes: Mapping[str, AttributeValue] | None,
        parent: Context | None = None,
    ) -> None:
        self._tracing, self._name, self._attributes, self._parent = tracing, name, attributes, parent

    def __enter__(self) -> Span:
        self._outside = None if self._parent is None else attach(self._parent)
        self._span = self._tracing.start(self._name, self._attributes)
        self._token = attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        detach(self._token)
        if self._outside is not None:
            detach(self._outside)
        finish(self._span, error)


def finish(span: Span, error: BaseException | None = None) -> None:
    """End a recorded span; an error becomes its event and its status."""
    if span.is_recording():
        if error is not None and not isinstance(error, GeneratorExit):
            record(span, error)
        span.end()


def record(span: Span, error: BaseException) -> None:
    """Make ``error`` an event of the span and its status, with secrets hidden."""
    message, kind = redact(str(error)), type(error).__qualname__
    frames = "".join(traceback.format_exception(error))
    facts = {"exception.type": kind, "exception.message": message, "exception.stacktrace": redact(frames)}
    span.add_event("exception", facts)
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, f"{kind}: {message}" if message else kind))


def _context(remote: Remote, *, is_sampled: bool) -> SpanContext:
    state = TraceState.from_header([remote.state]) if remote.state else NO_STATE
    return SpanContext(remote.trace_id, remote.span_id, True, SAMPLED if is_sampled else UNSAMPLED, state)


def _with_baggage(text: str) -> Context:
    context = Context()
    for key, value in baggage_of(text).items():
        context = baggage.set_baggage(key, value, context)
    return context
