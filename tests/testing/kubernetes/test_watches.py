"""Watches: from a version on, what was chosen, and the end of what is too old."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.testing.kubernetes.conftest import APPS, CORE, Client
from tests.testing.kubernetes.manifests import Json, config_map, deployment


def events(client: Client, path: str, many: int) -> list[tuple[str, Json]]:
    """Return the first events of a watch."""
    connection = http.client.HTTPConnection(client.address.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return [(event["type"], event["object"]) for event in _lines(answer, many)]
    finally:
        connection.close()


def _lines(answer: http.client.HTTPResponse, many: int) -> Iterator[Json]:
    for _ in range(many):
        line = answer.readline()
        if not line:
            return
        yield json.loads(line)


def test_a_watch_goes_on_where_the_list_ended(client: Client, cluster: FakeKubernetes) -> None:
    cluster.create(config_map("before"))
    version = client.get(f"{CORE}/configmaps")["metadata"]["resourceVersion"]
    cluster.create(config_map("after", a="1"))
    client.patch(f"{CORE}/configmaps/after", {"data": {"a": "2"}})
    client.call("DELETE", f"{CORE}/configmaps/after")

    seen = events(client, f"{CORE}/configmaps?watch=true&resourceVersion={version}", 3)

    assert [(event, thing["metadata"]["name"], thing["data"]["a"]) for event, thing in seen] == [
        ("ADDED", "after", "1"),
        ("MODIFIED", "after", "2"),
        ("DELETED", "after", "2"),
    ]
    versions = [int(thing["metadata"]["resourceVersion"]) for _, thing in seen]
    assert versions == sorted(set(versions))


def test_a_watch_without_a_version_begins_with_what_is_there(client: Client, cluster: FakeKubernetes) -> None:
    cluster.create(config_map("a"), config_map("b"))

    seen = events(client, f"{CORE}/configmaps?watch=1", 2)

    assert [(event, thing["metadata"]["name"]) for event, thing in seen] == [("ADDED", "a"), ("ADDED", "b")]


def test_an_object_enters_and_leaves_what_a_watch_chose(client: Client, cluster: FakeKubernetes) -> None:
    version = client.get(f"{CORE}/configmaps")["metadata"]["resourceVersion"]
    cluster.create(config_map("a"))
    client.patch(f"{CORE}/configmaps/a", {"metadata": {"labels": {"track": "canary"}}})
    client.patch(f"{CORE}/configmaps/a", {"metadata": {"labels": {"track": "stable"}}})

    seen = events(client, f"{CORE}/configmaps?watch=1&resourceVersion={version}&labelSelector=track=canary", 2)

    assert [event for event, _ in seen] == ["ADDED", "DELETED"]


def test_a_watch_from_a_forgotten_version_is_gone(client: Client, cluster: FakeKubernetes) -> None:
    version = client.get(f"{CORE}/configmaps")["metadata"]["resourceVersion"]
    cluster.create(config_map())
    cluster.forget()

    gone = client.call("GET", f"{CORE}/configmaps?watch=1&resourceVersion={version}")

    assert (gone.code, gone.body["reason"]) == (410, "Expired")


def test_time_that_passes_is_seen(client: Client, cluster: FakeKubernetes, clock: FakeClock) -> None:
    cluster.create(deployment(replicas=1))
    version = client.get(f"{APPS}/deployments")["metadata"]["resourceVersion"]
    clock.advance(2)

    ((event, thing),) = events(client, f"{APPS}/deployments?watch=1&resourceVersion={version}", 1)

    assert (event, thing["status"]["readyReplicas"]) == ("MODIFIED", 1)


def test_a_watch_ends_when_its_time_is_over(client: Client, cluster: FakeKubernetes, clock: FakeClock) -> None:
    cluster.create(config_map())

    seen = events(client, f"{CORE}/configmaps?watch=1&timeoutSeconds=0", 5)

    assert len(seen) == 1


def test_a_long_list_comes_in_pages(client: Client, cluster: FakeKubernetes) -> None:
    cluster.create(*(config_map(f"c{number}") for number in range(5)))

    first = client.get(f"{CORE}/configmaps?limit=2")
    token = first["metadata"]["continue"]
    second = client.get(f"{CORE}/configmaps?limit=4&continue={token}")

    assert [item["metadata"]["name"] for item in first["items"]] == ["c0", "c1"]
    assert first["metadata"]["remainingItemCount"] == 3
    assert [item["metadata"]["name"] for item in second["items"]] == ["c2", "c3", "c4"]
    assert "continue" not in second["metadata"]
