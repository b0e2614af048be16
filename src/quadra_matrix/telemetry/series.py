"""The series of the ready service: what is counted, under which names and labels."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from quadra_matrix import __version__
from quadra_matrix.events import Event
from quadra_matrix.events.breaker import CircuitClosed, CircuitHalfOpened, CircuitOpened
from quadra_matrix.telemetry.circuits import Circuit, CircuitMetrics
from quadra_matrix.telemetry.durations import Durations
from quadra_matrix.telemetry.listener import Listener, Note, no_note
from quadra_matrix.telemetry.prometheus import Counter, Gauge, Histogram, exposition
from quadra_matrix.telemetry.shared import Count, SharedSeries
from quadra_matrix.telemetry.table import BUILD, DURATIONS, JOBS, REQUESTS, SPANS

State = TypeVar("State", bound=str)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "(none)"
"""The route of a request that no route matches, so that random paths are one series."""


class Metrics:
    """What the service counts. All processes that name the same folder count together; shared between threads."""

    def __init__(
        self,
        folder: Path,
        gauges: tuple[Gauge, ...] = (),
        circuits: Callable[[], Iterable[Circuit]] = tuple,
        note: Note = no_note,
    ) -> None:
        """``circuits`` returns the breakers of this process; ``note`` makes an event part of the current span."""
        self._series = SharedSeries(folder)
        self._listener = Listener(self._series, note)
        self._circuits = CircuitMetrics(self._series, circuits)
        self._gauges = (_build_info(), *gauges, *self._circuits.gauges())
        self._requests = Counter(self._series, REQUESTS)
        self._durations = Histogram(self._series, DURATIONS)
        self._answers: dict[tuple[str, str | None, int], tuple[Count, Durations]] = {}
        self._spans = Counter(self._series, SPANS)

    def request(self, method: str, route: str | None, status: int, seconds: float, trace_id: int = 0) -> None:
        """Count one answered request. ``route`` is the matched pattern, or None; the trace, if recorded, an example."""
        count, durations = self._answers.get((method, route, status)) or self._answer(method, route, status)
        durations.observe(seconds, count, trace_id)

    def _answer(self, method: str, route: str | None, status: int) -> tuple[Count, Durations]:
        """Return the series that such a request is counted in; made-up methods are not remembered."""
        known, pattern = method if method in METHODS else "OTHER", route or UNMATCHED
        series = self._requests.of(known, pattern, str(status)), self._durations.of(known, pattern)
        return self._answers.setdefault((method, route, status), series) if known == method else series

    def spans(self, outcome: str, number: int) -> None:
        """Count spans that were ``sent`` or ``dropped``; the ``report`` of tracing."""
        self._spans.add(outcome, amount=number)

    def hear(self, event: Event) -> None:
        """Count, note and log what is announced, as the table says; a ``Hook``."""
        self._listener.hear(event)
        if isinstance(event, CircuitOpened | CircuitHalfOpened | CircuitClosed):
            self._circuits.add_calls()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the numbers of all processes in the format that ``accept`` asks for, and its content type."""
        self._circuits.add_calls()
        return exposition(self._series, self._gauges, accept)

    def close(self) -> None:
        """Let go of the files; the numbers stay."""
        self._series.close()


def training_jobs(count: Callable[[], Mapping[State, int]]) -> Gauge:
    """Return the gauge of training jobs by state, read from the job table at each scrape."""
    return Gauge(JOBS, lambda: {(str(state),): number for state, number in count().items()})


def _build_info() -> Gauge:
    return Gauge(BUILD, lambda: {(__version__, platform.python_version()): 1})
