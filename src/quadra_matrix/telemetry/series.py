"""The series of the ready service: what is counted, under which names and labels."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from quadra_matrix import __version__
from quadra_matrix.events import Event
from quadra_matrix.events.models import Predicted
from quadra_matrix.telemetry.circuits import Circuit, CircuitMetrics
from quadra_matrix.telemetry.prometheus import Counter, Gauge, Histogram, exposition
from quadra_matrix.telemetry.shared import Count, Durations, SharedSeries

State = TypeVar("State", bound=str)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "(none)"
"""The route of a request that no route matches, so that random paths are one series."""


class Metrics:
    """What the service counts. All processes that name the same folder count together; shared between threads."""

    def __init__(
        self, folder: Path, gauges: tuple[Gauge, ...] = (), circuits: Callable[[], Iterable[Circuit]] = tuple
    ) -> None:
        """``circuits`` returns the breakers of this process."""
        self._series = SharedSeries(folder)
        self._circuits = CircuitMetrics(self._series, circuits)
        self._gauges = (_build_info(), *gauges, *self._circuits.gauges())
        self._requests = Counter(
            self._series,
            "quadra_http_requests_total",
            "Requests answered, by the route's pattern.",
            ("method", "route", "status"),
        )
        self._durations = Histogram(
            self._series,
            "quadra_http_request_duration_seconds",
            "Seconds from a request's arrival to its answer, by the route's pattern.",
            ("method", "route"),
        )
        self._answers: dict[tuple[str, str | None, int], tuple[Count, Durations]] = {}
        self._predictions = Counter(
            self._series,
            "quadra_predictions_total",
            "Prediction requests answered, by model and version.",
            ("model", "version"),
        )
        self._rows = Counter(
            self._series, "quadra_predicted_rows_total", "Rows predicted, by model and version.", ("model", "version")
        )

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count one answered request. ``route`` is the matched pattern, or None."""
        found = self._answers.get((method, route, status)) or self._answer(method, route, status)
        found[0].add()
        found[1].observe(seconds)

    def hear(self, event: Event) -> None:
        """Count what is announced; a ``Hook``."""
        match event:
            case Predicted(model, version, rows):
                self._predictions.add(model, str(version))
                self._rows.add(model, str(version), amount=rows)
            case _:
                self._circuits.hear(event)

    def _answer(self, method: str, route: str | None, status: int) -> tuple[Count, Durations]:
        """Return the series that such a request is counted in; made-up methods are not remembered."""
        known, pattern = method if method in METHODS else "OTHER", route or UNMATCHED
        series = self._requests.of(known, pattern, str(status)), self._durations.of(known, pattern)
        return self._answers.setdefault((method, route, status), series) if known == method else series

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the numbers of all processes in the format that ``accept`` asks for, and its content type."""
        self._circuits.add_calls()
        return exposition(self._series, self._gauges, accept)

    def close(self) -> None:
        """Let go of the files; the numbers stay."""
        self._series.close()


def training_jobs(count: Callable[[], Mapping[State, int]]) -> Gauge:
    """Return the gauge of training jobs by state, read from the job table at each scrape."""
    return Gauge(
        "quadra_training_jobs",
        "Training jobs in the job table, by state.",
        ("state",),
        lambda: {(str(state),): number for state, number in count().items()},
    )


def _build_info() -> Gauge:
    labels = (__version__, platform.python_version())
    return Gauge("quadra_build_info", "Always 1; the labels say what runs.", ("version", "python"), lambda: {labels: 1})
