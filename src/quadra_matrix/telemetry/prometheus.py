"""Counters and histograms that all processes of a service share, in Prometheus text."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from quadra_matrix.errors import QuadraError
from quadra_matrix.telemetry.durations import Durations, newest
from quadra_matrix.telemetry.labels import Combinations, Labels, shown_value
from quadra_matrix.telemetry.shared import Count, SharedSeries
from quadra_matrix.telemetry.table import Metric

log = logging.getLogger(__name__)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: a prediction takes one millisecond, a slow upload ten seconds."""


Series = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels of one number."""


class Counter:
    """A number for each set of labels that only grows. Its name ends with ``_total``."""

    def __init__(self, series: SharedSeries, metric: Metric) -> None:
        self._series, self._metric = series, metric
        known = _known(series, "counter", metric.name, metric.labels)
        self._counts = Combinations(metric.labels, self._make, known=known)

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Add ``amount`` to the series with these label values."""
        self._counts.of(values).add(amount)

    def of(self, *values: str) -> Count:
        """Return the series with these label values; keep it where it is needed often."""
        return self._counts.of(values)

    def _make(self, values: Labels) -> Count:
        metric = self._metric
        family = metric.name.removesuffix("_total")
        return Count(self._series, [_file_key(family, metric.name, metric.labels, values, metric.help)])


class Histogram:
    """How long something took, in seconds, for each set of labels."""

    def __init__(self, series: SharedSeries, metric: Metric) -> None:
        self._series, self._metric = series, metric
        known = _known(series, "histogram", f"{metric.name}_sum", metric.labels)
        self._durations = Combinations(metric.labels, self._make, known=known)

    def observe(self, *values: str, seconds: float) -> None:
        """Count one duration in the series with these label values."""
        self._durations.of(values).observe(seconds)

    def of(self, *values: str) -> Durations:
        """Return the series with these label values; keep it where it is needed often."""
        return self._durations.of(values)

    def _make(self, values: Labels) -> Durations:
        """Return the sum and all buckets: one that is missing would read as a gap."""
        name, labels, text = self._metric.name, self._metric.labels, self._metric.help
        bounds = [floatToGoString(bound) for bound in (*BUCKETS, float("inf"))]
        buckets = [_file_key(name, f"{name}_bucket", (*labels, "le"), (*values, bound), text) for bound in bounds]
        return Durations(self._series, [_file_key(name, f"{name}_sum", labels, values, text), *buckets], BUCKETS)


def _known(series: SharedSeries, kind: str, name: str, labels: Labels) -> list[Labels]:
    """Return the label values of every series of ``name`` that an earlier process has left in our files."""
    keys = [json.loads(key) for key in series.keys(kind)]
    found = [values for _, written, values, _ in keys if written == name and set(values) == set(labels)]
    return [tuple(values[label] for label in labels) for values in found]


def _file_key(family: str, name: str, labels: Labels, values: Labels, description: str) -> str:
    """Return the text under which the files keep a series."""
    return mmap_key(family, name, list(labels), list(values), description)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is read when somebody asks, not counted, for each set of label values."""

    metric: Metric
    read: Callable[[], Mapping[Labels, float]]

    def collect(self) -> Iterable[Family]:
        """Return the numbers of now; none when they cannot be read, for the others matter most then."""
        family = GaugeMetricFamily(self.metric.name, self.metric.help, labels=self.metric.labels)
        try:
            numbers = self.read()
        except QuadraError as failed:
            log.warning("%s cannot be read: %s", self.metric.name, failed)
            return []
        for values, number in numbers.items():
            family.add_metric([shown_value(value) for value in values], number)
        return [family]


def exposition(series: SharedSeries, gauges: Iterable[Gauge], accept: str) -> tuple[bytes, str]:
    """Return all numbers in the format that the header ``accept`` asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    numbers = MultiProcessCollector(None, str(series.folder))
    has_exemplars = content_type.startswith("application/openmetrics-text")
    registry = CollectorRegistry()
    for collector in (WithExemplars(numbers, series.folder) if has_exemplars else numbers, *gauges):
        registry.register(collector)
    return encode(registry), content_type


class WithExemplars(Collector):
    """Numbers whose buckets name a trace each, where one was recorded; a process's example serves all."""

    def __init__(self, numbers: Collector, folder: Path) -> None:
        self._numbers, self._folder = numbers, folder

    def collect(self) -> Iterable[Family]:
        """Return every family of metrics."""
        examples = self._examples()
        for family in self._numbers.collect():
            family.samples = [
                sample._replace(exemplar=examples.get((sample.name, frozenset(sample.labels.items()))))
                for sample in family.samples
            ]
            yield family

    def _examples(self) -> dict[Series, Exemplar]:
        """Return the newest example of each bucket, of all processes."""
        files = [MmapedDict.read_all_values_from_file(str(file)) for file in self._folder.glob("exemplar_*.marks")]
        found = newest((key, left, right) for file in files for key, left, right, _ in file)
        keys = [(json.loads(key), example) for key, example in found.items()]
        return {
            (name, frozenset(labels.items())): Exemplar({"trace_id": example.trace_id}, example.seconds, example.at)
            for (_, name, labels, _), example in keys
        }
