"""Create, read, change and delete, with versions, conflicts and rules."""

from __future__ import annotations

import pytest

from quadra_matrix.testing import FakeClock
from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.testing.kubernetes.conftest import APPS, CORE, JSON_PATCH, STRATEGIC_PATCH, Client
from tests.testing.kubernetes.manifests import Json, config_map, deployment, service


def test_a_new_object_gets_what_a_server_gives(client: Client) -> None:
    made = client.call("POST", f"{APPS}/deployments", deployment())

    assert made.code == 201
    metadata, spec = made.body["metadata"], made.body["spec"]
    assert metadata["uid"]
    assert metadata["generation"] == 1
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["containers"][0]["ports"][0]["protocol"] == "TCP"


def test_a_second_object_of_the_same_name_is_refused(client: Client) -> None:
    client.call("POST", f"{CORE}/configmaps", config_map())

    refused = client.call("POST", f"{CORE}/configmaps", config_map())

    assert (refused.code, refused.body["reason"]) == (409, "AlreadyExists")


def test_a_missing_object_a_missing_namespace_and_a_missing_kind_are_told_apart(client: Client) -> None:
    nothing = client.call("GET", f"{CORE}/configmaps/state")
    nowhere = client.call("POST", "/api/v1/namespaces/none/configmaps", config_map())
    unheard = client.call("GET", "/apis/example.org/v1/gadgets")

    assert nothing.body["message"] == 'configmaps "state" not found'
    assert nowhere.body["message"] == 'namespaces "none" not found'
    assert unheard.body["message"] == "the server could not find the requested resource"
    assert {nothing.code, nowhere.code, unheard.code} == {404}


def test_an_update_of_an_old_version_is_a_conflict(client: Client) -> None:
    first = client.call("POST", f"{CORE}/configmaps", config_map(a="1")).body
    client.call("PUT", f"{CORE}/configmaps/state", {**first, "data": {"a": "2"}})

    refused = client.call("PUT", f"{CORE}/configmaps/state", {**first, "data": {"a": "3"}})

    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    assert client.get(f"{CORE}/configmaps/state")["data"] == {"a": "2"}


def test_a_failed_test_of_a_json_patch_changes_nothing(client: Client) -> None:
    client.call("POST", f"{CORE}/services", service())
    patch = [
        {"op": "replace", "path": "/spec/selector", "value": {"app": "other"}},
        {"op": "test", "path": "/spec/selector/app", "value": "shop"},
    ]

    refused = client.patch(f"{CORE}/services/shop", patch, JSON_PATCH)

    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert client.get(f"{CORE}/services/shop")["spec"]["selector"] == {"app": "shop"}


def test_a_strategic_patch_keeps_the_sidecar(client: Client) -> None:
    client.call("POST", f"{APPS}/deployments", deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}}}

    changed = client.patch(f"{APPS}/deployments/shop", patch, STRATEGIC_PATCH)

    containers = changed.body["spec"]["template"]["spec"]["containers"]
    assert [(each["name"], each["image"]) for each in containers] == [("web", "shop:2"), ("proxy", "proxy:1")]


def test_a_merge_patch_replaces_the_list(client: Client) -> None:
    client.call("POST", f"{APPS}/deployments", deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}}}

    changed = client.patch(f"{APPS}/deployments/shop", patch)

    assert len(changed.body["spec"]["template"]["spec"]["containers"]) == 1


def test_only_a_change_of_the_specification_is_a_new_generation(client: Client) -> None:
    client.call("POST", f"{APPS}/deployments", deployment())

    labelled = client.patch(f"{APPS}/deployments/shop", {"metadata": {"labels": {"a": "b"}}}).body
    resized = client.patch(f"{APPS}/deployments/shop", {"spec": {"replicas": 4}}).body

    assert (labelled["metadata"]["generation"], resized["metadata"]["generation"]) == (1, 2)


