"""What the schema allows and the server refuses all the same."""

from __future__ import annotations

from typing import Any

import pytest

from quadra_matrix.testing.kubernetes import FakeKubernetes
from tests.testing.kubernetes.conftest import APPS, CORE, Client
from tests.testing.kubernetes.manifests import Json, config_map, deployment, service


def pod(**changes: Any) -> Json:
    """Return a Deployment whose first container is changed."""
    wanted = deployment()
    wanted["spec"]["template"]["spec"]["containers"][0] |= changes
    return wanted


def named(name: str) -> Json:
    return config_map(name)


def labelled(key: str, value: str) -> Json:
    thing = config_map()
    thing["metadata"]["labels"] = {key: value}
    return thing


def ports(*given: Json) -> Json:
    thing = service()
    thing["spec"]["ports"] = list(given)
    return thing


STILL: Json = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}


@pytest.mark.parametrize(
    ("path", "thing", "field"),
    [
        ("configmaps", named("Upper"), "metadata.name"),
        ("configmaps", named("a" * 254), "metadata.name"),
        ("configmaps", labelled("track", "a b"), "metadata.labels"),
        ("configmaps", labelled("-x", "a"), "metadata.labels"),
        ("services", service("9shop"), "metadata.name"),
        ("services", ports(), "spec.ports"),
        ("services", ports({"port": 0}), "spec.ports[0].port"),
        ("services", ports({"port": 80}, {"port": 81}), "spec.ports[0].name"),
        ("deployments", pod(image=""), "spec.template.spec.containers[0].image"),
        ("deployments", pod(name="proxy"), "spec.template.spec.containers[1].name"),
        ("deployments", pod(name="No"), "spec.template.spec.containers[0].name"),
        (
            "deployments",
            pod(volumeMounts=[{"name": "none", "mountPath": "/x"}]),
            "spec.template.spec.containers[0].volumeMounts[0].name",
        ),
        (
            "deployments",
            pod(ports=[{"containerPort": 99999}]),
            "spec.template.spec.containers[0].ports[0].containerPort",
        ),
        ("deployments", deployment(strategy=STILL), "spec.strategy.rollingUpdate.maxUnavailable"),
        ("deployments", deployment(selector={}), "spec.selector"),
    ],
)
def test_a_broken_rule_is_named_by_its_field(client: Client, path: str, thing: Json, field: str) -> None:
    root = APPS if path == "deployments" else CORE

    refused = client.call("POST", f"{root}/{path}", thing)

    assert refused.code == 422
    assert refused.body["details"]["causes"][0]["field"] == field


def test_a_pod_of_a_deployment_runs_for_ever(client: Client) -> None:
    wanted = deployment()
    wanted["spec"]["template"]["spec"]["restartPolicy"] = "Never"

    assert "restartPolicy" in client.call("POST", f"{APPS}/deployments", wanted).body["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", f"{CORE}/configmaps", "{", 400),
        ("POST", f"{CORE}/configmaps", [], 400),
        ("POST", f"{CORE}/configmaps", {"kind": "Secret"}, 400),
        ("POST", f"{CORE}/configmaps?dryRun=Some", config_map(), 400),
        ("POST", f"{CORE}/configmaps", {"metadata": {"name": "a", "namespace": "kube-system"}}, 400),
        ("POST", f"{CORE}/configmaps", {"metadata": {"name": "a", "resourceVersion": "7"}}, 400),
        ("POST", f"{CORE}/configmaps", {}, 422),
        ("PUT", f"{CORE}/configmaps/state", {"metadata": {"name": "other"}}, 400),
        ("PUT", f"{CORE}/configmaps/state", {"metadata": {"uid": "other"}}, 422),
        ("PATCH", f"{CORE}/configmaps/state", {}, 415),
        ("PUT", f"{CORE}/configmaps", {}, 405),
        ("POST", "/api/v1/configmaps", config_map(), 405),
        ("GET", f"{CORE}/configmaps/state/scale", None, 404),
        ("GET", f"{CORE}/configmaps?labelSelector=a%20b%20c", None, 400),
        ("GET", f"{CORE}/configmaps?fieldSelector=name", None, 400),
        ("GET", f"{CORE}/configmaps?continue=later", None, 400),
        ("GET", f"{CORE}/configmaps?watch=1&resourceVersion=new", None, 400),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    cluster: FakeKubernetes, client: Client, method: str, path: str, body: object, code: int
) -> None:
    cluster.create(config_map())

    assert client.call(method, path, body).code == code


@pytest.mark.parametrize(("replicas", "code"), [(-1, 422), ("many", 400), (2, 200)])
def test_a_scale_is_checked_too(cluster: FakeKubernetes, client: Client, replicas: object, code: int) -> None:
    cluster.create(deployment())

    reply = client.patch(f"{APPS}/deployments/shop/scale", {"spec": {"replicas": replicas}})

    assert reply.code == code
