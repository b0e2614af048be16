"""``Tracing``: what an application traces with."""

from __future__ import annotations

import contextvars
import functools
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AnyValue

from quadra_matrix import __version__
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.telemetry.environment import Exporter, TracingOptions
from quadra_matrix.telemetry.export import Exported, ExportQueue, Report, no_report
from quadra_matrix.telemetry.otel.send import Deliver, sender
from quadra_matrix.telemetry.otel.span import RecordedSpan
from quadra_matrix.telemetry.otel.tracer import Tracers
from quadra_matrix.telemetry.sampling import Sampling
from quadra_matrix.telemetry.span import Span as PlainSpan

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

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

    def __init__(
        self,
        options: TracingOptions,
        *,
        deliver: Deliver = log_spans,
        report: Report = no_report,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.options = options
        self.is_on = is_on = options.exporter is not Exporter.NONE
        sampling = Sampling(options.sample_ratio if is_on else 0.0, options.follows_caller)
        self._queue = ExportQueue(
            sender(options, deliver),
            limit=options.queue_limit,
            batch=options.batch,
            delay=options.delay,
            report=report,
        )
        self.provider = Tracers(sampling, self._queue.put, clock, is_on=is_on)
        """The provider to give to OpenTelemetry's instrumentations of libraries."""
        self.tracer = self.provider.get_tracer("quadra_matrix", __version__)
        weakref.finalize(self, self._queue.close)  # also at the end of the process

    def create_span(self, name: str, attributes: Mapping[str, AnyValue] | None = None) -> SpanBlock:
        """Return a block whose work is the span ``name``, within the current span or as the start of a trace.

        An exception that leaves the block is recorded and goes on. In a trace that is not recorded the block costs a
        microsecond and its span takes attributes and forgets them.
        """

        def begin() -> tuple[Span, Context]:
            span = self.start(name, attributes)
            return span, trace.set_span_in_context(span)

        return SpanBlock(begin)

    def trace_function(self, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return the decorator that makes each call a span: of functions, coroutines and generators of both kinds.

        The span of a generator lasts from its first step to its last; it is current only while a step runs.
        """
        from quadra_matrix.telemetry.otel.functions import traced

        return lambda function: traced(self, function, name)

    def start(self, name: str, attributes: Mapping[str, AnyValue] | None = None) -> Span:
        """Start a span within the current one, not yet made current; in an unrecorded trace return the current one."""
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
        return SpanBlock(lambda: self.tracer.begin(carried.get, name))

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


class SpanBlock:
    """A ``with`` block that is a span. Use it once."""

    __slots__ = ("_begin", "_span", "_token")

    def __init__(self, begin: Callable[[], tuple[Span, Context]]) -> None:
        self._begin = begin

    def __enter__(self) -> Span:
        self._span, context = self._begin()
        self._token = attach(context)
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        detach(self._token)
        finish(self._span, error)


def finish(span: Span, error: BaseException | None = None) -> None:
    """End a recorded span; an error becomes its event and its status."""
    if isinstance(span, RecordedSpan):
        if error is not None and not isinstance(error, GeneratorExit):
            span.fail(error)
        span.end()
