"""Server-side apply: what one manager says stays theirs."""

from __future__ import annotations

from tests.testing.kubernetes.conftest import APPS, CORE, STRATEGIC_PATCH, Client, Reply
from tests.testing.kubernetes.manifests import Json, config_map, deployment, service

APPLY = "application/apply-patch+yaml"


def apply(client: Client, path: str, thing: Json, manager: str = "one", *, force: bool = False) -> Reply:
    return client.patch(f"{path}?fieldManager={manager}&force={str(force).lower()}", thing, APPLY)


def test_applying_creates_and_then_changes_nothing(client: Client) -> None:
    made = apply(client, f"{APPS}/deployments/shop", deployment())
    again = apply(client, f"{APPS}/deployments/shop", deployment())

    assert (made.code, again.code) == (201, 200)
    assert again.body["metadata"]["generation"] == 1
    (manager,) = again.body["metadata"]["managedFields"]
    containers = manager["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert containers['k:{"name":"web"}']["f:image"] == {}


def test_yaml_may_be_applied(client: Client) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: state}\ndata: {a: '1'}\n"

    reply = client.call("PATCH", f"{CORE}/configmaps/state?fieldManager=one", text, APPLY)

    assert reply.body["data"] == {"a": "1"}


def test_a_field_of_somebody_else_is_a_conflict_that_names_it(client: Client) -> None:
    apply(client, f"{APPS}/deployments/shop", deployment())
    client.patch(f"{APPS}/deployments/shop?fieldManager=hand", {"spec": {"replicas": 7}})

    refused = apply(client, f"{APPS}/deployments/shop", deployment())

    assert refused.code == 409
    assert refused.body["message"] == 'Apply failed with 1 conflict: conflict with "hand" using apps/v1: .spec.replicas'
    assert client.get(f"{APPS}/deployments/shop")["spec"]["replicas"] == 7


def test_a_field_may_be_taken_by_force(client: Client) -> None:
    apply(client, f"{APPS}/deployments/shop", deployment())
    client.patch(f"{APPS}/deployments/shop?fieldManager=hand", {"spec": {"replicas": 7}})

    taken = apply(client, f"{APPS}/deployments/shop", deployment(), force=True)

    assert taken.body["spec"]["replicas"] == 3
    assert [each["manager"] for each in taken.body["metadata"]["managedFields"]] == ["one"]


def test_what_is_not_said_any_more_goes(client: Client) -> None:
    apply(client, f"{CORE}/configmaps/state", config_map(a="1", b="2"))

    left = apply(client, f"{CORE}/configmaps/state", config_map(a="1"))

    assert left.body["data"] == {"a": "1"}


def test_what_somebody_else_says_too_stays(client: Client) -> None:
    apply(client, f"{CORE}/configmaps/state", config_map(a="1", b="2"))
    apply(client, f"{CORE}/configmaps/state", config_map(b="2"), "two")

    left = apply(client, f"{CORE}/configmaps/state", config_map(a="1"))

    assert left.body["data"] == {"a": "1", "b": "2"}


def test_a_container_that_another_added_survives(client: Client) -> None:
    apply(client, f"{APPS}/deployments/shop", deployment())
    added = {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "agent:1"}]}}}}
    client.patch(f"{APPS}/deployments/shop?fieldManager=injector", added, STRATEGIC_PATCH)

    after = apply(client, f"{APPS}/deployments/shop", deployment(image="shop:2"))

    containers = after.body["spec"]["template"]["spec"]["containers"]
    assert sorted(each["image"] for each in containers) == ["agent:1", "proxy:1", "shop:2"]


def test_a_selector_changes_hands_as_a_whole(client: Client) -> None:
    apply(client, f"{CORE}/services/shop", service())

    moved = apply(client, f"{CORE}/services/shop", service(app="shop", track="green"))

    assert moved.body["spec"]["selector"] == {"app": "shop", "track": "green"}
    assert apply(client, f"{CORE}/services/shop", service(), "two").code == 409


def test_apply_needs_a_manager_and_a_clean_object(client: Client) -> None:
    nobody = client.patch(f"{CORE}/configmaps/state", config_map(), APPLY)
    managed = config_map()
    managed["metadata"]["managedFields"] = [{"manager": "one"}]

    assert nobody.code == 400
    assert apply(client, f"{CORE}/configmaps/state", managed).code == 400
