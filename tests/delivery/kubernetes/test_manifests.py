"""The shipped manifests: valid by the published schemas, safe, and what the driver looks for."""

from __future__ import annotations

import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from quadra_matrix.delivery.bluegreen import COLOURS
from quadra_matrix.delivery.kubernetes import names
from quadra_matrix.delivery.kubernetes.names import Names
from quadra_matrix.delivery.model import Kind
from tests.delivery.kubernetes.rig import K8S
from tests.services.process import needs

Json = dict[str, Any]
APP = Names()
BASES = ["canary", "blue-green", "gateway", "overlays/production", "overlays/staging"]
CUSTOM = {"ServiceMonitor", "Gateway", "HTTPRoute"}
"""Kinds without a published schema of Kubernetes: their operators bring them."""


def built(base: str) -> list[Json]:
    needs("kubectl", "apt-get install kubernetes-client")
    command = ["kubectl", "kustomize", str(K8S / base)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return list(yaml.safe_load_all(text))


def rights() -> list[Json]:
    return list(yaml.safe_load_all((K8S / "rbac.yaml").read_text()))


def one(things: list[Json], kind: str, name: str) -> Json:
    return next(thing for thing in things if thing["kind"] == kind and thing["metadata"]["name"] == name)


@pytest.mark.parametrize("version", ["1.30", "1.32"])
@pytest.mark.parametrize("base", [*BASES, "rbac"])
def test_every_object_fits_the_published_schema(base: str, version: str) -> None:
    for thing in rights() if base == "rbac" else built(base):
        if thing["kind"] not in CUSTOM:
            kubernetes_validate.validate(thing, version, strict=True)


@pytest.mark.parametrize("name", ["canary", "blue-green"])
def test_the_promised_file_is_the_base(name: str) -> None:
    promised = K8S / f"{name}-deployment.yaml"

    assert list(yaml.safe_load_all(promised.read_text())) == list(
        yaml.safe_load_all((K8S / name / f"{name}-deployment.yaml").read_text())
    )


def test_the_canary_has_the_names_labels_and_selectors_that_the_driver_looks_for() -> None:
    things = built("canary")

    assert one(things, "Service", APP.service)["spec"]["selector"] == {names.APP: APP.app, names.TRAFFIC: names.LIVE}
    for track, replicas in ((names.STABLE, 9), (names.CANARY, 1)):
        spec = one(things, "Deployment", APP.slot(track))["spec"]
        labels = {names.APP: APP.app, names.TRACK: track}
        assert spec["replicas"] == replicas
        assert spec["selector"]["matchLabels"] == labels
        assert spec["template"]["metadata"]["labels"] == {**labels, names.TRAFFIC: names.LIVE, names.VERSION: "1.0.0"}
    scaler = one(things, "HorizontalPodAutoscaler", f"{APP.app}-stable-hpa")
    assert scaler["apiVersion"] == "autoscaling/v2"
    assert scaler["spec"]["scaleTargetRef"]["name"] == APP.slot(names.STABLE)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 20)


def test_blue_and_green_have_the_names_labels_and_selectors_that_the_driver_looks_for() -> None:
    things = built("blue-green")

    production = one(things, "Service", APP.production)["spec"]["selector"]
    assert production == {names.APP: APP.app, names.COLOUR: "blue"}
    for colour in COLOURS:
        labels = {names.APP: APP.app, names.COLOUR: colour}
        spec = one(things, "Deployment", APP.slot(colour))["spec"]
        assert spec["replicas"] == 10
        assert spec["selector"]["matchLabels"] == labels
        assert one(things, "Service", APP.slot(colour))["spec"]["selector"] == labels
    backends = [
        path["backend"]["service"]["name"]
        for path in one(things, "Ingress", f"{APP.app}-ingress")["spec"]["rules"][0]["http"]["paths"]
    ]
    assert set(backends) == {APP.production}


def test_the_route_has_both_back_ends_in_every_rule() -> None:
    things = built("gateway")
    ports = {port["port"] for port in one(things, "Service", APP.slot(names.STABLE))["spec"]["ports"]}

    for rule in one(things, "HTTPRoute", APP.route)["spec"]["rules"]:
        assert {ref["name"]: ref["weight"] for ref in rule["backendRefs"]} == {
            APP.slot(names.STABLE): 100,
            APP.slot(names.CANARY): 0,
        }
        assert {ref["port"] for ref in rule["backendRefs"]} <= ports
    assert not [thing for thing in things if thing["metadata"]["name"] == APP.service]


@pytest.mark.parametrize("base", BASES)
def test_every_pod_is_safe_watched_and_drained(base: str) -> None:
    for thing in built(base):
        if thing["kind"] != "Deployment":
            continue
        spec, container = thing["spec"]["template"]["spec"], thing["spec"]["template"]["spec"]["containers"][0]
        assert thing["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": names.PORT}
        assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": names.PORT}
        drain = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert drain + 30 < spec["terminationGracePeriodSeconds"]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"].keys() >= {"memory"}
        assert spec["topologySpreadConstraints"]
        assert {port["name"] for port in container["ports"]} >= {names.PORT}


@pytest.mark.parametrize("base", BASES)
def test_services_monitors_and_budgets_point_at_what_is_there(base: str) -> None:
    things = built(base)
    pods = [thing["spec"]["template"]["metadata"]["labels"] for thing in things if thing["kind"] == "Deployment"]
    services = [thing for thing in things if thing["kind"] == "Service"]
    for thing in things:
        chosen = {"Service": "selector", "PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector"}
        if thing["kind"] in chosen:
            selector = thing["spec"][chosen[thing["kind"]]]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= labels.items() for labels in pods), thing["metadata"]["name"]
        if thing["kind"] == "ServiceMonitor":
            ports = {port["name"] for service in services for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in thing["spec"]["endpoints"]} <= ports


def test_the_role_names_what_the_driver_touches_and_grants_no_more() -> None:
    role = next(thing for thing in rights() if thing["kind"] == "Role")
    named = {name for rule in role["rules"] for name in rule.get("resourceNames", [])}

    slots = {APP.slot(track) for track in (names.STABLE, names.CANARY, *COLOURS)}
    records = {APP.record(kind) for kind in Kind}
    assert named == {*slots, *records, APP.service, APP.production, APP.route, f"{APP.app}-stable-hpa"}
    for rule in role["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "secrets" not in rule["resources"]
        if not rule.get("resourceNames"):
            assert set(rule["verbs"]) <= {"list", "create", "get"}
