"""Deployments under a clock: readiness, surge, deadlines, room, and what stood ready when."""

from __future__ import annotations

from typing import Any

import pytest

from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import MISSING, FakeKubernetes, Image
from tests.testing.kubernetes.conftest import APPS, CORE, STRATEGIC_PATCH, Client
from tests.testing.kubernetes.manifests import Json, deployment, service


def set_image(client: Client, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
    assert client.patch(f"{APPS}/deployments/shop", patch, STRATEGIC_PATCH).code == 200


def shop(client: Client) -> Json:
    return client.get(f"{APPS}/deployments/shop")


def condition(thing: Json, name: str) -> Any:
    found = {each["type"]: each for each in thing["status"]["conditions"]}
    return found[name]["status"], found[name]["reason"]


@pytest.fixture
def running(cluster: FakeKubernetes, clock: FakeClock) -> FakeKubernetes:
    """Three ready pods behind a Service."""
    cluster.create(service(), deployment())
    clock.advance(5)
    return cluster


def test_pods_are_ready_after_the_delay_of_their_image(
    client: Client, cluster: FakeKubernetes, clock: FakeClock
) -> None:
    cluster.images["shop"] = Image(ready_after=3)
    cluster.create(deployment())

    clock.advance(2.9)
    early = shop(client)["status"]
    clock.advance(0.1)

    assert "readyReplicas" not in early
    assert shop(client)["status"]["readyReplicas"] == 3


def test_a_rolling_change_never_has_fewer_ready_pods(running: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    began = running.now

    set_image(client, "shop:2")
    clock.advance(10)

    assert condition(shop(client), "Progressing") == ("True", "NewReplicaSetAvailable")
    assert shop(client)["status"]["updatedReplicas"] == 3
    assert running.history.fewest_behind("shop", since=began) == 3
    assert {pod.images[0] for pod in running.history.instants[-1].behind("shop")} == {"shop:2"}


def test_history_sees_the_gap_that_recreate_leaves(running: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    began = running.now
    client.patch(f"{APPS}/deployments/shop", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})

    set_image(client, "shop:2")
    clock.advance(10)

    assert running.history.fewest_behind("shop", since=began) == 0
    assert len(running.history.instants[-1].behind("shop")) == 3


def test_a_missing_image_keeps_the_old_pods_and_passes_the_deadline(
    running: FakeKubernetes, client: Client, clock: FakeClock
) -> None:
    running.images["shop:2"] = MISSING
    client.patch(f"{APPS}/deployments/shop", {"spec": {"progressDeadlineSeconds": 25}})

    set_image(client, "shop:2")
    clock.advance(24)
    before = condition(shop(client), "Progressing")
    clock.advance(2)

    assert before == ("True", "ReplicaSetUpdated")
    assert condition(shop(client), "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert shop(client)["status"]["readyReplicas"] == 3
    waiting = [
        status["state"]["waiting"]["reason"]
        for pod in client.get(f"{CORE}/pods")["items"]
        for status in pod["status"]["containerStatuses"]
        if "waiting" in status["state"]
    ]
    assert set(waiting) == {"ErrImagePull"}


def test_pods_without_room_wait_until_there_is_some(client: Client, clock: FakeClock) -> None:
    with FakeKubernetes(clock=clock, capacity=2) as cluster:
        client = Client(cluster.address)
        cluster.create(deployment())
        clock.advance(5)
        ready = shop(client)["status"]["readyReplicas"]

        cluster.set_capacity(3)
        clock.advance(5)

        assert (ready, shop(client)["status"]["readyReplicas"]) == (2, 3)


def test_a_hand_that_scales_in_mid_rollout_is_followed(
    running: FakeKubernetes, client: Client, clock: FakeClock
) -> None:
    running.images["shop:2"] = MISSING
    set_image(client, "shop:2")
    clock.advance(1)

    client.patch(f"{APPS}/deployments/shop/scale", {"spec": {"replicas": 6}})
    clock.advance(5)

    sizes = [each["spec"]["replicas"] for each in client.get(f"{APPS}/replicasets")["items"]]
    assert sum(sizes) == 8
    assert shop(client)["status"]["readyReplicas"] == 5  # a quarter of six may be away


def test_a_crashing_container_is_started_again(cluster: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    cluster.images["shop"] = Image(crashes_after=5)
    cluster.create(deployment(replicas=1))

    clock.advance(6)
    down = client.get(f"{CORE}/pods")["items"][0]["status"]["containerStatuses"][0]
    clock.advance(11)

    assert (down["restartCount"], down["state"]["waiting"]["reason"]) == (1, "CrashLoopBackOff")
    assert shop(client)["status"]["readyReplicas"] == 1


def test_endpoints_hold_the_ready_pods_only(running: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    running.images["shop:2"] = Image(ready_after=60)
    set_image(client, "shop:2")
    clock.advance(5)

    (subset,) = client.get(f"{CORE}/endpoints/shop")["subsets"]

    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (3, 1)
    assert subset["ports"] == [{"name": "http", "port": 5000, "protocol": "TCP"}]


def test_old_templates_are_kept_for_a_way_back(running: FakeKubernetes, client: Client, clock: FakeClock) -> None:
    for version in range(2, 6):
        client.patch(f"{APPS}/deployments/shop", {"spec": {"revisionHistoryLimit": 2}})
        set_image(client, f"shop:{version}")
        clock.advance(20)

    sets = client.get(f"{APPS}/replicasets")["items"]

    assert len(sets) == 3
    revisions = {each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in sets}
    assert revisions == {"3", "4", "5"}
    assert shop(client)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "5"


def test_a_namespace_takes_everything_with_it(running: FakeKubernetes, client: Client) -> None:
    client.call("DELETE", "/api/v1/namespaces/default")

    assert client.call("GET", "/api/v1/namespaces/default").code == 404
    assert client.get("/api/v1/pods")["items"] == []
