"""One contract for every driver: the platform in memory, and the machine with real processes and a real proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.delivery.fleet import Command, Fleet
from quadra_matrix.delivery.kubernetes.cluster import Cluster
from quadra_matrix.delivery.kubernetes.state import ClusterState
from quadra_matrix.delivery.local import LocalEvidence, LocalTraffic, LocalWorkload, Machine
from quadra_matrix.delivery.model import Lease, Readiness, Record, Route
from quadra_matrix.delivery.ports import Evidence, State, Traffic, Workload
from quadra_matrix.delivery.state import FileState, from_json, to_json
from quadra_matrix.errors import (
    EvidenceMissing,
    QuadraError,
    StartRefused,
    StateChanged,
    StateUnreadable,
    StateUnwritable,
    TrafficChanged,
    TrafficRefused,
    TrafficUnknown,
)
from quadra_matrix.testing.delivery import FakePlatform, MemoryState
from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.delivery.conftest import command
from tests.services.process import free_port


@dataclass
class Driver:
    """A platform on which ``v1`` has the traffic and ``v2`` can be started."""

    traffic: Traffic
    workload: Workload
    evidence: Evidence
    clock: Clock

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = self.clock.monotonic() + 30
        while not holds():
            assert self.clock.monotonic() < deadline
            self.clock.sleep(0.05)

    def start(self, version: str) -> Readiness:
        self.workload.start(version)
        self.until(lambda: self.workload.ready(version).is_full)
        return self.workload.ready(version)

    def send(self, **weights: float) -> None:
        self.traffic.write(Route(weights), self.traffic.read().revision)


@contextmanager
def fake(folder: Path) -> Iterator[Driver]:
    platform = FakePlatform()
    yield Driver(platform.traffic, platform.workload, platform.evidence, platform.clock)


@contextmanager
def local(folder: Path) -> Iterator[Driver]:
    machine = Machine(folder)
    machine.up(Fleet(free_port()), "v1", Command(command(), str(folder)))
    try:
        machine.declare("v2", None)
        driver = Driver(LocalTraffic(machine), LocalWorkload(machine), LocalEvidence(machine), SYSTEM_CLOCK)
        driver.until(machine.proxy.is_live)
        driver.until(lambda: driver.workload.ready("v1").is_full)
        yield driver
    finally:
        machine.down()


@pytest.fixture(params=[fake, pytest.param(local, marks=pytest.mark.slow)], ids=["fake", "local"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    with request.param(tmp_path) as found:
        yield found


def test_all_traffic_is_where_it_was_sent(driver: Driver) -> None:
    driver.start("v2")

    driver.send(v1=75.0, v2=25.0)

    assert driver.traffic.read().route.weights == {"v1": 75.0, "v2": 25.0}


def test_a_write_on_an_old_revision_is_refused(driver: Driver) -> None:
    driver.start("v2")
    old = driver.traffic.read().revision
    driver.send(v1=90.0, v2=10.0)

    with pytest.raises(TrafficChanged):
        driver.traffic.write(Route({"v2": 100.0}), old)
    assert driver.traffic.read().route.share("v2") == 10.0


def test_an_equal_route_is_a_new_revision(driver: Driver) -> None:
    """Else a write that was decided before a rollback would pass after it."""
    before = driver.traffic.read()

    driver.traffic.write(before.route, before.revision)

    assert driver.traffic.read().revision != before.revision


def test_a_version_that_does_not_run_gets_no_traffic(driver: Driver) -> None:
    with pytest.raises(QuadraError) as refused:
        driver.send(v1=50.0, v9=50.0)

    assert not isinstance(refused.value, TrafficUnknown)
    assert driver.traffic.read().route == Route({"v1": 100.0})


def test_starting_twice_is_starting_once(driver: Driver) -> None:
    first = driver.start("v2")
    driver.workload.start("v2")

    assert driver.workload.ready("v2") == first
    assert first.addresses


def test_a_version_that_was_never_started_has_no_instances(driver: Driver) -> None:
    assert driver.workload.ready("v9") == Readiness()


def test_a_version_that_is_unknown_cannot_be_started(driver: Driver) -> None:
    with pytest.raises(StartRefused):
        driver.workload.start("v9")


def test_a_version_with_traffic_is_not_stopped(driver: Driver) -> None:
    with pytest.raises((QuadraError, AssertionError)):
        driver.workload.stop("v1")
    assert driver.workload.ready("v1").is_full


def test_stopping_is_for_good_and_may_be_repeated(driver: Driver) -> None:
    driver.start("v2")

    driver.workload.stop("v2")
    driver.workload.stop("v2")

    assert driver.workload.ready("v2") == Readiness()


def test_settling_changes_no_readiness(driver: Driver) -> None:
    driver.workload.settle("v1")

    assert driver.workload.ready("v1").is_full


def test_counters_only_grow(driver: Driver) -> None:
    first = driver.evidence.read("v1")
    driver.clock.sleep(0.01)
    second = driver.evidence.read("v1")

    assert first.instances.keys() == second.instances.keys()
    assert not any(second.instances[name].went_back(counted) for name, counted in first.instances.items())


def test_nothing_is_open_on_a_version_without_requests(driver: Driver) -> None:
    driver.start("v2")

    assert driver.traffic.open_requests("v2") == 0
    assert driver.traffic.open_requests("v9") == 0


@contextmanager
def cluster_state(folder: Path) -> Iterator[State]:
    with FakeKubernetes() as fake:
        cluster = Cluster.at(kubeconfig=fake.kubeconfig(folder / "kubeconfig"))
        yield ClusterState(cluster, "rollout", {})
        cluster.close()


@pytest.fixture(params=["memory", "file", "cluster"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    if request.param == "cluster":
        with cluster_state(tmp_path) as found:
            yield found
    else:
        yield MemoryState() if request.param == "memory" else FileState(tmp_path / "delivery")


def record(holder: str) -> Record:
    return Record(lease=Lease(holder, 1.0, 2.0))


def test_an_empty_state_is_an_empty_record(state: State) -> None:
    assert state.read().record == Record()


def test_what_is_swapped_in_is_read(state: State) -> None:
    stored = state.swap(record("first"), state.read().revision)

    assert state.read() == stored
    assert stored.record == record("first")


def test_a_swap_on_an_old_revision_is_refused(state: State) -> None:
    old = state.read().revision
    state.swap(record("first"), old)

    with pytest.raises(StateChanged):
        state.swap(record("second"), old)
    assert state.read().record == record("first")


def test_a_broken_file_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "rollout.json").write_text("{}")

    with pytest.raises(StateUnreadable, match=r"rollout\.json cannot be read: it is not a record"):
        FileState(tmp_path).read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = FileState(tmp_path)
    state.swap(record("first"), state.read().revision)
    monkeypatch.setattr("os.getpid", lambda: 4711)
    (tmp_path / ".rollout.json.4711").symlink_to("/dev/full")

    with pytest.raises(StateUnwritable, match="No space left"):
        state.swap(record("second"), state.read().revision)
    assert state.read().record == record("first")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateUnwritable):
        FileState(tmp_path / "file" / "delivery").swap(Record(), "0")


def test_a_record_survives_json() -> None:
    assert from_json(to_json(record("first"))) == record("first")


def test_nothing_set_up_is_unknown_traffic(tmp_path: Path) -> None:
    with pytest.raises(TrafficUnknown, match="quadra local up"):
        LocalTraffic(Machine(tmp_path)).read()
    with pytest.raises(TrafficUnknown):
        Machine(tmp_path).read()


@pytest.mark.slow
def test_evidence_of_what_does_not_run_is_missing(tmp_path: Path) -> None:
    with local(tmp_path) as driver, pytest.raises(EvidenceMissing):
        driver.evidence.read("v9")


@pytest.mark.slow
def test_a_route_that_the_proxy_rejects_leaves_the_old_one(tmp_path: Path) -> None:
    with local(tmp_path) as driver:
        machine = Machine(tmp_path)
        revision, route = machine.proxy.route()

        with pytest.raises(TrafficRefused):
            machine.proxy.put_route({"name": "main", "virtual_hosts": "nonsense"}, revision + 1)
        assert machine.proxy.route() == (revision, route)
        assert driver.workload.ready("v1").is_full
