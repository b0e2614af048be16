"""Others at the same objects, and processes that die: the rollout goes on from where the cluster says it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from quadra_matrix.delivery.kubernetes import ground as grounds
from quadra_matrix.delivery.kubernetes.cluster import Cluster, Resource
from quadra_matrix.delivery.model import Kind, Observation, Phase, Rollout
from quadra_matrix.delivery.place import Place, Platform
from quadra_matrix.delivery.plan import Step
from quadra_matrix.delivery.site import Site
from quadra_matrix.errors import ClusterForbidden, ClusterUnreachable, ObjectMissing, RolloutRefused, RolloutStuck
from quadra_matrix.testing.kubernetes import Fault
from tests.delivery.kubernetes.rig import APP, Rig, unseen
from tests.delivery.kubernetes.test_canary import QUICK

pytestmark = pytest.mark.slow

STABLE, CANARY, SCALER = f"{APP}-stable", f"{APP}-canary", f"{APP}-stable-hpa"


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """The ``Objects`` of a cluster for a process that dies around its n-th change of a workload."""

    def __init__(self, cluster: Cluster, lives: int, *, before: bool) -> None:
        self._cluster, self._lives, self._before = cluster, lives, before
        self.changes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def patch(self, resource: Resource, name: str, operations: Any) -> Any:
        self.changes += 1
        if self._before and self.changes == self._lives:
            raise Killed
        changed = self._cluster.patch(resource, name, operations)
        if self.changes == self._lives:
            raise Killed
        return changed


def deploy_until_killed(rig: Rig, lives: int, *, before: bool) -> int:
    """Deploy version 2 and die; return how many changes were made."""
    objects = Mortal(rig.cluster, lives, before=before)
    place = Place(Platform.KUBERNETES)
    ground = grounds.ground(place, Kind.CANARY, rig.cluster, clock=rig.clock, objects=objects, anew=True)
    with suppress(Killed):
        Site(ground, rig.clock).deploy(Kind.CANARY, "2", QUICK, unseen)
    return objects.changes


@pytest.mark.parametrize("before", [True, False], ids=["before-the-change", "after-it"])
@pytest.mark.parametrize("lives", range(1, 16))
def test_whoever_dies_at_any_change_another_machine_goes_on(rig: Rig, lives: int, before: bool) -> None:
    made = deploy_until_killed(rig, lives, before=before)
    rig.clock.advance(20)  # until the lease is over

    rollout = rig.site().resume(unseen) if made == lives else rig.site().record().rollout

    assert rollout is not None
    assert rollout.progress.phase is Phase.DONE
    assert rig.site().route().weights == {"2": 100.0}
    assert rig.replicas() == (9, 1)
    assert rig.fewest() == 10


def edited(edit: Callable[[Rig], object], phase: Phase = Phase.WATCH) -> Callable[[Rig], Callable[..., None]]:
    """Return a watch that edits something once in mid-rollout."""

    def with_rig(rig: Rig) -> Callable[..., None]:
        done: list[bool] = []

        def watch(rollout: Rollout, seen: Observation) -> None:
            if rollout.progress.phase is phase and not done:
                done.append(True)
                edit(rig)

        return watch

    return with_rig


@pytest.mark.parametrize(
    "edit",
    [
        lambda rig: rig.kubectl("scale", f"deployment/{STABLE}", "--replicas=12"),
        lambda rig: rig.kubectl("scale", f"deployment/{CANARY}", "--replicas=8"),
        lambda rig: rig.kubectl("set", "image", f"deployment/{STABLE}", f"{APP}={APP}:9"),
        lambda rig: rig.kubectl("annotate", "deployment", STABLE, "quadra-matrix/revision=mine", "--overwrite"),
    ],
    ids=["stable-scaled", "canary-scaled", "stable-image", "revision"],
)
def test_what_is_edited_by_hand_in_mid_rollout_is_mended(rig: Rig, edit: Callable[[Rig], object]) -> None:
    rollout = rig.site(anew=True).deploy(rig.kind, "2", QUICK, edited(edit)(rig))

    assert rollout.progress.phase is Phase.DONE
    assert rig.site().route().weights == {"2": 100.0}


def test_a_canary_with_another_image_is_not_the_candidate_and_goes_back(rig: Rig) -> None:
    before = rig.shown()
    edit = edited(lambda one: one.kubectl("set", "image", f"deployment/{CANARY}", f"{APP}={APP}:9"))

    rollout = rig.site(anew=True).deploy(rig.kind, "2", QUICK, edit(rig))

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert rig.shown() == before


def test_an_autoscaler_that_needs_more_pods_gets_them_and_keeps_the_share(rig: Rig) -> None:
    totals: list[int] = []
    plan = replace(QUICK, steps=(Step(30, 60), Step(100, 60)))

    def watch(rollout: Rollout, seen: Observation) -> None:
        if rollout.progress.phase is Phase.WATCH:
            stable, canary = rig.replicas()
            rig.fake.set_load(SCALER, 14 * stable / (stable + canary))  # fourteen pods' load; stable gets its part
            totals.append(stable + canary)

    rollout = rig.site(anew=True).deploy(rig.kind, "2", plan, watch)

    assert rollout.progress.phase is Phase.DONE
    assert 13 <= max(totals) <= 18
    assert totals == sorted(totals)
    assert rig.fewest() == 10
    spec = rig.get(Resource.AUTOSCALER, SCALER)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 20)


@pytest.mark.parametrize("phase", [Phase.START, Phase.SHIFT, Phase.SETTLE, Phase.STOP], ids=str)
def test_the_api_server_may_fail_for_a_while(rig: Rig, phase: Phase) -> None:
    def fail(one: Rig) -> None:
        one.fake.faults.add(Fault(code=500), times=3)
        one.fake.faults.add(Fault(code=409), verb="patch", times=2)
        one.fake.faults.add(Fault(cut="after"), verb="patch", resource="deployments", times=2)
        one.fake.faults.add(Fault(cut="before"), verb="update", times=2)

    rollout = rig.site(anew=True).deploy(rig.kind, "2", QUICK, edited(fail, phase)(rig))

    assert rollout.progress.phase is Phase.DONE
    assert rig.replicas() == (9, 1)
    assert rig.fewest() == 10


def test_kubectl_sees_who_holds_the_rollout_and_where_it_stands(rig: Rig) -> None:
    seen: list[str] = []

    def look(rollout: Rollout, observation: Observation) -> None:
        if rollout.progress.phase is Phase.WATCH and not seen:
            seen.append(rig.kubectl("get", "lease", f"{APP}-canary-rollout", "-o", "jsonpath={.spec.holderIdentity}"))
            seen.append(rig.kubectl("get", "configmap", f"{APP}-canary-rollout", "-o", "jsonpath={.data.phase}"))
            seen.append(rig.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"))

    rig.site(anew=True).deploy(rig.kind, "2", QUICK, look)
    ended = rig.kubectl("rollout", "status", f"deployment/{STABLE}", "--timeout=10s")

    assert ":" in seen[0]
    assert seen[1] in {"shift", "watch"}
    assert f"{APP}:2" in seen[2]
    assert "successfully rolled out" in ended


RECREATE = '{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}'


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("rollout", "pause", f"deployment/{CANARY}"), "is paused"),
        (
            ("patch", f"deployment/{STABLE}", "--patch", RECREATE),
            "may end pods before new ones are ready",
        ),
        (("patch", f"service/{APP}-service", "--patch", '{"spec": {"selector": {"traffic": null}}}'), "needs app="),
        (
            ("patch", f"pdb/{APP}", "--patch", '{"spec": {"maxUnavailable": null, "minAvailable": 2, "selector": '
             '{"matchLabels": {"traffic": null, "track": "stable"}}}}', "--type=merge"),
            "keeps 2 pods of quadra-matrix-stable alone",
        ),
    ],
    ids=["paused", "unavailable", "selector", "budget"],
)  # fmt: skip
def test_what_would_cost_requests_is_refused_before_anything_is_touched(
    rig: Rig, words: tuple[str, ...], reason: str
) -> None:
    rig.kubectl(*words)
    before = rig.shown()

    with pytest.raises(RolloutRefused, match=reason):
        rig.deploy(plan=QUICK)
    assert rig.shown() == before


def test_a_missing_object_a_missing_right_and_a_missing_cluster_are_told_apart(rig: Rig) -> None:
    elsewhere = Cluster.at(namespace="kube-system", kubeconfig=rig.folder / "admin")
    nobody = Cluster.at(kubeconfig=rig.fake.kubeconfig(rig.folder / "nobody", user="nobody"))
    place = Place(Platform.KUBERNETES)

    with pytest.raises(ObjectMissing, match="there is no deployments/quadra-matrix-stable"):
        grounds.ground(place, Kind.CANARY, elsewhere, clock=rig.clock).traffic.read()
    with pytest.raises(ClusterForbidden, match="GET leases/quadra-matrix-canary-rollout is not allowed"):
        grounds.ground(place, Kind.CANARY, nobody, clock=rig.clock)
    with pytest.raises(ClusterUnreachable, match="no cluster"):
        Cluster.at(kubeconfig=rig.folder / "none")
    with pytest.raises(ClusterUnreachable, match="Context 'other' not found"):
        Cluster.at("other", kubeconfig=rig.folder / "admin")
    for cluster in (elsewhere, nobody):
        cluster.close()


def test_a_right_that_is_taken_away_in_mid_rollout_leaves_the_traffic_where_it_is(rig: Rig) -> None:
    take = edited(lambda one: one.kubectl("delete", "rolebinding", f"{APP}-deployer"))

    with pytest.raises((ClusterForbidden, RolloutStuck)):
        rig.site(anew=True).deploy(rig.kind, "2", QUICK, take(rig))
    assert sum(rig.replicas()) == 10
