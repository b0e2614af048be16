"""The current span, for code that holds no ``Tracing``: its ids for log lines, and events of features within it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from quadra_matrix.telemetry.redact import redact


def current_ids() -> dict[str, str]:
    """Return ``trace_id`` and ``span_id`` of the current span, recorded or not; empty outside a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


def note(name: str, facts: Callable[[], Mapping[str, Any]]) -> None:
    """Add the event ``name`` and its facts to the current span; where none is recorded, ask for no facts."""
    span = trace.get_current_span()
    if span.is_recording():
        span.add_event(name, {key: _value(fact) for key, fact in facts().items() if fact is not None})


def _value(fact: object) -> AttributeValue:
    """Return a fact as an attribute; what is told in words may hold a secret."""
    if isinstance(fact, bool | int | float):
        return fact
    if isinstance(fact, tuple | list):
        return tuple(redact(str(item)) for item in fact)
    return redact(str(fact))
