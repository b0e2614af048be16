"""A finished span as a plain value: what the Zipkin encoder, the trace store and the waterfall read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | bool | int | float | tuple[str, ...] | tuple[bool, ...] | tuple[int, ...] | tuple[float, ...]
"""What an attribute may hold."""

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
"""The kinds of a span by their numbers in OTLP; 0 is one that nobody said."""
LARGEST_TIME = 2**63 - 1
"""Nanoseconds; the largest number that SQLite keeps."""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span, such as an exception."""

    name: str
    at: int
    """Nanoseconds since the epoch, UTC."""
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One finished piece of work of a trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str | None
    name: str
    kind: str
    """``internal``, ``server``, ``client``, ``producer`` or ``consumer``."""
    start: int
    """Nanoseconds since the epoch, UTC."""
    end: int
    """Nanoseconds since the epoch, UTC."""
    service: str
    error: str | None = None
    """What failed; None unless the span's status is an error. Empty where the error says nothing."""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()

    @property
    def seconds(self) -> float:
        """Return how long the work took."""
        return max(0, self.end - self.start) / 1e9
