"""Clusters with the shipped manifests applied and ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra_matrix.delivery.kubernetes.cluster import Answer, Cluster, Resource
from quadra_matrix.delivery.kubernetes.gateway import weights_of
from quadra_matrix.delivery.model import Kind
from quadra_matrix.delivery.place import Split
from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import Asked, FakeKubernetes
from tests.delivery.kubernetes.rig import APP, K8S, Rig, Traffic, Version, manifests


class Direct(Cluster):
    traffic: Traffic

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, within: float = 10.0) -> Answer:
        pod, _, rest = path.partition("/pods/")[2].partition("/proxy")
        said = self.traffic.answer(Asked(method, rest, "", {}, body or b"", pod.partition(":")[0], 5000))
        return Answer(said.status, said.body)


def set_up(folder: Path, place: Path, service: str, kind: Kind, split: Split = Split.REPLICAS) -> Iterator[Rig]:
    clock = FakeClock()
    traffic = Traffic(clock, {}, {service: 1.0})
    with FakeKubernetes(clock=clock) as fake:
        traffic.cluster = fake
        cluster = Direct.at(kubeconfig=fake.kubeconfig(folder / "kubeconfig"))
        cluster.traffic = traffic
        rig = Rig(fake, clock, traffic, cluster, kind, split)
        rig.versions(**{"1.0.0": Version(), "v2": Version()})
        fake.create(*manifests(place))
        clock.advance(60.0)
        traffic.upto = rig.began = fake.now
        yield rig
        cluster.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A canary by replicas: nine pods of stable, one of the canary, version 1.0.0."""
    yield from set_up(tmp_path, K8S / "canary", f"{APP}-service", Kind.CANARY)


@pytest.fixture
def colours(tmp_path: Path) -> Iterator[Rig]:
    """Ten pods of blue with the traffic, ten of green, version 1.0.0."""
    yield from set_up(tmp_path, K8S / "blue-green", f"{APP}-production", Kind.BLUE_GREEN)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Rig]:
    """Ten pods of stable behind a route, none of the canary, version 1.0.0."""
    for rig in set_up(tmp_path, K8S / "gateway", f"{APP}-stable", Kind.CANARY, Split.GATEWAY):

        def split(cluster: Cluster = rig.cluster) -> dict[str, float]:
            stable, canary = weights_of(cluster.get(Resource.ROUTE, f"{APP}-route"), APP)
            return {f"{APP}-stable": stable / (stable + canary), f"{APP}-canary": canary / (stable + canary)}

        rig.traffic.split = split
        yield rig
