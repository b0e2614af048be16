"""The shipped manifests on the fake API server, requests that flow with the clock, and the driver before it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from quadra_matrix.delivery.kubernetes.cluster import Cluster, Resource
from quadra_matrix.delivery.kubernetes.ground import ground
from quadra_matrix.delivery.kubernetes.names import REVISION
from quadra_matrix.delivery.model import Kind, Observation, Rollout
from quadra_matrix.delivery.place import Place, Platform, Split
from quadra_matrix.delivery.plan import Plan, Step
from quadra_matrix.delivery.site import Site
from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import Asked, FakeKubernetes, Image, ReadyPod, Said
from tests.services.process import needs

Json = dict[str, Any]
K8S = Path(__file__).parents[3] / "k8s"
UNKNOWN = {"ServiceMonitor", "Gateway"}
"""Kinds of the manifests that a cluster has only with an operator, as the fake has not."""
APP = "quadra-matrix"
DEPLOYER = f"system:serviceaccount:default:{APP}-deployer"
PLAN = Plan(
    steps=(Step(10, 20), Step(25, 20), Step(50, 20), Step(100, 20)),
    baseline=30,
    patience=300,
    place=Place(Platform.KUBERNETES),
)


@dataclass(frozen=True, slots=True)
class Version:
    """How a version behaves."""

    error_rate: float = 0.0
    slow_rate: float = 0.02
    """Share of requests that take 500 ms instead of 5."""
    health: int = 200
    image: Image = field(default_factory=lambda: Image(ready_after=2.0))


@dataclass
class Traffic:
    """Requests that flow to the ready pods behind a Service, evenly, as the clock moves on."""

    clock: FakeClock
    versions: dict[str, Version]
    shares: dict[str, float]
    """Service -> share of the requests."""
    split: Callable[[], dict[str, float]] | None = None
    """Returns the shares, where they are weights; those of the last reading count until the next."""
    rate: float = 200.0
    """Requests a second, over all pods."""
    cluster: FakeKubernetes | None = None
    counted: dict[str, list[float]] = field(default_factory=dict)
    """Pod -> requests, errors, slow ones."""
    upto: float = 0.0

    def answer(self, asked: Asked) -> Said:
        """Answer a request to a pod."""
        version = self.versions[self.version_of(asked.pod)]
        if asked.path == "/metrics":
            self.flow()
            return Said(body=metrics(*self.counted.get(asked.pod, [0.0, 0.0, 0.0])).encode())
        return Said(version.health, b'{"status": "ok"}', "application/json")

    def version_of(self, pod: str) -> str:
        assert self.cluster is not None
        return next(
            one.images[0].rpartition(":")[2] for one in self.cluster.history.instants[-1].pods if one.name == pod
        )

    def flow(self) -> None:
        """Let the requests happen that came since the last reading, to whoever was behind the Service then."""
        assert self.cluster is not None
        now, instants = self.cluster.now, list(self.cluster.history.from_(self.upto))
        for instant, end in zip(instants, [one.at for one in instants[1:]] + [now], strict=True):
            seconds = max(0.0, end - max(instant.at, self.upto))
            for service, share in self.shares.items():
                pods = instant.behind(service)
                for pod in pods:
                    self._count(pod, seconds * self.rate * share / len(pods))
        self.upto = now
        if self.split is not None:
            self.shares = self.split()

    def _count(self, pod: ReadyPod, came: float) -> None:
        behaves = self.versions[pod.images[0].rpartition(":")[2]]
        exact = self.counted.setdefault(pod.name, [0.0, 0.0, 0.0])
        for place, part in enumerate((1.0, behaves.error_rate, behaves.slow_rate)):
            exact[place] += came * part


def metrics(requests: float, errors: float, slow: float) -> str:
    """Return what a pod of the ready service counts, as Prometheus text."""
    fine, bad, late = int(requests) - int(errors), int(errors), int(slow)
    buckets = {"0.005": int(requests) - late, "0.25": int(requests) - late, "0.5": int(requests), "+Inf": int(requests)}
    lines = [f'quadra_http_requests_total{{status="200"}} {fine}', f'quadra_http_requests_total{{status="500"}} {bad}']
    lines += [f'quadra_http_request_duration_seconds_bucket{{le="{le}"}} {count}' for le, count in buckets.items()]
    return "\n".join(lines) + "\n"


def manifests(base: Path) -> Iterator[Json]:
    """Yield the objects of a kustomization that the fake knows."""
    needs("kubectl", "apt-get install kubernetes-client")
    built = subprocess.run(["kubectl", "kustomize", str(base)], capture_output=True, text=True, check=True).stdout
    for body in yaml.safe_load_all(built):
        if body["kind"] not in UNKNOWN:
            yield body


def rights() -> Iterator[Json]:
    """Yield the objects of k8s/rbac.yaml."""
    yield from yaml.safe_load_all((K8S / "rbac.yaml").read_text())


@dataclass
class Rig:
    """A cluster with the shipped objects in it. The driver has the rights of the shipped role, and no other."""

    fake: FakeKubernetes
    clock: FakeClock
    traffic: Traffic
    cluster: Cluster
    admin: Cluster
    folder: Path
    kind: Kind = Kind.CANARY
    split: Split = Split.REPLICAS
    began: float = 0.0

    def versions(self, **given: Version) -> None:
        """Say how versions behave; ``v2`` is version 2."""
        for name, version in given.items():
            number = name.removeprefix("v")
            self.traffic.versions[number] = version
            self.fake.images[f"{APP}:{number}"] = _answering(version.image, self.traffic)

    def site(self, *, anew: bool = False, **place: Any) -> Site:
        where = Place(Platform.KUBERNETES, split=self.split, **place)
        return Site(ground(where, self.kind, self.cluster, clock=self.clock, anew=anew), self.clock)

    def deploy(self, version: str = "2", plan: Plan = PLAN, **options: Any) -> Rollout:
        return self.site(anew=True).deploy(self.kind, version, plan, unseen, **options)

    def get(self, resource: Resource, name: str) -> Json:
        return self.admin.get(resource, name)

    def replicas(self) -> tuple[int, int]:
        stable, canary = (self.get(Resource.DEPLOYMENT, f"{APP}-{one}") for one in ("stable", "canary"))
        return stable["spec"]["replicas"], canary["spec"]["replicas"]

    def kubectl(self, *words: str) -> str:
        """Run the stock kubectl as an administrator and return what it prints."""
        command = [
            "kubectl",
            "--kubeconfig",
            str(self.folder / "admin"),
            "--cache-dir",
            str(self.folder / "cache"),
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def fewest(self, service: str = f"{APP}-service") -> int:
        """Return the fewest ready pods that the Service had since the rig was set up."""
        return self.fake.history.fewest_behind(service, since=self.began)

    def shown(self) -> dict[str, Json]:
        """Return what a rollout may change, without what only counts changes."""
        found = {}
        resources = (Resource.DEPLOYMENT, Resource.SERVICE, Resource.AUTOSCALER, Resource.BUDGET, Resource.ROUTE)
        for resource in resources:
            for body in self.admin.list(resource, {}):
                bare = {key: value for key, value in body.items() if key != "status"}
                bare["metadata"] = {
                    key: value
                    for key, value in body["metadata"].items()
                    if key not in {"generation", "resourceVersion", "managedFields"}
                }
                notes = dict(body["metadata"].get("annotations") or {})
                for count in ("deployment.kubernetes.io/revision", REVISION):  # they only say that something changed
                    notes.pop(count, None)
                bare["metadata"]["annotations"] = notes
                found[f"{resource.plural}/{body['metadata']['name']}"] = bare
        return found


def unseen(rollout: Rollout, seen: Observation) -> None:
    """Show nothing."""


def _answering(image: Image, traffic: Traffic) -> Image:
    from dataclasses import replace

    return replace(image, answer=traffic.answer)
