"""Circuit breakers among the metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quadra_matrix.breaker import CircuitBreaker, Registry
from quadra_matrix.telemetry.series import Metrics
from quadra_matrix.testing import FakeClock


class Down(Exception):
    pass


def fails() -> None:
    raise Down


@pytest.fixture
def metrics_of(tmp_path: Path) -> Iterator[Callable[[Registry], Metrics]]:
    with ExitStack() as closing:

        def make(circuits: Registry) -> Metrics:
            metrics = Metrics(tmp_path, circuits=lambda: [breaker.snapshot() for breaker in circuits])
            closing.callback(metrics.close)
            circuits.listen(metrics.hear)
            return metrics

        yield make


def numbers(metrics: Metrics) -> dict[tuple[str, ...], float]:
    text = metrics.exposition()[0].decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples if "circuit" in sample.name}


@pytest.fixture
def circuits() -> Registry:
    return Registry()


def test_state_transitions_and_calls_are_counted(metrics_of: Callable[[Registry], Metrics], circuits: Registry) -> None:
    clock = FakeClock()
    metrics = metrics_of(circuits)
    breaker = CircuitBreaker("bank", failure_threshold=2, recovery_timeout=30, registry=circuits, clock=clock)
    breaker.call(len, "abc")
    for _ in range(2):
        with contextlib.suppress(Down):
            breaker.call(fails)
    breaker.call(len, "abc", fallback=lambda: 0)
    clock.advance(12)

    seen = numbers(metrics)

    assert seen["quadra_circuit_state", "bank"] == 1
    assert seen["quadra_circuit_state_seconds", "bank"] == 12
    assert seen["quadra_circuit_transitions_total", "bank", "open"] == 1
    calls = {
        outcome: seen["quadra_circuit_calls_total", "bank", outcome] for outcome in ("success", "failure", "rejected")
    }
    assert calls == {"success": 1, "failure": 2, "rejected": 1}


def test_a_second_scrape_counts_no_call_twice(metrics_of: Callable[[Registry], Metrics], circuits: Registry) -> None:
    metrics = metrics_of(circuits)
    breaker = CircuitBreaker("bank", registry=circuits)
    breaker.call(len, "abc")
    numbers(metrics)
    breaker.call(len, "abc")

    assert numbers(metrics)["quadra_circuit_calls_total", "bank", "success"] == 2


def test_the_calls_of_all_processes_are_one_sum(metrics_of: Callable[[Registry], Metrics], circuits: Registry) -> None:
    ours, theirs = metrics_of(circuits), Registry()
    other = metrics_of(theirs)
    CircuitBreaker("bank", registry=circuits).call(len, "abc")
    CircuitBreaker("bank", registry=theirs).call(len, "abc")
    numbers(other)

    assert numbers(ours)["quadra_circuit_calls_total", "bank", "success"] == 2


def test_a_breaker_made_again_counts_on(metrics_of: Callable[[Registry], Metrics], circuits: Registry) -> None:
    metrics = metrics_of(circuits)
    breaker = CircuitBreaker("bank", registry=circuits)
    breaker.call(len, "abc")
    breaker.call(len, "abc")
    numbers(metrics)
    circuits.remove("bank")
    CircuitBreaker("bank", registry=circuits).call(len, "abc")

    assert numbers(metrics)["quadra_circuit_calls_total", "bank", "success"] == 3
