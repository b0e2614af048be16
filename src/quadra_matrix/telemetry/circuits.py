"""Circuit breakers among the metrics: state, time in it, transitions, and calls by outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from quadra_matrix.telemetry.prometheus import Counter, Gauge
from quadra_matrix.telemetry.shared import SharedSeries
from quadra_matrix.telemetry.table import CIRCUIT_CALLS, CIRCUIT_SECONDS, CIRCUIT_STATE

STATES = {"closed": 0.0, "open": 1.0, "half_open": 2.0}
OUTCOMES = {
    "success": "successes",
    "failure": "failures",
    "ignored": "ignored",
    "slow": "slow",
    "rejected": "rejected",
    "stale": "stale",
}
"""Outcome -> the count of a snapshot. Slow and stale calls are also a success, a failure or ignored."""


class Circuit(Protocol):
    """A breaker at one moment. It has every count that ``OUTCOMES`` names besides."""

    @property
    def name(self) -> str:
        """The breaker's name."""

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``."""

    @property
    def seconds_in_state(self) -> float:
        """Seconds since the state changed."""


class CircuitMetrics:
    """The series of this process's circuits. Counts are shared by all processes; may be shared between threads.

    A breaker counts by itself, without a lock. What it counted is added to the shared series at each of its transitions
    and when this process answers a scrape, so no request pays for it. The gauges are those of the answering process.
    """

    def __init__(self, series: SharedSeries, read: Callable[[], Iterable[Circuit]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._added: dict[tuple[str, str], int] = {}
        self._calls = Counter(series, CIRCUIT_CALLS)

    def add_calls(self) -> None:
        """Add what the breakers of this process counted since the last time."""
        with self._lock:
            for circuit in self._read():
                for outcome, count in OUTCOMES.items():
                    key, now = (circuit.name, outcome), int(getattr(circuit, count))
                    # A breaker that was removed and made again counts from 0; what it counted in between may be lost.
                    new = now - self._added.get(key, 0) if now >= self._added.get(key, 0) else now
                    self._added[key] = now
                    self._calls.add(*key, amount=new)

    def gauges(self) -> tuple[Gauge, ...]:
        """Return what is read at each scrape."""
        return (
            Gauge(CIRCUIT_STATE, lambda: self._each(lambda circuit: STATES[circuit.state])),
            Gauge(CIRCUIT_SECONDS, lambda: self._each(lambda circuit: circuit.seconds_in_state)),
        )

    def _each(self, number: Callable[[Circuit], float]) -> Mapping[tuple[str, ...], float]:
        return {(circuit.name,): number(circuit) for circuit in self._read()}
