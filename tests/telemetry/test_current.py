"""The current span gives log lines its ids and takes events of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask

from quadra_matrix.telemetry.flask import setup_distributed_tracing
from quadra_matrix.telemetry.otel.current import current_ids, note
from quadra_matrix.telemetry.span import Span, SpanEvent


def noted(facts: Mapping[str, Any]) -> list[SpanEvent]:
    """Return the events of a span within which these facts were told."""
    finished: list[Span] = []
    tracing = setup_distributed_tracing(Flask("test"), "embedded", deliver=finished.extend)
    with tracing.create_span("work"):
        note("circuit_opened", lambda: facts)
    tracing.close()
    return list(finished[0].events)


def test_an_event_stands_in_the_span_with_its_facts() -> None:
    (event,) = noted({"breaker.name": "pay", "breaker.failures": 3, "breaker.open_for": None, "api.errors": ("a", "b")})

    assert event.name == "circuit_opened"
    assert event.attributes == {"breaker.name": "pay", "breaker.failures": 3, "api.errors": ("a", "b")}


def test_secrets_stay_behind() -> None:
    (event,) = noted({"experiments.reason": "cannot reach postgresql://me:hunter2@db/x"})

    assert event.attributes == {"experiments.reason": "cannot reach postgresql://***@db/x"}


def test_outside_a_recorded_span_nobody_asks_for_facts() -> None:
    note("circuit_opened", lambda: pytest.fail("built for nobody"))


def test_the_ids_are_those_of_the_current_span() -> None:
    tracing = setup_distributed_tracing(Flask("test"), "none")

    assert current_ids() == {}
    with tracing.create_span("work") as span:
        context = span.get_span_context()
        assert current_ids() == {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    tracing.close()
