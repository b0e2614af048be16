"""A canary by the weights of an HTTPRoute on the fake API server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quadra_matrix.delivery.kubernetes.cluster import Resource
from quadra_matrix.delivery.model import Phase, Progress
from quadra_matrix.delivery.place import Place, Platform, Split
from quadra_matrix.errors import RolloutRefused, TrafficUnknown
from tests.delivery.kubernetes.rig import APP, PLAN, Rig, Version, unseen
from tests.delivery.kubernetes.test_canary import QUICK

pytestmark = pytest.mark.slow

PLACE = Place(Platform.KUBERNETES, split=Split.GATEWAY)
SHORT = replace(QUICK, place=PLACE)
ROUTE = f"{APP}-route"


def weights(rig: Rig) -> list[list[int]]:
    rules = rig.get(Resource.ROUTE, ROUTE)["spec"]["rules"]
    return [[one["weight"] for one in rule["backendRefs"]] for rule in rules]


def test_weights_move_and_stable_keeps_its_pods(gateway: Rig) -> None:
    shares: list[float] = []
    plan = replace(PLAN, place=PLACE)

    site = gateway.site(anew=True)
    rollout = site.deploy(gateway.kind, "2", plan, lambda one, seen: shares.append(seen.route.share("2")))

    assert rollout.progress.phase is Phase.DONE
    assert list(dict.fromkeys(shares)) == [0, 10, 25, 50, 95, 100]
    assert weights(gateway) == [[100, 0], [100, 0]]
    assert gateway.replicas() == (10, 0)
    assert gateway.fewest(f"{APP}-stable") == 10


@pytest.mark.parametrize(
    "phase",
    [Phase.START, Phase.SHIFT, Phase.WATCH, Phase.PROMOTE, Phase.SETTLE, Phase.DRAIN, Phase.STOP, Phase.DONE],
    ids=str,
)
def test_a_rollback_from_anywhere_restores_the_exact_objects(gateway: Rig, phase: Phase) -> None:
    before = gateway.shown()

    def is_there(at: Progress) -> bool:
        return at.phase is phase

    gateway.site(anew=True).deploy(gateway.kind, "2", SHORT, unseen, until=is_there)
    rollout = gateway.site().rollback("a person asked", unseen)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert gateway.shown() == before
    assert gateway.site().route().weights == {"1.0.0": 100.0}


def test_a_bad_version_loses_its_weight_at_once(gateway: Rig) -> None:
    gateway.versions(v2=Version(error_rate=0.3))

    rollout = gateway.deploy(plan=SHORT)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert weights(gateway) == [[100, 0], [100, 0]]
    assert gateway.replicas() == (10, 0)


def test_a_canary_that_has_weight_already_is_refused(gateway: Rig) -> None:
    patch = [{"op": "replace", "path": f"/spec/rules/{rule}/backendRefs/1/weight", "value": 10} for rule in (0, 1)]
    gateway.admin.patch(Resource.ROUTE, ROUTE, patch)

    with pytest.raises(RolloutRefused, match="give it weight 0"):
        gateway.deploy(plan=SHORT)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ([{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 50}], "different weights"),
        ([{"op": "replace", "path": "/spec/rules", "value": []}], "no rule has both back ends"),
        (
            [{"op": "replace", "path": f"/spec/rules/{rule}/backendRefs/0/weight", "value": 0} for rule in (0, 1)],
            "all its weights are 0",
        ),
    ],
    ids=["rules-differ", "no-rule", "all-zero"],
)
def test_a_route_that_means_nothing_is_never_guessed(gateway: Rig, patch: list[dict[str, object]], reason: str) -> None:
    gateway.admin.patch(Resource.ROUTE, ROUTE, patch)

    with pytest.raises(TrafficUnknown, match=reason):
        gateway.site().route()