def test_a_patch_of_nothing_leaves_the_version(client: Client) -> None:
    before = client.call("POST", f"{CORE}/configmaps", config_map(a="1")).body

    after = client.patch(f"{CORE}/configmaps/state", {"data": {"a": "1"}}).body

    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"replicas": "many"}, 400, "cannot unmarshal string into field spec.replicas of type int32"),
        ({"replicas": -1}, 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ({"selector": {"matchLabels": {"app": "else"}}}, 422, "`selector` does not match template `labels`"),
        ({"selector": None}, 422, "spec.selector: Required value"),
    ],
)
def test_a_wrong_deployment_is_refused(client: Client, changes: Json, code: int, told: str) -> None:
    refused = client.call("POST", f"{APPS}/deployments", deployment(**changes) | {})

    assert refused.code == code
    assert told in refused.body["message"]


def test_an_unknown_field_is_refused_told_or_dropped_as_the_client_asks(client: Client) -> None:
    typo = deployment(replica=3)

    strict = client.call("POST", f"{APPS}/deployments?fieldValidation=Strict", typo)
    told = client.call("POST", f"{APPS}/deployments", typo)

    assert (strict.code, strict.body["message"]) == (400, 'strict decoding error: unknown field "spec.replica"')
    assert told.headers["Warning"] == '299 - "unknown field \\"spec.replica\\""'
    assert "replica" not in told.body["spec"]


def test_the_selector_of_a_deployment_is_fixed(client: Client) -> None:
    client.call("POST", f"{APPS}/deployments", deployment())
    labels = {"app": "shop", "more": "yes"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}

    refused = client.patch(f"{APPS}/deployments/shop", patch)

    assert (refused.code, refused.body["details"]["causes"][0]["field"]) == (422, "spec.selector")


def test_a_dry_run_checks_everything_and_writes_nothing(client: Client) -> None:
    made = client.call("POST", f"{APPS}/deployments?dryRun=All", deployment())
    refused = client.call("POST", f"{APPS}/deployments?dryRun=All", deployment(replicas=-1))

    assert (made.code, refused.code) == (201, 422)
    assert client.get(f"{APPS}/deployments")["items"] == []


def test_scale_is_an_object_of_its_own(client: Client) -> None:
    client.call("POST", f"{APPS}/deployments", deployment())

    scale = client.patch(f"{APPS}/deployments/shop/scale", {"spec": {"replicas": 5}}).body

    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 5})
    assert scale["status"]["selector"] == "app=shop"
    assert client.get(f"{APPS}/deployments/shop")["spec"]["replicas"] == 5


def test_selectors_choose(client: Client, cluster: FakeKubernetes) -> None:
    cluster.create(config_map("a"), config_map("b"))
    client.patch(f"{CORE}/configmaps/a", {"metadata": {"labels": {"track": "canary"}}})

    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in client.get(f"{CORE}/configmaps?{query}")["items"]]

    assert names("labelSelector=track") == ["a"]
    assert names("labelSelector=track%20in%20(canary,stable)") == ["a"]
    assert names("labelSelector=track!=canary") == ["b"]
    assert names("labelSelector=!track") == ["b"]
    assert names("fieldSelector=metadata.name=b") == ["b"]
    assert client.call("GET", f"{CORE}/configmaps?fieldSelector=data.a=1").code == 400


def test_deleting_the_owner_deletes_what_it_owns(client: Client, cluster: FakeKubernetes, clock: FakeClock) -> None:
    cluster.create(deployment())
    clock.advance(5)

    client.call("DELETE", f"{APPS}/deployments/shop")

    assert client.get(f"{APPS}/replicasets")["items"] == []
    assert client.get(f"{CORE}/pods")["items"] == []


def test_a_deletion_may_ask_for_the_version_that_was_seen(client: Client, cluster: FakeKubernetes) -> None:
    cluster.create(config_map())
    options = {"preconditions": {"resourceVersion": "1"}}

    assert client.call("DELETE", f"{CORE}/configmaps/state", options).code == 409
    assert client.call("DELETE", f"{CORE}/configmaps/state").code == 200
