"""Clusters with the shipped manifests applied and ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra_matrix.delivery.kubernetes.cluster import Cluster, Resource
from quadra_matrix.delivery.kubernetes.gateway import weights_of
from quadra_matrix.delivery.model import Kind
from quadra_matrix.delivery.place import Split
from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.delivery.kubernetes.rig import APP, DEPLOYER, K8S, Rig, Traffic, Version, manifests, rights


def set_up(folder: Path, place: Path, service: str, kind: Kind, split: Split = Split.REPLICAS) -> Iterator[Rig]:
    clock = FakeClock()
    traffic = Traffic(clock, {}, {service: 1.0})
    with FakeKubernetes(clock=clock) as fake:
        traffic.cluster = fake
        admin = Cluster.at(kubeconfig=fake.kubeconfig(folder / "admin"))
        cluster = Cluster.at(kubeconfig=fake.kubeconfig(folder / "kubeconfig", user=DEPLOYER))
        rig = Rig(fake, clock, traffic, cluster, admin, folder, kind, split)
        rig.versions(**{"1.0.0": Version(), "v2": Version()})
        fake.create(*manifests(place), *rights())
        clock.advance(60.0)
        traffic.upto = rig.began = fake.now
        yield rig
        cluster.close()
        admin.close()


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
        yield weighing(rig)


def weighing(rig: Rig) -> Rig:
    """Return the rig whose requests flow as the weights of its route say."""

    def split() -> dict[str, float]:
        stable, canary = weights_of(rig.admin.get(Resource.ROUTE, f"{APP}-route"), APP)
        return {f"{APP}-stable": stable / (stable + canary), f"{APP}-canary": canary / (stable + canary)}

    rig.traffic.split = split
    return rig
