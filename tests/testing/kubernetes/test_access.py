"""Who may do what: roles, bindings, and a refusal that says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.testing.kubernetes.conftest import APPS, CORE, Client
from tests.testing.kubernetes.manifests import Json, config_map, deployment

DEPLOYER = "system:serviceaccount:default:deployer"
RBAC = "rbac.authorization.k8s.io/v1"


def role(*rules: Json) -> Json:
    return {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "deployer"}, "rules": list(rules)}


def binding() -> Json:
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer"}],
    }


def rule(group: str, resources: str, verbs: str, **more: list[str]) -> Json:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split(), **more}


@pytest.fixture
def deployer(cluster: FakeKubernetes) -> Client:
    cluster.create(deployment(), config_map("state"), config_map("other"))
    cluster.create(
        role(
            rule("apps", "deployments", "get list watch"),
            rule("apps", "deployments/scale", "patch"),
            rule("", "configmaps", "get update", resourceNames=["state"]),
        ),
        binding(),
    )
    return Client(cluster.address, {"Authorization": f"Bearer {DEPLOYER}"})


def test_what_no_role_allows_is_forbidden_with_every_fact(deployer: Client) -> None:
    refused = deployer.call("DELETE", f"{APPS}/deployments/shop")

    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"] == (
        'deployments.apps "shop" is forbidden: User "system:serviceaccount:default:deployer" cannot delete resource '
        '"deployments" in API group "apps" in the namespace "default"'
    )


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", f"{APPS}/deployments/shop", 200),
        ("GET", f"{APPS}/deployments", 200),
        ("GET", "/apis/apps/v1/deployments", 403),
        ("GET", f"{CORE}/configmaps/state", 200),
        ("GET", f"{CORE}/configmaps/other", 403),
        ("GET", f"{CORE}/configmaps", 403),
        ("GET", f"{CORE}/pods", 403),
        ("GET", "/apis", 200),
    ],
)
def test_a_role_allows_its_resources_names_and_namespace_only(
    deployer: Client, method: str, path: str, code: int
) -> None:
    assert deployer.call(method, path).code == code


def test_a_subresource_needs_its_own_rule(deployer: Client) -> None:
    scaled = deployer.patch(f"{APPS}/deployments/shop/scale", {"spec": {"replicas": 5}})
    patched = deployer.patch(f"{APPS}/deployments/shop", {"spec": {"replicas": 5}})

    assert (scaled.code, patched.code) == (200, 403)


def test_a_review_answers_before_anything_is_tried(deployer: Client) -> None:
    def may(verb: str, resource: str) -> object:
        about = {"verb": verb, "group": "apps", "resource": resource, "namespace": "default"}
        review = {"spec": {"resourceAttributes": about}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return deployer.call("POST", path, review).body["status"]["allowed"]

    assert may("list", "deployments") is True
    assert may("delete", "deployments") is False


def test_a_kubeconfig_may_be_that_of_a_user(cluster: FakeKubernetes, tmp_path: Path) -> None:
    text = cluster.kubeconfig(tmp_path / "config", user=DEPLOYER).read_text()

    assert f'"token": "{DEPLOYER}"' in text


def test_only_an_administrator_borrows_a_name(cluster: FakeKubernetes, deployer: Client) -> None:
    administrator = Client(cluster.address, {"Impersonate-User": "bob"})
    thief = Client(cluster.address, {**deployer.headers, "Impersonate-User": "alice"})

    assert 'User "bob" cannot list' in administrator.call("GET", f"{CORE}/pods").body["message"]
    assert "cannot impersonate" in thief.call("GET", f"{CORE}/pods").body["message"]


def test_what_was_asked_is_remembered(cluster: FakeKubernetes, deployer: Client) -> None:
    deployer.patch(f"{APPS}/deployments/shop/scale", {"spec": {"replicas": 5}})
    deployer.patch(f"{APPS}/deployments/shop/scale?dryRun=All", {"spec": {"replicas": 6}})

    last = cluster.requests[-2:]

    assert [(seen.verb, seen.resource, seen.name, seen.code) for seen in last] == [
        ("patch", "deployments/scale", "shop", 200)
    ] * 2
    assert [seen.wrote for seen in last] == [True, False]
