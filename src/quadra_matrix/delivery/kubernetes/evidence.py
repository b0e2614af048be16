"""What pods counted and answer, through the API server's proxy: no port is opened and no image is pulled for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from quadra_matrix.delivery.counters import Counters, Reading
from quadra_matrix.delivery.kubernetes.cluster import Cluster
from quadra_matrix.delivery.model import Readiness
from quadra_matrix.delivery.plan import Check, Origin, Plan, Source
from quadra_matrix.delivery.ports import Evidence
from quadra_matrix.delivery.prometheus import PrometheusEvidence, Sample, counted, parse
from quadra_matrix.errors import CheckFailed, ClusterUnreachable, EvidenceMissing

SERVICE = replace(Source(), requests="quadra_http_requests_total", latency="quadra_http_request_duration_seconds")
"""What the ready service calls its counters; taken where a plan says nothing else."""


class PodEvidence:
    """An ``Evidence`` from the ready pods' own metrics."""

    def __init__(
        self, cluster: Cluster, ready: Callable[[str], Readiness], source: Source, custom: Iterable[str] = ()
    ) -> None:
        self._cluster, self._ready, self._source, self._custom = cluster, ready, source, tuple(custom)

    def read(self, version: str) -> Reading:
        """Return the raw counters of every pod."""
        addresses = self._ready(version).addresses
        if not addresses:
            raise EvidenceMissing(version, "no pod is ready")
        return Reading({address: self._scrape(address) for address in addresses})

    def _scrape(self, address: str) -> Counters:
        path = address + self._source.path
        try:
            answer = self._cluster.ask(path)
        except ClusterUnreachable as failed:
            raise EvidenceMissing(path, str(failed)) from failed
        if answer.status != 200:
            raise EvidenceMissing(path, f"it answered {answer.status}")
        samples = list(parse(answer.body.decode(errors="replace")))
        return counted(samples, _names(self._source, samples), self._custom)


def evidence_of(plan: Plan, cluster: Cluster, ready: Callable[[str], Readiness]) -> Evidence:
    """Return the evidence that a plan asks for: a Prometheus server where it names one, else the pods."""
    custom = [metric.name for metric in plan.metrics]
    if plan.evidence.origin is Origin.PROMETHEUS:
        return PrometheusEvidence(plan.evidence, custom)
    return PodEvidence(cluster, ready, plan.evidence, custom)


class PodChecks:
    """Sends smoke tests to pods."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(self, check: Check, address: str, name: str) -> tuple[int, bytes]:
        """Return status and body of what a check is answered."""
        body = None if check.body is None else check.body.encode()
        try:
            answer = self._cluster.ask(address + check.path, method=check.method, body=body, within=check.within)
        except ClusterUnreachable as failed:
            raise CheckFailed(name, f"no answer in {check.within:g} s: {failed}") from failed
        return answer.status, answer.body


def _names(source: Source, samples: Iterable[Sample]) -> Source:
    """Return what the counters are called: as the plan says, or as in the ready service when it says nothing."""
    is_plain = (source.requests, source.latency) == (Source().requests, Source().latency)
    if is_plain and any(sample.name == SERVICE.requests for sample in samples):
        return replace(source, requests=SERVICE.requests, latency=SERVICE.latency)
    return source
