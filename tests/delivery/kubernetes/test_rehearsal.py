"""A dry run: it writes nothing, and says exactly what a rollout then does."""

from __future__ import annotations

import pytest

from quadra_matrix.delivery import desk
from quadra_matrix.delivery.kubernetes.rehearsal import RECORD, rehearse
from quadra_matrix.delivery.model import Kind, Phase
from quadra_matrix.errors import RolloutRefused
from tests.delivery.kubernetes.calls import table
from tests.delivery.kubernetes.rig import K8S, PLAN, Rig
from tests.delivery.kubernetes.test_canary import QUICK
from tests.delivery.kubernetes.test_gateway import SHORT

pytestmark = pytest.mark.slow

WRITES = {"patch", "create", "update", "delete"}


def written(rig: Rig) -> list[tuple[str, str, str]]:
    """Return what the driver wrote, but for the record."""
    records = {one.plural for one in RECORD}
    return [
        (one.verb, one.resource, one.name)
        for one in rig.fake.requests
        if one.verb in WRITES and "deployer" in one.user and one.resource not in records
    ]


def stages(calls: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return the calls with one step down where pods that became ready one after another made several of it."""
    found: list[tuple[str, str, str]] = []
    for call in calls:
        found.append(call)
        if found[-2:] == found[-4:-2]:
            del found[-2:]
    return found


@pytest.mark.parametrize("which", ["rig", "gateway", "colours"])
def test_the_calls_of_a_dry_run_are_those_of_the_rollout(which: str, request: pytest.FixtureRequest) -> None:
    rig: Rig = request.getfixturevalue(which)
    plan = SHORT if which == "gateway" else QUICK
    before = rig.shown()
    seen = len(rig.fake.requests)

    rehearsed = rehearse(rig.cluster, rig.kind, "2", plan, rig.clock)
    wrote = [one for one in rig.fake.requests[seen:] if one.verb in WRITES]
    rollout = rig.deploy(plan=plan)

    assert not wrote
    assert rehearsed.rollout.progress.phase is rollout.progress.phase
    assert [(one.verb, one.resource, one.name) for one in rehearsed.calls] == (
        stages(written(rig)) if which == "rig" else written(rig)
    )
    assert before.keys() == rig.shown().keys()


def test_a_dry_run_shows_what_changes_and_what_is_checked(rig: Rig) -> None:
    rehearsed = rehearse(rig.cluster, Kind.CANARY, "2", PLAN, rig.clock)

    changes = [one.changes for one in rehearsed.calls if one.name == "quadra-matrix-stable"]
    assert [one["/spec/replicas"] for one in changes if "/spec/replicas" in one] == [10, 9, 8, 5, 1, 0, 9]
    assert rehearsed.checked == (
        "GET /api/v1/namespaces/default/pods/quadra-matrix-canary-0:5000/proxy/health",
    )  # fmt: skip
    assert rehearsed.records > 10


def test_a_dry_run_refuses_what_a_rollout_refuses(rig: Rig) -> None:
    rig.kubectl("rollout", "pause", "deployment/quadra-matrix-canary")

    with pytest.raises(RolloutRefused, match="is paused"):
        rehearse(rig.cluster, Kind.CANARY, "2", PLAN, rig.clock)


def test_a_dry_run_of_a_switch_includes_it(colours: Rig) -> None:
    order = lambda record: desk.promoted(record, "2")  # noqa: E731
    rehearsed = rehearse(colours.cluster, Kind.BLUE_GREEN, "2", QUICK, colours.clock, order=order)

    assert rehearsed.rollout.progress.phase is Phase.LIVE
    assert rehearsed.calls[-1].changes == {"/spec/selector/colour": "green"}


def test_the_table_of_calls_in_the_documentation_is_true() -> None:
    page = K8S.parent / "docs" / "how-to" / "kubernetes.md"

    assert table() in page.read_text()
