"""Events of features as events of the current span."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from quadra_matrix.telemetry.redact import redact


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
