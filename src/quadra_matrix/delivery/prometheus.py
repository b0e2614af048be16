"""Evidence from Prometheus text: scraped from the instances themselves, or asked of a Prometheus server.

Only raw counters are read, and differenced here: ``increase()`` extrapolates, and a test on counts needs the counts.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlencode

from quadra_matrix.delivery.counters import Counters, Reading
from quadra_matrix.delivery.model import Readiness
from quadra_matrix.delivery.plan import Origin, Plan, Source
from quadra_matrix.delivery.ports import Evidence
from quadra_matrix.errors import EvidenceMissing

WITHIN = 5.0
"""Seconds a scrape or a query may take."""
SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+([-+.\w]+)")
LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one series."""

    name: str
    labels: dict[str, str]
    value: float


class Instances(Protocol):
    """Who knows where a version's instances are."""

    def ready(self, version: str) -> Readiness:
        """Return the instances that answer."""


def parse(text: str) -> Iterator[Sample]:
    """Yield the samples of the text format; comments and what is no number are left out."""
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        labels = {name: re.sub(r"\\(.)", r"\1", quoted) for name, quoted in LABEL.findall(found[2] or "")}
        yield Sample(found[1], labels, value)


def counted(samples: Iterable[Sample], source: Source, custom: Iterable[str] = ()) -> Counters:
    """Return the counters that a source's names mean, over the samples of one instance."""
    requests = errors = 0.0
    below: dict[float, float] = {}
    own = dict.fromkeys(custom, 0.0)
    for sample in samples:
        if sample.name == source.requests:
            requests += sample.value
            errors += sample.value if re.fullmatch(source.failed, sample.labels.get(source.status, "")) else 0.0
        elif sample.name == f"{source.latency}_bucket":
            bound = float(sample.labels["le"]) * 1000.0
            below[bound] = below.get(bound, 0.0) + sample.value
        elif sample.name in own:
            own[sample.name] += sample.value
    timed = below.pop(float("inf"), 0.0)
    slower = {bound: int(timed - count) for bound, count in below.items()}
    return Counters(
        int(requests), int(errors), slower=slower, timed=int(timed), custom={name: int(n) for name, n in own.items()}
    )


class ScrapedEvidence:
    """An ``Evidence`` from the instances' own ``/metrics``. Only ready instances are read."""

    def __init__(self, source: Source, instances: Instances, custom: Iterable[str] = ()) -> None:
        self._source, self._instances, self._custom = source, instances, tuple(custom)

    def read(self, version: str) -> Reading:
        """Return the raw counters of every instance."""
        addresses = self._instances.ready(version).addresses
        if not addresses:
            raise EvidenceMissing(version, "no instance is ready")
        return Reading({address: self._scrape(address) for address in addresses})

    def _scrape(self, address: str) -> Counters:
        text = _get(address + self._source.path).decode(errors="replace")
        return counted(parse(text), self._source, self._custom)


class PrometheusEvidence:
    """An ``Evidence`` from a Prometheus server: instant queries for raw counters, by instance."""

    def __init__(self, source: Source, custom: Iterable[str] = ()) -> None:
        self._source, self._custom = source, tuple(custom)

    def read(self, version: str) -> Reading:
        """Return the raw counters of every instance."""
        source = self._source
        names = [source.requests, f"{source.latency}_bucket", *self._custom]
        by_instance: dict[str, list[Sample]] = {}
        for name in names:
            for sample in self._query(f'{name}{{{source.version}="{version}"}}'):
                by_instance.setdefault(sample.labels.get("instance", ""), []).append(sample)
        if not by_instance:
            raise EvidenceMissing(f"{source.url}", f"it knows no {source.requests} of {version}")
        return Reading({name: counted(found, source, self._custom) for name, found in by_instance.items()})

    def _query(self, query: str) -> list[Sample]:
        answer = json.loads(_get(f"{self._source.url}/api/v1/query?{urlencode({'query': query})}"))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return [Sample(one["metric"].get("__name__", ""), dict(one["metric"]), float(one["value"][1])) for one in found]


class BothEvidence:
    """An ``Evidence`` of the traffic layer, with the user's own counters from the instances."""

    def __init__(self, traffic: Evidence, own: Evidence) -> None:
        self._traffic, self._own = traffic, own

    def read(self, version: str) -> Reading:
        """Return the traffic layer's counters beside those of the instances: they are added up as if of two."""
        seen, own = self._traffic.read(version), self._own.read(version)
        extra = {f"own/{name}": replace(Counters(), custom=one.custom) for name, one in own.instances.items()}
        return Reading({**seen.instances, **extra}, seen.strays)


def evidence_of(plan: Plan, traffic: Evidence, instances: Instances) -> Evidence:
    """Return the evidence that a plan asks for."""
    custom = [metric.name for metric in plan.metrics]
    if plan.evidence.origin is Origin.PROMETHEUS:
        return PrometheusEvidence(plan.evidence, custom)
    scraped = ScrapedEvidence(plan.evidence, instances, custom)
    if plan.evidence.origin is Origin.METRICS:
        return scraped
    return BothEvidence(traffic, scraped) if custom else traffic


def _get(url: str) -> bytes:
    """Return what an address answers. Raises ``EvidenceMissing``."""
    try:
        with urllib.request.urlopen(url, timeout=WITHIN) as answer:  # noqa: S310  plans accept http and https only
            text: bytes = answer.read()
            return text
    except (OSError, ValueError) as failed:
        raise EvidenceMissing(url, str(failed)) from failed
