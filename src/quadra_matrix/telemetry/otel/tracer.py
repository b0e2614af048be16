"""The tracer of an application and of the libraries in it: it asks the sampler, and only then makes a span."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence

from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Tracer, TracerProvider
from opentelemetry.trace import Span as ApiSpan

# Private, and yet what every implementation of this API needs: start_as_current_span must also decorate coroutines.
from opentelemetry.util._decorator import _agnosticcontextmanager

from quadra_matrix.clock import Clock
from quadra_matrix.telemetry.otel.span import Attributes, RecordedSpan, Scope, UnrecordedSpan
from quadra_matrix.telemetry.propagation import NAMES, Header, Names, Remote, baggage_of, remote_of
from quadra_matrix.telemetry.sampling import Sampling

(_CURRENT,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())
"""The API's key of the current span: a context that is made with it need not be copied first."""


class ParentedTracer(Tracer, abc.ABC):
    """The calls of the API, by one that starts a span within another."""

    @abc.abstractmethod
    def within(self, parent: ApiSpan, name: str, kind: SpanKind = SpanKind.INTERNAL) -> ApiSpan:
        """Start a span within ``parent``. Whoever asked for it will end it, so it is no span of somebody else."""

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
        """Start a span within the one of ``context``, by default the current one."""
        span = self.within(trace.get_current_span(context), name, kind)
        if isinstance(span, RecordedSpan):
            if attributes:
                span.set_attributes(attributes)
            for link in links or ():
                span.add_link(link.context, link.attributes)
            if start_time is not None:
                span.begin_at(start_time)
            span.records_exception, span.sets_status = record_exception, set_status_on_exception
        return span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[ApiSpan]:
        """Start a span that is current in the block, and ends with it."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current


class SamplingTracer(ParentedTracer):
    """Starts the spans of one library. May be shared between threads."""

    def __init__(
        self, scope: Scope, sampling: Sampling, finish: Callable[[RecordedSpan], None], clock: Clock, *, is_on: bool
    ) -> None:
        self._scope, self._sampling, self._finish, self._clock = scope, sampling, finish, clock
        self._is_on = is_on

    def begin(
        self, header: Header, name: str, kind: SpanKind = SpanKind.INTERNAL, names: Names = NAMES
    ) -> tuple[RecordedSpan | UnrecordedSpan, Context]:
        """Start the span that continues the trace of a caller's headers; return the context that it is current in.

        Where the trace is not recorded the span keeps the ids, so that logs and outgoing calls have them.
        """
        caller = remote_of(header, names)
        if caller is not None and (caller.is_sampled is False and self._sampling.follows_caller):
            span: RecordedSpan | UnrecordedSpan = UnrecordedSpan(caller, True)
        else:
            span = self._continue(caller, name, kind)
        entries = header(names.baggage)
        context = Context({_CURRENT: span})
        return span, context if entries is None else _with_baggage(entries, context)

    def _continue(self, caller: Remote | None, name: str, kind: SpanKind) -> RecordedSpan | UnrecordedSpan:
        if caller is None:
            trace_id, is_recorded = self._sampling.new_trace()
            if is_recorded:
                return self._recorded(name, kind, trace_id)
            return UnrecordedSpan(Remote(trace_id, self._sampling.new_span(), False), False)
        if not self._is_on:
            return UnrecordedSpan(caller, True)  # the caller's choice is passed on
        if self._sampling.records(caller):
            trace_id, span_id, _, state = caller
            return self._recorded(name, kind, trace_id, span_id, state, is_parent_remote=True)
        return UnrecordedSpan(caller._replace(is_sampled=False), True)

    def within(self, parent: ApiSpan, name: str, kind: SpanKind = SpanKind.INTERNAL) -> ApiSpan:
        """Start a span within ``parent``; return one that only keeps the ids where the trace is not recorded."""
        if isinstance(parent, RecordedSpan):
            return self._recorded(name, kind, parent.trace_id, parent.span_id, parent.state)
        if isinstance(parent, UnrecordedSpan):
            return parent
        found = parent.get_span_context()
        if not found.is_valid:
            return self._continue(None, name, kind)
        # Of another tracer, or taken from headers by a propagator of the API.
        is_sampled, state = found.trace_flags.sampled, found.trace_state.to_header()
        if found.is_remote:
            return self._continue(Remote(found.trace_id, found.span_id, is_sampled, state), name, kind)
        if is_sampled and self._is_on:
            return self._recorded(name, kind, found.trace_id, found.span_id, state)
        return NonRecordingSpan(found)

    def _recorded(
        self,
        name: str,
        kind: SpanKind,
        trace_id: int,
        parent_id: int = 0,
        state: str = "",
        *,
        is_parent_remote: bool = False,
    ) -> RecordedSpan:
        return RecordedSpan(
            name,
            kind,
            trace_id=trace_id,
            span_id=self._sampling.new_span(),
            parent_id=parent_id,
            is_parent_remote=is_parent_remote,
            state=state,
            scope=self._scope,
            clock=self._clock,
            finish=self._finish,
        )


class Tracers(TracerProvider):
    """Gives each library its tracer."""

    def __init__(
        self, sampling: Sampling, finish: Callable[[RecordedSpan], None], clock: Clock, *, is_on: bool
    ) -> None:
        self._sampling, self._finish, self._clock, self._is_on = sampling, finish, clock, is_on

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> SamplingTracer:
        """Return the tracer of a library."""
        scope = Scope(instrumenting_module_name, instrumenting_library_version or "", schema_url or "")
        return SamplingTracer(scope, self._sampling, self._finish, self._clock, is_on=self._is_on)


def _with_baggage(text: str, context: Context) -> Context:
    for key, value in baggage_of(text).items():
        context = baggage.set_baggage(key, value, context)
    return context
