"""Counters and histograms that all processes of a service share, in Prometheus text."""

from __future__ import annotations

import bisect
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from quadra_matrix.errors import QuadraError
from quadra_matrix.telemetry.slot import Slot

log = logging.getLogger(__name__)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: a prediction takes one millisecond, a slow upload ten seconds."""

Labels = tuple[str, ...]


class SharedSeries:
    """The numbers of this process in files of ``folder``, where every process finds those of the others.

    prometheus_client's own multi-process mode is chosen by a variable of the environment before its first import, names
    its files by process id and so adds files with every restart. This writes the same files by slot: a restarted worker
    goes on where its predecessor stopped. May be shared between threads; notices a fork.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open()

    def add(self, kind: str, amounts: Iterable[tuple[str, float]]) -> None:
        """Add to the series of some keys, all of one kind: ``counter`` or ``histogram``."""
        with self._lock:
            if self._process != os.getpid():
                self._slot.release()
                self._open()
            file = self._files[kind]
            for key, amount in amounts:
                file.write_value(key, file.read_value(key)[0] + amount, 0.0)

    def close(self) -> None:
        """Close the files and give the slot back. The numbers stay."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._slot.release()

    def collector(self) -> Collector:
        """Return what reads the sum over all processes, ended ones included."""
        return MultiProcessCollector(None, str(self._folder))

    def _open(self) -> None:
        self._process = os.getpid()
        self._slot = Slot(self._folder)
        self._files = {kind: self._file(f"{kind}_{self._slot.number}") for kind in ("counter", "histogram")}

    def _file(self, name: str) -> MmapedDict:
        path = self._folder / f"{name}.db"
        if path.exists():
            return MmapedDict(str(path))
        unready = path.with_suffix(".new")  # a reader must not meet the file before its head is written
        file = MmapedDict(str(unready))
        unready.rename(path)
        return file


class Counter:
    """A number for each set of labels that only grows. Its name ends with ``_total``."""

    def __init__(self, series: SharedSeries, name: str, description: str, labels: Labels) -> None:
        self._series, self._name, self._description, self._labels = series, name, description, labels
        self._keys: dict[Labels, str] = {}

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Add ``amount`` to the series with these label values."""
        self._series.add("counter", [(self._keys.get(values) or self._key(values), amount)])

    def _key(self, values: Labels) -> str:
        key = _file_key(self._name.removesuffix("_total"), self._name, self._labels, values, self._description)
        return self._keys.setdefault(values, key)


class Histogram:
    """How long something took, in seconds, for each set of labels."""

    def __init__(self, series: SharedSeries, name: str, description: str, labels: Labels) -> None:
        self._series, self._name, self._description, self._labels = series, name, description, labels
        self._keys: dict[Labels, tuple[str, ...]] = {}

    def observe(self, *values: str, seconds: float) -> None:
        """Count one duration in the series with these label values."""
        total, *buckets = self._keys.get(values) or self._make(values)
        bucket = buckets[bisect.bisect_left(BUCKETS, seconds)]
        self._series.add("histogram", [(total, seconds), (bucket, 1.0)])

    def _make(self, values: Labels) -> tuple[str, ...]:
        """Return the keys of the sum and of every bucket, and write them: a bucket that is missing reads as a gap."""
        bounds = [floatToGoString(bound) for bound in (*BUCKETS, float("inf"))]
        total = _file_key(self._name, f"{self._name}_sum", self._labels, values, self._description)
        labels = (*self._labels, "le")
        name = f"{self._name}_bucket"
        buckets = [_file_key(self._name, name, labels, (*values, bound), self._description) for bound in bounds]
        keys = self._keys.setdefault(values, (total, *buckets))
        self._series.add("histogram", [(key, 0.0) for key in keys])
        return keys


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
    for collector in (series.collector(), *gauges):
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
