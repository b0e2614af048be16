"""Counters and histograms that all processes of a service share, in Prometheus text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from quadra_matrix.errors import QuadraError
from quadra_matrix.telemetry.shared import Count, Durations, SharedSeries

log = logging.getLogger(__name__)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: a prediction takes one millisecond, a slow upload ten seconds."""

Labels = tuple[str, ...]


class Counter:
    """A number for each set of labels that only grows. Its name ends with ``_total``."""

    def __init__(self, series: SharedSeries, name: str, description: str, labels: Labels) -> None:
        self._series, self._name, self._description, self._labels = series, name, description, labels
        self._counts: dict[Labels, Count] = {}

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Add ``amount`` to the series with these label values."""
        self.of(*values).add(amount)

    def of(self, *values: str) -> Count:
        """Return the series with these label values; keep it where it is needed often."""
        return self._counts.get(values) or self._counts.setdefault(values, self._make(values))

    def _make(self, values: Labels) -> Count:
        family = self._name.removesuffix("_total")
        return Count(self._series, [_file_key(family, self._name, self._labels, values, self._description)])


class Histogram:
    """How long something took, in seconds, for each set of labels."""

    def __init__(self, series: SharedSeries, name: str, description: str, labels: Labels) -> None:
        self._series, self._name, self._description, self._labels = series, name, description, labels
        self._durations: dict[Labels, Durations] = {}

    def observe(self, *values: str, seconds: float) -> None:
        """Count one duration in the series with these label values."""
        self.of(*values).observe(seconds)

    def of(self, *values: str) -> Durations:
        """Return the series with these label values; keep it where it is needed often."""
        return self._durations.get(values) or self._durations.setdefault(values, self._make(values))

    def _make(self, values: Labels) -> Durations:
        """Return the sum and all buckets: one that is missing would read as a gap."""
        labels, name = (*self._labels, "le"), f"{self._name}_bucket"
        bounds = [floatToGoString(bound) for bound in (*BUCKETS, float("inf"))]
        total = _file_key(self._name, f"{self._name}_sum", self._labels, values, self._description)
        buckets = [_file_key(self._name, name, labels, (*values, bound), self._description) for bound in bounds]
        return Durations(self._series, [total, *buckets], BUCKETS)


def _file_key(family: str, name: str, labels: Labels, values: Labels, description: str) -> str:
    """Return the text under which the files keep a series."""
    return mmap_key(family, name, list(labels), list(values), description)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is read when somebody asks, not counted, for each set of label values."""

    name: str
    description: str
    labels: Labels
    read: Callable[[], Mapping[Labels, float]]

    def collect(self) -> Iterable[Metric]:
        """Return the numbers of now; none when they cannot be read, for the others matter most then."""
        family = GaugeMetricFamily(self.name, self.description, labels=self.labels)
        try:
            numbers = self.read()
        except QuadraError as failed:
            log.warning("%s cannot be read: %s", self.name, failed)
            return []
        for values, number in numbers.items():
            family.add_metric(values, number)
        return [family]


def exposition(series: SharedSeries, gauges: Iterable[Gauge], accept: str) -> tuple[bytes, str]:
    """Return all numbers in the format that the header ``accept`` asks for, and its content type."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(series.folder))
    for gauge in gauges:
        registry.register(gauge)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
