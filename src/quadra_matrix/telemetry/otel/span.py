"""Spans by OpenTelemetry's API: one that is recorded, one that only keeps its ids. Both hold no more than was said.

The SDK's span copies, checks and locks at each call and again at its end, which costs more than a small request. What
these hold is checked by the encoders, on the exporting thread.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple

from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import AnyValue

from quadra_matrix.clock import Clock
from quadra_matrix.telemetry.propagation import Remote
from quadra_matrix.telemetry.redact import redact

SAMPLED, UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
NO_STATE = TraceState()
MOST = 128
"""Attributes, events and links of one span that are kept, as in the SDK; those beyond are counted."""

Attributes = Mapping[str, AnyValue] | None


class Scope(NamedTuple):
    """A library that makes spans."""

    name: str
    version: str = ""
    schema_url: str = ""


class Event(NamedTuple):
    """Something that happened within a span."""

    name: str
    at: int
    """Nanoseconds since the epoch, UTC."""
    attributes: dict[str, AnyValue]


class Link(NamedTuple):
    """Another span that has to do with this one."""

    context: SpanContext
    attributes: dict[str, AnyValue]


class UnrecordedSpan(NonRecordingSpan):
    """Keeps the ids of a trace that is not recorded, for logs and outgoing calls, and forgets everything else."""

    def __init__(self, ids: Remote, is_remote: bool) -> None:
        self._ids, self._is_remote = ids, is_remote

    def get_span_context(self) -> SpanContext:
        """Return the ids. They are put together only here, for most requests end before anybody asks."""
        trace_id, span_id, is_sampled, state = self._ids
        return SpanContext(trace_id, span_id, self._is_remote, SAMPLED if is_sampled else UNSAMPLED, trace_state(state))

    def __repr__(self) -> str:
        return f"UnrecordedSpan({self.get_span_context()!r})"


class RecordedSpan(ApiSpan):
    """A piece of work of a trace that is recorded; ``finish`` is given it at its end.

    Other threads may add to it. After its end nothing changes it.
    """

    records_exception = sets_status = True
    """What an exception does that leaves the span used as a block."""

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        *,
        trace_id: int,
        span_id: int,
        parent_id: int = 0,
        is_parent_remote: bool = False,
        state: str = "",
        scope: Scope,
        clock: Clock,
        finish: Callable[[RecordedSpan], None],
    ) -> None:
        """``parent_id`` is 0 for the first span of a trace."""
        self.name, self.kind, self.scope = name, kind, scope
        self.trace_id, self.span_id, self.state = trace_id, span_id, state
        self.parent_id, self.is_parent_remote = parent_id, is_parent_remote
        self.attributes: dict[str, AnyValue] = {}
        self.events: list[Event] = []
        self.links: list[Link] = []
        self.is_error: bool | None = None
        """None until somebody says how it ended."""
        self.description = ""
        self.dropped_attributes = self.dropped_events = self.dropped_links = 0
        self.end_time = 0
        self._clock, self._finish = clock, finish
        self.start_time = int(clock.now() * 1e9)
        self._began = clock.monotonic()

    def get_span_context(self) -> SpanContext:
        """Return what other processes and child spans need of this one."""
        return SpanContext(self.trace_id, self.span_id, False, SAMPLED, trace_state(self.state))

    def child(self, name: str, kind: SpanKind, scope: Scope) -> RecordedSpan:
        """Start a span within this one, made by the library ``scope``."""
        return RecordedSpan(
            name,
            kind,
            trace_id=self.trace_id,
            span_id=random.getrandbits(64) or 1,
            parent_id=self.span_id,
            state=self.state,
            scope=scope,
            clock=self._clock,
            finish=self._finish,
        )

    def begin_at(self, start_time: int) -> None:
        """Move the beginning to ``start_time``, in nanoseconds since the epoch."""
        self._began += (start_time - self.start_time) / 1e9
        self.start_time = start_time

    def is_recording(self) -> bool:
        """Tell whether the span has not ended."""
        return not self.end_time

    def end(self, end_time: int | None = None) -> None:
        """End the span now, or at ``end_time`` in nanoseconds since the epoch; only the first call counts."""
        # The clock may be set in between; a duration may not go back.
        at = end_time or self.start_time + int((self._clock.monotonic() - self._began) * 1e9)
        if self.end_time:
            return
        self.end_time = at
        self._finish(self)

    def update_name(self, name: str) -> None:
        """Replace the name."""
        if not self.end_time:
            self.name = name

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Set an attribute; one more than ``MOST`` is counted and dropped."""
        if self.end_time:
            return
        if len(self.attributes) >= MOST and key not in self.attributes:
            self.dropped_attributes += 1
            return
        self.attributes[key] = tuple(value) if isinstance(value, list) else value  # the caller may go on with the list

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Set several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add an event, at ``timestamp`` in nanoseconds since the epoch or now."""
        if self.end_time:
            return
        if len(self.events) >= MOST:
            self.dropped_events += 1
            return
        at = timestamp or self.start_time + int((self._clock.monotonic() - self._began) * 1e9)
        self.events.append(Event(name, at, dict(attributes or {})))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link another span."""
        if self.end_time:
            return
        if len(self.links) >= MOST:
            self.dropped_links += 1
            return
        self.links.append(Link(context, dict(attributes or {})))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how the work ended. ``OK`` is final; ``UNSET`` says nothing. A description's secrets are hidden."""
        code = status.status_code if isinstance(status, Status) else status
        if self.end_time or self.is_error is False or code is StatusCode.UNSET:
            return
        self.is_error = code is StatusCode.ERROR
        said = status.description if isinstance(status, Status) else description
        self.description = redact(said) if said and self.is_error else ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add ``exception`` as an event, its secrets hidden. ``escaped`` is obsolete and changes nothing."""
        facts: dict[str, AnyValue] = {
            "exception.type": type(exception).__qualname__,
            "exception.message": redact(str(exception)),
            "exception.stacktrace": redact("".join(traceback.format_exception(exception))),
        }
        self.add_event("exception", {**facts, **(attributes or {})}, timestamp)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            if self.records_exception:
                self.record_exception(error)
            if self.sets_status:
                self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
        self.end()

    def fail(self, error: BaseException) -> None:
        """Record that ``error`` ended the work: as an event, as the attribute ``error.type`` and as the status."""
        kind, message = type(error).__qualname__, str(error)
        self.record_exception(error)
        self.set_attribute("error.type", kind)
        self.set_status(StatusCode.ERROR, f"{kind}: {message}" if message else kind)


def trace_state(text: str) -> TraceState:
    """Return ``tracestate`` as the API has it; what cannot be read is left out."""
    return TraceState.from_header([text]) if text else NO_STATE
