"""Blue and green on the fake API server: one patch of a selector, and back by another one."""

from __future__ import annotations

import pytest

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.kubernetes.cluster import Resource
from quadra_matrix.delivery.model import Phase
from quadra_matrix.errors import TrafficRefused, TrafficUnknown
from quadra_matrix.testing.kubernetes import MISSING
from tests.delivery.kubernetes.rig import APP, Rig, Version, unseen

pytestmark = pytest.mark.slow

SERVICE = f"{APP}-production"


def selected(rig: Rig) -> str:
    colour: str = rig.get(Resource.SERVICE, SERVICE)["spec"]["selector"]["colour"]
    return colour


def switch(rig: Rig) -> Phase:
    """Deploy version 2 and agree to the switch."""
    rig.deploy()
    site = rig.site()
    return site.order(
        lambda record: desk.promoted(record, "2"), lambda at: at.phase is Phase.LIVE, unseen
    ).progress.phase


def test_a_new_colour_is_started_tested_and_offered(colours: Rig) -> None:
    offered = colours.deploy()

    assert offered.progress.phase is Phase.OFFER
    assert selected(colours) == "blue"
    assert colours.site().record().colours == {"blue": "1.0.0", "green": "2"}
    assert colours.site().ground.workload.ready("2").ready == 10


def test_the_switch_is_one_change_of_the_selector_and_so_is_the_way_back(colours: Rig) -> None:
    before = colours.get(Resource.SERVICE, SERVICE)["spec"]

    assert switch(colours) is Phase.LIVE
    assert selected(colours) == "green"
    back = colours.site().rollback("a person asked", unseen)

    assert back.progress.phase is Phase.ROLLED_BACK
    assert colours.get(Resource.SERVICE, SERVICE)["spec"] == before
    assert colours.fewest(SERVICE) == 10


def test_the_old_colour_keeps_its_pods_until_finish(colours: Rig) -> None:
    switch(colours)
    kept = colours.site().ground.workload.ready("1.0.0").ready

    site = colours.site()
    done = site.order(desk.finished, lambda at: at.phase is Phase.DONE, unseen)

    assert kept == 10
    assert done.progress.phase is Phase.DONE
    assert colours.get(Resource.DEPLOYMENT, f"{APP}-blue")["spec"]["replicas"] == 0
    assert colours.fewest(SERVICE) == 10


def test_the_next_version_takes_the_other_colour_with_as_many_pods(colours: Rig) -> None:
    colours.versions(v3=Version())
    switch(colours)
    site = colours.site()
    site.order(desk.finished, lambda at: at.phase is Phase.DONE, unseen)

    colours.deploy("3")

    assert colours.site().record().colours == {"green": "2", "blue": "3"}
    assert colours.site().ground.workload.ready("3").ready == 10


@pytest.mark.parametrize("version", [Version(image=MISSING), Version(health=500)], ids=["no-such-image", "smoke-test"])
def test_a_new_colour_that_fails_is_put_back_and_never_has_traffic(colours: Rig, version: Version) -> None:
    colours.versions(v2=version)
    before = colours.shown()

    rollout = colours.deploy()

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert colours.shown() == before


def test_a_colour_that_fails_after_the_switch_goes_back_by_itself(colours: Rig) -> None:
    colours.versions(v2=Version(error_rate=0.5))
    colours.deploy()

    site = colours.site()
    rollout = site.order(lambda record: desk.promoted(record, "2"), lambda at: at.phase is Phase.LIVE, unseen)

    assert rollout.progress.phase is Phase.ROLLED_BACK
    assert selected(colours) == "blue"


def test_a_selector_that_means_no_colour_is_never_guessed(colours: Rig) -> None:
    patch = [{"op": "replace", "path": "/spec/selector/colour", "value": "pink"}]
    colours.admin.patch(Resource.SERVICE, SERVICE, patch)

    with pytest.raises(TrafficUnknown, match="its selector is"):
        colours.site().route()


def test_a_colour_without_pods_gets_no_traffic(colours: Rig) -> None:
    site = colours.site(anew=True)
    site.ground.workload.start("2")
    found = site.ground.traffic.read()

    with pytest.raises(TrafficRefused, match="green has no ready pod"):
        site.ground.traffic.write(type(found.route)({"2": 100.0}), found.revision)
